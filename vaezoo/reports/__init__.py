"""Tables from stored results. Needs no torch."""
