"""Conditional models: what the label tells them about the images, and that they draw the class they are asked for."""

import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

import vaezoo
from vaezoo import Skip, VaezooError, Variant
from vaezoo.builder import Ingredients, build, construct, resolve
from vaezoo.training.loop import train
from vaezoo.training.options import TrainingOptions

OPTIONS = TrainingOptions(epochs=12, batch_size=50, learning_rate=3e-3, validation_images=100)


@pytest.fixture(scope="module")
def digits():
    return vaezoo.load_dataset("digits-binary", options={"context": "labels"})


def trained(variant, data):
    model, objective = construct(resolve(variant, data.spec), Ingredients.of(data, 8, (64,)))
    train(model, objective, data, OPTIONS)
    return model


@pytest.fixture(scope="module")
def conditional(digits):
    return trained("conditional-vae", digits)


def iwll(model, data):
    context = data.test.context if model.conditional else None
    return vaezoo.log_likelihood(model, data.test.x, 100, context=context).estimate


def test_it_beats_the_same_model_without_labels(digits, conditional):
    """log p(x|label) is above log p(x), image by image, by a nat and 10 standard errors."""
    gain = iwll(conditional, digits) - iwll(trained("vae", digits), digits)
    assert float(gain.mean()) > 1 + 10 * float(gain.std()) / len(gain) ** 0.5


def test_a_wrong_label_makes_an_image_less_likely(digits, conditional):
    wrong = digits.test.context.roll(1, dims=1)
    told = vaezoo.log_likelihood(conditional, digits.test.x, 100, context=wrong).estimate
    assert float((iwll(conditional, digits) - told).mean()) > 5


def test_it_draws_the_class_that_is_asked_for(digits, conditional):
    """A nearest-neighbour classifier of the training images recognises it, 8 of 10 times in the mean over classes."""
    judge = KNeighborsClassifier(5).fit(digits.train.x.flatten(1).numpy(), digits.train.y.numpy())
    asked = torch.arange(10).repeat_interleave(50)
    context = torch.nn.functional.one_hot(asked, 10)
    torch.manual_seed(0)
    means = conditional.decode(conditional.prior_sample(500, context), context)
    told = judge.predict((means > 0.5).flatten(1).numpy())
    assert float((torch.as_tensor(told) == asked).float().mean()) > 0.8
    drawn = judge.predict(conditional.sample(500, context).flatten(1).numpy())
    assert float((torch.as_tensor(drawn) == asked).float().mean()) > 0.6


def test_it_needs_a_context_of_the_right_width(digits, conditional):
    x = digits.test.x[:4]
    assert conditional.reconstruct(x, digits.test.context[:4]).shape == x.shape
    assert conditional.sample(2, digits.test.context[:2].numpy()).shape == x[:2].shape
    with pytest.raises(VaezooError, match=r"give the context of the images, \[4, 10\]"):
        conditional.reconstruct(x)
    with pytest.raises(VaezooError, match=r"context must be \[2, 10\], got \[2, 3\]"):
        conditional.sample(2, torch.zeros(2, 3))


def test_a_vae_ignores_the_context_of_its_data(digits):
    without = vaezoo.load_dataset("digits-binary")
    one, other = (build("vae", data, latent=3, hidden=(8,)) for data in (digits, without))
    assert not one.conditional
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize(
    ("slot", "name"), [("encoder", "conditional-mlp"), ("decoder", "conditional-mlp"), ("prior", "conditional-normal")]
)
def test_images_without_context_are_skipped(slot, name):
    with pytest.raises(
        Skip, match=rf"{slot} '{name}' requests context in \w+, and these images have none; take a data"
    ):
        build(Variant("t", **{slot: name}), vaezoo.load_dataset("digits-binary"))


@pytest.mark.parametrize(("slot", "width"), [("encoder", 64), ("decoder", 3)])
def test_without_weights_of_the_context_it_is_the_mlp(digits, slot, width):
    model, plain = (
        build(Variant("t", **{slot: name}), digits, latent=3, hidden=(8,)) for name in ("conditional-mlp", "mlp")
    )
    part, mlp = getattr(model, slot), getattr(plain, slot)
    (first, *_), (other, *_) = ([m for m in each.modules() if isinstance(m, torch.nn.Linear)] for each in (part, mlp))
    assert first.in_features == width + 10
    with torch.no_grad():
        first.weight[:, width:] = 0
        for target, source in zip(mlp.parameters(), part.parameters(), strict=True):
            target.copy_(source[:, :width] if source is first.weight else source)
    assert torch.equal(other.weight, first.weight[:, :width])
    given = torch.randn(5, width, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(part(given, digits.test.context[:5]), mlp(given))


def test_a_conditional_normal_of_labels_is_a_gaussian_for_each_class(digits):
    model = build(Variant("t", prior="conditional-normal"), digits, latent=2, hidden=(8,))
    heads = model.prior.heads
    mean, log_std = (heads.weight + heads.bias[:, None]).T.chunk(2, -1)  # [10, 2] each
    z = torch.randn(3, 5, 2, generator=torch.Generator().manual_seed(0))
    labels = digits.test.y[:5]
    own = torch.distributions.Normal(mean[labels], log_std[labels].exp()).log_prob(z).sum(-1)
    torch.testing.assert_close(model.prior.log_density(z, digits.test.context[:5]), own)


def test_a_prior_that_encodes_images_skips_a_conditional_encoder(digits):
    model = build(Variant("t", encoder="conditional-mlp", prior="exemplar"), digits, latent=2, hidden=(8,))
    with pytest.raises(Skip, match="encodes images without context"):
        model.prior_sample(2, digits.test.context[:2])
