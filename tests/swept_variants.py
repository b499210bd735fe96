"""Variants for the tests that train each of them."""

import pytest

import vaezoo

FEW = ("vae", "beta-vae", "iwae", "factor-vae", "hvae-2", "vae-realnvp", "svae", "discrete-vae", "vq-vae", "conv-vae")
EVERY = [pytest.param(n, marks=() if n in FEW else pytest.mark.nightly) for n in vaezoo.names("variant")]
"""Every variant, those that differ least from the FEW at night."""
