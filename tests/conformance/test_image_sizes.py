"""Encoders and decoders of images pass every proof on the sizes that people use, not only on the smallest."""

import pytest
from unable import is_pass_or_unable

from vaezoo.conformance import check as checking
from vaezoo.conformance import subject
from vaezoo.registry import registry

OWN = [each for slot in ("encoder", "decoder") for each in registry(slot).values() if each.module.startswith("vaezoo.")]


@pytest.mark.nightly
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)], ids=str)
@pytest.mark.parametrize("plugin", OWN, ids=lambda plugin: f"{plugin.slot}/{plugin.name}")
def test_every_proof_of_a_network_on_images_of_this_size(plugin, shape, monkeypatch):
    monkeypatch.setattr(subject, "SHAPES", (shape,))
    for proof in checking.proofs_of(plugin.slot):
        found = checking.prove(plugin, proof, quick=True)
        assert is_pass_or_unable(found), f"{found.proof}: {found.verdict} {found.figure}: {found.detail}"
