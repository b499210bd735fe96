"""Likelihoods: each file is a plugin, p(x|z) given the decoder's parameters."""
