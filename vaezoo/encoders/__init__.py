"""Encoders: each file is a plugin, x -> features."""
