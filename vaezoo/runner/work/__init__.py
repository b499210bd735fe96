"""A cell in the process that runs it."""
