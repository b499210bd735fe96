"""`ppca` trained by gradient on `linear-gaussian` reaches the best likelihood of any linear VAE."""

import torch
from torch.distributions import MultivariateNormal

import vaezoo
from vaezoo.builder import Ingredients, construct, resolve
from vaezoo.datasets.linear_gaussian import ppca_optimum
from vaezoo.training.loop import train
from vaezoo.training.options import TrainingOptions


def marginal(model, x):
    """log N(x; b, W W' + std^2 I) from the trained decoder, mean over images, float64."""
    weights, mean = (p.detach().double() for p in (model.decoder.net[0].weight, model.decoder.net[0].bias))
    covariance = weights @ weights.T + model.likelihood.std.detach().double() ** 2 * torch.eye(
        len(mean), dtype=torch.float64
    )
    return float(MultivariateNormal(mean, covariance).log_prob(x.double()).mean())


def test_a_trained_linear_vae_reaches_the_optimum():
    data = vaezoo.load_dataset("linear-gaussian", options={"dimensions": 6, "latents": 2, "images": 1000})
    x = data.train.x
    *_, optimum = ppca_optimum(x, 2)
    model, objective = construct(resolve("ppca", data.spec), Ingredients.of(data, 2, ()))
    assert marginal(model, x) < optimum - 1
    settings = TrainingOptions(epochs=150, batch_size=250, learning_rate=0.03, schedule="cosine", validation_images=50)
    train(model, objective, data, settings)
    found = marginal(model, x)
    assert found < optimum + 1e-6
    assert optimum - found < 0.1
    estimate = vaezoo.log_likelihood(model, x, 200)
    assert abs(float(estimate.estimate.mean()) - found) < 0.02
    assert abs(float(estimate.elbo.mean()) - found) < 0.1
