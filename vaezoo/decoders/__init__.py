"""Decoders: each file is a plugin, z -> the parameters of p(x|z)."""
