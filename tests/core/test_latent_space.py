"""Pictures of the latent space: `decode`, `interpolate` and `traverse`, of one group and of several."""

import pytest
import torch
from small_parts import dataset, forgotten  # noqa: F401
from torch import nn

from vaezoo import Decoder, VaezooError, Variant, noise
from vaezoo.builder import build
from vaezoo.registry import register

IMAGES = 4


def flat():
    """A VAE of one group of three dimensions."""
    return build("vae", dataset(), latent=3, hidden=(5,)).double()


def grouped():
    """A ladder of two groups and three dimensions, whose decoder sees both."""

    @register.decoder("t-sees-both")
    class SeesBoth(Decoder):
        def __init__(self, latents: tuple[int, ...]):
            super().__init__()
            self.net = nn.Linear(sum(latents), 16)

        def forward(self, z, groups):
            return self.net(torch.cat(groups, -1)).unflatten(-1, (1, 4, 4))

    variant = Variant("t", posterior="ladder", prior="top-down", decoder="t-sees-both")
    return build(variant, dataset(), latent=[2, 3], hidden=(5,)).double()


def at_the_mean(model, images):
    """The latents that a draw of q(z|x) gives where all noise is 0: a tuple of [B, Z_l]."""
    with torch.no_grad(), noise.given_normals(silence(model, 1)):
        return tuple(group[0] for group in model.draw(model.batch(images), 1).z)


def silence(model, draws):
    """Zeros in place of the noise of so many draws of one sample."""
    return [torch.zeros(1, IMAGES, size) for _ in range(draws) for size in model.latents]


@pytest.mark.parametrize("make", [flat, grouped])
def test_decoding_gives_the_mean_of_the_likelihood_also_of_arrays(make):
    model = make()
    z = tuple(torch.randn(IMAGES, size, dtype=torch.float64) for size in model.latents)
    logits = model.decoder_output(model.batch(torch.zeros(IMAGES, 1, 4, 4)), tuple(group[None] for group in z))[0]
    torch.testing.assert_close(model.decode(z), logits.sigmoid())
    arrays = tuple(group.numpy() for group in z)
    assert torch.equal(model.decode(arrays if len(z) > 1 else arrays[0]), model.decode(z))


@pytest.mark.parametrize("make", [flat, grouped])
def test_an_interpolation_is_a_straight_line_from_one_image_to_the_other(make):
    model, x = make(), dataset().test.x
    first, last = at_the_mean(model, x[:4]), at_the_mean(model, x[4:8])
    with noise.given_normals(silence(model, 2)):
        found = model.interpolate(x[:4], x[4:8], steps=5)
    assert found.shape == (5, IMAGES, 1, 4, 4)
    for step, images in enumerate(found):
        line = tuple(a + step / 4 * (b - a) for a, b in zip(first, last, strict=True))
        torch.testing.assert_close(images, model.decode(line))
    assert not torch.allclose(found[0], found[-1])
    with pytest.raises(VaezooError, match="steps must be 2 or more, got 1"):
        model.interpolate(x[:4], x[4:8], steps=1)


@pytest.mark.parametrize(("make", "group", "dim"), [(flat, -1, 2), (grouped, -1, 2), (grouped, 0, -1)])
def test_a_traversal_moves_one_dimension_of_one_group(make, group, dim):
    model, x, values = make(), dataset().test.x[:4].numpy(), [-3.0, 0.0, 2.5]
    z = at_the_mean(model, x)
    with noise.given_normals(silence(model, 1)):
        found = model.traverse(x, dim, values, group=group)
    assert found.shape == (3, IMAGES, 1, 4, 4)
    for value, images in zip(values, found, strict=True):
        moved = [each.clone() for each in z]
        moved[group][:, dim] = value
        torch.testing.assert_close(images, model.decode(tuple(moved)))
    assert not torch.allclose(found[0], found[-1])
    size = z[group].shape[1]
    for wrong in (size, -size - 1):
        with pytest.raises(VaezooError, match=f"dim must be one of the {size} latent dimensions, got {wrong}"):
            model.traverse(x, wrong, values, group=group)


@pytest.mark.parametrize(
    ("make", "shapes", "message"),
    [
        (flat, [(4, 2)], r"z must be \[N, 3\], got \[4, 2\]"),
        (flat, [(1, 4, 3)], r"z must be \[N, 3\], got \[1, 4, 3\]"),
        (grouped, [(4, 3)], r"z must be \[N, 2\] and \[N, 3\], got \[4, 3\]"),
        (grouped, [(4, 3), (4, 2)], r"z must be \[N, 2\] and \[N, 3\], got \[4, 3\] and \[4, 2\]"),
    ],
)
def test_latents_of_a_wrong_shape_are_refused(make, shapes, message):
    with pytest.raises(VaezooError, match=message):
        make().decode(tuple(torch.zeros(shape) for shape in shapes))


def test_a_conditional_model_draws_its_lines_under_the_context_that_is_asked_for():
    """Another context gives other images of the same latents."""
    data = dataset(context=2)
    model, x = build("conditional-vae", data, latent=3, hidden=(5,)).double(), data.test.x
    one, other = torch.tensor([1.0, 0.0]).expand(IMAGES, 2), torch.tensor([0.0, 1.0]).expand(IMAGES, 2)
    with torch.no_grad():
        z = [model.encode(images, one).mean for images in (x[:4], x[4:8])]
    with noise.given_normals(silence(model, 2)):
        found = model.interpolate(x[:4], x[4:8], steps=2, context=one)
    torch.testing.assert_close(found, torch.stack([model.decode(each, one) for each in z]))
    assert not torch.allclose(found, torch.stack([model.decode(each, other) for each in z]))
    with noise.given_normals(silence(model, 1)):
        moved = model.traverse(x[:4], 0, [5.0], context=one)[0]
    z[0][:, 0] = 5.0
    torch.testing.assert_close(moved, model.decode(z[0], one))
    assert not torch.allclose(moved, model.decode(z[0], other))


@pytest.mark.parametrize("variant", ["svae", "poincare-vae"])
def test_latents_that_move_stay_where_the_prior_lives(monkeypatch, variant):
    """On the sphere all have length 1, in the ball less; and both methods decode what was scaled back."""
    model, x = build(variant, dataset(), latent=3, hidden=(5,)), dataset().test.x[:4]
    seen = []
    decode = model.decode
    monkeypatch.setattr(model, "decode", lambda z, context=None: seen.append(z[0]) or decode(z, context))
    model.traverse(x, 1, [-2.0, 0.5])
    model.interpolate(x[:2], x[2:], 3)
    lengths = torch.cat([z.norm(dim=-1) for z in seen])
    assert len(lengths) == 2 * 4 + 3 * 2
    if variant == "svae":
        torch.testing.assert_close(lengths, torch.ones_like(lengths))
    else:
        assert bool((lengths < 1).all())
        assert float(lengths.max()) > 0.999  # the traversal to -2
