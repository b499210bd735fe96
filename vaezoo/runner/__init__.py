"""Matrices: the file, the plan, the cells, the store."""
