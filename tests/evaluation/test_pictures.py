"""The pictures of a trained model: they are what the model's own methods give, for every kind of model and data."""

import numpy as np
import pytest
import torch

import vaezoo
from vaezoo import noise
from vaezoo.builder import build
from vaezoo.evaluation import pictures as making
from vaezoo.evaluation.picture_arrays import Pictures
from vaezoo.evaluation.pictures import pictures

IMAGES = {"samples", "originals", "reconstructions"}
MOVED = {"interpolations", "traversals", "traversal_dims", "traversal_values"}
MAP = {"latent", "latent_method"}


def images(measure="binary", shape=(1, 4, 4), n=30, levels=None, labels=True, context=None):
    x = torch.rand(n, *shape, generator=torch.Generator().manual_seed(0))
    x = {"binary": x.round(), "counts": (9 * x).floor()}.get(measure, x)
    y = torch.arange(n) % 3 if labels else None
    split = (x, y) if context is None else (x, y, torch.eye(context)[torch.arange(n) % context])
    return vaezoo.Dataset(split, split, split, measure, levels=levels)


def made(variant, data, latent=3, **options):
    torch.manual_seed(0)
    return build(variant, data, latent=latent, hidden=(5,), overrides=options).eval()


def drawn(model, data):
    return pictures(model, data.test.x, data.test.y, data.test.context if model.conditional else None)


def there(found):
    return {name for name, value in vars(found).items() if value is not None}


@pytest.mark.parametrize(
    ("variant", "data", "latent", "lacking"),
    [
        ("vae", {}, 3, set()),
        ("vae", {"shape": (4, 4)}, 3, set()),
        ("sigma-vae", {"measure": "continuous", "shape": (3, 4, 4)}, 3, set()),
        ("vae", {"labels": False}, 1, {"latent_labels"}),
        ("hvae-2", {}, [2, 3], set()),
        ("poincare-vae", {}, 2, set()),
        ("svae", {}, 3, set()),
        ("conditional-vae", {"context": 3}, 3, set()),
        ("vq-vae", {}, 4, MOVED),
        ("pixel-vae", {}, 3, MOVED),
        ("count-vae", {"measure": "counts"}, 3, IMAGES | MOVED),
        ("sigma-vae", {"measure": "continuous", "shape": (6,)}, 3, IMAGES | MOVED),
        ("vae", {"n": 1}, 3, MOVED | MAP | {"latent_labels"}),
    ],
)
def test_which_pictures_a_model_has(variant, data, latent, lacking):
    """All that make sense, twice the same bytes, and the same again from their file."""
    data = images(**data)
    model = made(variant, data, latent)
    torch.manual_seed(1)
    found = drawn(model, data)
    assert there(found) == set(vars(found)) - lacking
    content = found.to_bytes()
    torch.manual_seed(2)
    assert drawn(model, data).to_bytes() == content
    again = Pictures.from_bytes(content)
    assert there(again) == there(found)
    assert all(np.array_equal(getattr(again, name), getattr(found, name)) for name in there(found))
    if found.samples is not None:
        channels = 3 if data.spec.shape[0] == 3 else 1
        assert found.samples.shape[1:] == (4, 4, channels)
        assert len(found.samples) == making.SAMPLES


