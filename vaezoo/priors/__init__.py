"""Priors: each file is a plugin, p(z)."""
