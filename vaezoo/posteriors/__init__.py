"""Posteriors: each file is a plugin, features -> q(z|x)."""