def test_they_are_the_decoder_s_means():
    """Each array by the model's own methods, and the originals are the images themselves."""
    data = images()
    model = made("vae", data, 4)
    found = drawn(model, data)
    x = data.test.x

    def level(value):
        return np.rint(255 * value.double().numpy()).astype(np.uint8)[..., 0, :, :, None]

    assert np.array_equal(found.originals, level(x[:20]))
    with noise.stream(noise.derive(0, "pictures", "samples")):
        z = model.prior_sample(64)
    assert np.array_equal(found.samples, level(model.decode(z)))
    encoded = making.encode(model, x)
    assert torch.equal(encoded.means, model.encode(x).mean.detach().double())
    dim = int(found.traversal_dims[0])
    with noise.stream(noise.derive(0, "pictures", "traversals")):
        values = encoded.draws[0][:, dim].quantile(torch.linspace(0.05, 0.95, 9, dtype=torch.float64)).tolist()
        assert np.array_equal(found.traversals[0], level(model.traverse(x[:1], dim, values)[:, 0]))
    with noise.stream(noise.derive(0, "pictures", "interpolations")):
        lines = model.interpolate(x[0:12:2], x[1:13:2], 9)
    assert np.array_equal(found.interpolations, level(lines.transpose(0, 1)))


def test_the_dimensions_that_move_are_those_that_tell_images_apart():
    """A dimension's share is its mean's variance over its own; here 1, 0.5 and 0 by construction."""
    generator = torch.Generator().manual_seed(0)
    mean, eps = torch.randn(2, 4000, 3, generator=generator, dtype=torch.float64)
    mean[:, 1] = 0
    encoded = making.Encoded(mean, (mean + eps * torch.tensor([1.0, 1.0, 0.0]),))
    assert making.most_active(encoded) == [2, 0, 1]
    spread = making.quantiles(encoded, [1])[0]
    expected = torch.distributions.Normal(0.0, 1.0).icdf(torch.linspace(0.05, 0.95, 9).double())
    torch.testing.assert_close(spread, expected, atol=0.12, rtol=0)
    with pytest.raises(vaezoo.VaezooError, match="dims must be of the 3 latent dimensions, got 3"):
        making.quantiles(encoded, [3])


@pytest.mark.parametrize("n", [40, 5])
def test_the_map_is_the_principal_components(n):
    """By numpy's SVD, for more images than dimensions and for fewer, with one sign whatever the data's is."""
    means = torch.randn(n, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * torch.arange(1.0, 8)
    points, method = making.plane(means)
    u, s, _ = np.linalg.svd((means - means.mean(0)).numpy(), full_matrices=False)
    assert method == "PCA"
    np.testing.assert_allclose(np.abs(points), np.abs(u[:, :2] * s[:2]), rtol=1e-4, atol=1e-5)
    assert np.all(points[np.abs(points).argmax(0), [0, 1]] > 0)
    flat, method = making.plane(means[:, :2])
    assert method == "z"
    assert np.array_equal(flat, means[:, :2].float().numpy())


def test_labels_of_factors_are_the_first_that_varies():
    y = torch.tensor([[0, 1], [0, 2], [0, 1]])
    assert making.class_labels(y).tolist() == [1, 2, 1]
    assert making.class_labels(y[:, :1]) is None
    assert making.class_labels(torch.rand(3)) is None


def test_values_of_another_range_are_stretched_to_black_and_white():
    spec = vaezoo.DataSpec((1, 2, 2), "continuous")
    x = torch.tensor([-2.0, 0.0, 1.0, 2.0]).view(1, 1, 2, 2)
    assert making.to_pixels(spec, x, making.value_range(spec, x)).flatten().tolist() == [0, 128, 191, 255]
    assert making.value_range(spec, x.clamp(0, 1)) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"samples": np.zeros((2, 4, 4))}, "samples must be uint8 with 4 axes and 1 or 3 channels"),
        ({"latent": np.zeros((2, 3))}, r"latent must be \[n, 2\]"),
        ({"latent": np.zeros((2, 2)), "latent_labels": np.zeros(3, int)}, "latent and latent_labels are not of"),
        ({"latent_method": np.array("t-SNE")}, "latent_method must be z or PCA, got 't-SNE'"),
    ],
)
def test_a_file_of_other_arrays_is_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "it.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        Pictures.from_bytes((tmp_path / "it.npz").read_bytes())
    with pytest.raises(ValueError, match=r"not a zip file"):
        Pictures.from_bytes(b"no zip")
