"""Variants: each file is a family and declares its members in one table."""
