"""The parts around a plugin under proof: those of the variant that names it, wherever that is, or of its own file."""

import pytest

from vaezoo.conformance.check import proofs_of, prove
from vaezoo.conformance.subject import Subject
from vaezoo.conformance.verdict import PASS
from vaezoo.registry import registry

POSTERIOR = """
import math
import vaezoo
from torch import nn

class Bell(vaezoo.DiagonalGaussian):
    centre = 1.0

@vaezoo.register.posterior("centred")
class Centred(vaezoo.Posterior):
    '''A Gaussian that knows a centre.'''

    def __init__(self, features: tuple[int, ...], latent: int):
        super().__init__()
        self.heads = nn.Sequential(nn.Flatten(1), nn.Linear(math.prod(features), 2 * latent))

    def forward(self, features):
        return Bell(*self.heads(features).chunk(2, -1))
"""
PRIOR = """
import vaezoo

@vaezoo.register.prior("about-the-centre")
class AboutTheCentre(vaezoo.Prior):
    '''N(c, I), with the centre of the posterior of this file's images.'''

    def __init__(self, spec, latent: int):
        super().__init__()
        self.shape, self.latent = spec.shape, latent

    def centre(self, like, encode):
        return encode(like.new_zeros(1, *self.shape)).centre

    def log_density(self, z, encode):
        return vaezoo.DiagonalGaussian(0 * z + self.centre(z, encode), 0 * z).log_density(z)

    def sample(self, n, encode):
        eps = vaezoo.noise.normal(n, self.latent)
        return eps + self.centre(eps, encode)
"""
VARIANT = """
import vaezoo
vaezoo.register.variant(vaezoo.Variant("centred", posterior="centred", prior="about-the-centre"))
"""


def figure(name: str) -> str:
    plugin = registry("prior")["about-the-centre"]
    (proof,) = [proof for proof in proofs_of("prior") if proof.name == name]
    found = prove(plugin, proof, quick=True)
    assert found.verdict == PASS, found
    return found.figure


def load(own_registry, folder, **files: str) -> None:
    for name, text in files.items():
        path = folder / f"{name}.py"
        path.write_text(text, encoding="utf-8")
        own_registry.load_file(path)


@pytest.mark.parametrize("together", [False, True])
def test_a_prior_that_raises_in_the_plain_variant_is_proved_in_its_own(own_registry, tmp_path, together):
    """The variant is in another file, or there is none and the posterior is in the prior's own file."""
    if together:
        load(own_registry, tmp_path, both=POSTERIOR + PRIOR)
    else:
        load(own_registry, tmp_path, posterior=POSTERIOR, prior=PRIOR, variant=VARIANT)
    assert figure("density integrates to 1") == "1.0000, 1.0000"
    assert figure("log-determinant")


def test_groups_and_components_are_as_asked():
    model, _ = Subject(registry("prior")["top-down"]).build(latent=(3, 2, 1))
    assert model.latents == (3, 2, 1)
    few, _ = Subject(registry("prior")["mixture"]).build(few=True)
    assert len(few.prior.mean) == 8
