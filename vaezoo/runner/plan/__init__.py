"""From a matrix to cells with keys."""
