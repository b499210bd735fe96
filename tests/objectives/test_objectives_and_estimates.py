"""An objective trains; it never reaches the estimate of log p(x)."""

import pytest
import torch
from binary_draws import BINARY

import vaezoo
from vaezoo.builder import build


def test_models_that_differ_in_their_objective_alone_say_the_same_of_every_image(own_registry):
    @own_registry.objective("with-weights")
    class WithWeights(vaezoo.Objective):
        """Another number of samples, parameters of its own, another value."""

        importance_samples = 7

        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(3, 3)

        def forward(self, draws):
            return 5 * draws.log_weight.mean(0)

    data = vaezoo.Dataset(BINARY, BINARY, BINARY, measure="binary")
    one, other = (
        build("vae", data, latent=3, hidden=(4,), overrides={"objective": name}) for name in ("elbo", "with-weights")
    )
    first, second = (vaezoo.log_likelihood(model, BINARY[:5], 10).estimate for model in (one, other))
    assert torch.equal(first, second)


@pytest.mark.parametrize("samples", [0, -3, 2.5])
def test_a_number_of_samples_that_cannot_be_is_refused(own_registry, samples):
    """Of every objective, not only of ours."""

    @own_registry.objective("sampling")
    class Sampling(vaezoo.Objective):
        """Declares the number of its samples."""

        importance_samples = samples

        def forward(self, draws):
            return draws.log_weight.mean(0)

    data = vaezoo.Dataset(BINARY, BINARY, BINARY, measure="binary")
    said = f"objective 'sampling': importance_samples must be a whole number >= 1, got {samples}"
    with pytest.raises(vaezoo.VaezooError, match=said):
        build("vae", data, latent=3, hidden=(4,), overrides={"objective": "sampling"})
