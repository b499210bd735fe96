"""count-vae beats a Gaussian on log-counts in the log-likelihood of the counts themselves."""

import math

import pytest
import torch

import vaezoo
from vaezoo import Dataset, noise

COPIES, TESTED = 4, 500
TRAINED = {"epochs": 30, "batch_size": 100, "learning_rate": 3e-3, "schedule": "cosine", "validation_images": 300}


def score(model, images):
    """log p(x) of each image, in nats."""
    return vaezoo.log_likelihood(model, images, importance_samples=100).estimate.double()


def trained(variant, data, **overrides):
    model = vaezoo.build(variant, data, latent=5, hidden=[32], overrides=overrides)
    vaezoo.train(model, data, **TRAINED)
    return model


def log_counts(x, number):
    """y = log(1 + v) of the dequantised counts v = x + u, and log |dv/dy| = sum y of each image."""
    with noise.stream(noise.derive(5, number), index=torch.arange(len(x)), dtype=torch.float64):
        u = noise.uniform(1, *x.shape)[0]
    y = (x + u).log1p()
    return y.float(), y.sum(1)


def beats(mine, other):
    """Whether the mean gain is above 0 by more than 5 standard errors over the images."""
    gain = mine - other
    return float(gain.mean()) > 5 * float(gain.std()) / math.sqrt(len(gain))


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore:log_likelihood. the mean over")
def test_count_vae_beats_a_gaussian_on_log_counts():
    """By log P(x) of the counts, in nats an image, on 500 test images of the planted model without its library sizes.

    A Gaussian VAE of y = log(1 + x + u) gives the counts P(x) = E_u[p(y) prod_g dy_g/dx_g] with dy/dx = e^-y. Its bound
    is the mean of log p(y) - sum y over draws of u, four here; the logarithm of the mean over them lies above it. The
    mass that a Gaussian of one std gives to each count, `discretized-log-normal`, needs no u. All are beaten.
    """
    data = vaezoo.load_dataset("simulated-counts", options={"images": 2000})
    x = data.test.x[:TESTED]
    counts = score(trained("count-vae", data), x)
    assert beats(counts, score(trained("count-vae", data, likelihood="discretized-log-normal"), x))
    splits = [log_counts(split.x, n)[0] for n, split in enumerate((data.train, data.valid, data.test))]
    for kind in ("learned", "per-pixel"):
        gaussian = trained("vae", Dataset(*splits, measure="continuous"), likelihood=("gaussian", {"scale": kind}))
        each = []
        for copy in range(COPIES):
            y, log_slope = log_counts(x, 10 + copy)
            each.append(score(gaussian, y) - log_slope)
        bound, above = torch.stack(each).mean(0), torch.stack(each).logsumexp(0) - math.log(COPIES)
        assert (above >= bound).all()
        assert beats(counts, above)
