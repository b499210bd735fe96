"""Every registered encoder, decoder, posterior and variant: gradients, images alone, precisions, copies, sizes."""

import copy

import pytest
import torch

import vaezoo
from vaezoo import DataSpec, Skip, Variant, noise
from vaezoo.builder import Ingredients, construct, resolve
from vaezoo.registry import PARTS, registry

SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32)]
CONV = {"encoder": ("conv", {"channels": (4, 6), "width": 8}), "decoder": ("conv", {"channels": (6, 4)})}
NETS = {"declared": {}, "conv": CONV}


def images(shape, measure, n=6, levels=17):
    x = torch.rand(n, *shape, generator=torch.Generator().manual_seed(0))
    if measure == "binary":
        return x.round()
    return ((levels - 1) * x).round().to(torch.uint8) if measure == "discrete" else x


def made(variant, shape, overrides=None, seed=0):
    """Model, objective and images of the first measure that the variant can score; few components, small nets."""
    chosen = {slot: (c, {}) if isinstance(c, str) else c for slot, c in (overrides or {}).items()}
    reasons = []
    for measure in ("binary", "discrete", "continuous"):
        x = images(shape, measure)
        data = vaezoo.Dataset(x, x, x, measure=measure, levels=17 if measure == "discrete" else None)
        try:
            slots = resolve(variant, data.spec, chosen)
            for slot in PARTS:
                if "components" in registry(slot)[slots[slot][0]].hyperparameters:
                    slots[slot][1]["components"] = 5
            model, objective = construct(slots, Ingredients.of(data, 3, (9, 7)), seed=seed)
        except Skip as reason:
            reasons.append(str(reason))
            continue
        return model, objective, x
    pytest.skip(reasons[-1])


def value_of(model, objective, x, key=0, index=None):
    index = torch.arange(len(x)) if index is None else index
    with noise.stream(key, index=index, dtype=model.dtype):
        value = objective(model.draw(model.batch(x, index=index), objective.importance_samples))
    return sum(v.mean() for v in value.values()) if isinstance(value, dict) else value


def weights_of(model, x, samples=3, index=None):
    index = torch.arange(len(x)) if index is None else index
    with noise.stream(0, index=index, dtype=model.dtype), torch.no_grad():
        return model.draw(model.batch(x, index=index), samples).log_weight


def awake(module):
    """Weights that no rectifier has put to sleep: biases up a little."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("bias"):
                parameter.add_(0.1)


@pytest.mark.parametrize("nets", NETS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("variant", vaezoo.names("variant"))
def test_every_parameter_has_a_finite_gradient(variant, shape, nets):
    model, objective, x = made(variant, shape, NETS[nets])
    awake(model)
    value = value_of(model, objective, x)
    assert value.isfinite().all()
    value.mean().backward()
    for name, parameter in [*model.named_parameters(), *objective.named_parameters()]:
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.any(), name


def test_every_parameter_of_ppca_has_a_finite_gradient_on_linear_gaussian():
    data = vaezoo.load_dataset("linear-gaussian")
    model, objective = construct(resolve("ppca", data.spec), Ingredients.of(data, 3, (9,)))
    value_of(model, objective, data.train.x[:50]).mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("measure", ["binary", "discrete", "continuous"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("decoder", vaezoo.names("decoder"))
@pytest.mark.parametrize("encoder", vaezoo.names("encoder"))
def test_every_encoder_goes_with_every_decoder(encoder, decoder, shape, measure):
    x = images(shape, measure)
    data = vaezoo.Dataset(x, x, x, measure=measure, levels=17 if measure == "discrete" else None)
    slots = resolve("vae", data.spec, {"encoder": (encoder, {}), "decoder": (decoder, {})})
    model, objective = construct(slots, Ingredients.of(data, 3, (9, 7)))
    assert model.encoder(model.batch(x).x).shape == (6, *model.encoder.features)
    assert model.decoder(torch.zeros(4, 3)).shape == (4, *model.likelihood.parameter_shape)
    assert weights_of(model, x, 2).shape == (2, 6)
    assert value_of(model, objective, x).isfinite().all()
    assert model.sample(2).shape == (2, *shape)
    assert model.reconstruct(x[:2]).shape == (2, *shape)


@pytest.mark.parametrize("samples", [1, 5])
@pytest.mark.parametrize("variant", vaezoo.names("variant"))
def test_shapes_of_a_pass(variant, samples):
    model, _, x = made(variant, (1, 8, 8))
    draws = model.draw(model.batch(x), samples)
    groups = len(draws.z)
    assert all(z.shape[:2] == (samples, 6) for z in draws.z)
    assert draws.log_likelihood.shape == draws.log_weight.shape == (samples, 6)
    assert draws.log_prior.shape == draws.log_posterior.shape == (groups, samples, 6)
    assert draws.kl is None or (draws.kl.ndim == 3 and draws.kl.shape[:2] == (groups, 6))
    assert draws.kl_estimate.shape == (6,)
    assert vaezoo.bounds.elbo(draws).shape == vaezoo.bounds.iwll(draws).shape == (6,)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("nets", NETS)
@pytest.mark.parametrize("variant", vaezoo.names("variant"))
def test_images_of_a_batch_do_not_influence_each_other(variant, nets, training):
    """In train and in eval mode: alone, in another order and beside other images an image has the same weights."""
    model, _, x = made(variant, (1, 8, 8), NETS[nets])
    model.double().train(training)
    whole = weights_of(model, x)
    order = torch.tensor([4, 1, 5, 0, 2, 3])
    torch.testing.assert_close(weights_of(model, x[order], index=order), whole[:, order], rtol=1e-9, atol=1e-9)
    for n in (0, 3):
        torch.testing.assert_close(
            weights_of(model, x[n : n + 1], index=order.new_tensor([n])), whole[:, n : n + 1], rtol=1e-9, atol=1e-9
        )
    other = x.clone()
    other[1:] = x[1:].flip(0)
    torch.testing.assert_close(weights_of(model, other)[:, 0], whole[:, 0], rtol=1e-9, atol=1e-9)
    assert not torch.allclose(weights_of(model, other)[:, 1], whole[:, 1])


@pytest.mark.parametrize("nets", NETS)
@pytest.mark.parametrize("variant", vaezoo.names("variant"))
def test_single_precision_agrees_with_double(variant, nets):
    model, objective, x = made(variant, (1, 8, 8), NETS[nets])
    double, own = copy.deepcopy(model).double(), copy.deepcopy(objective).double()
    torch.testing.assert_close(weights_of(model, x).double(), weights_of(double, x), rtol=1e-4, atol=1e-2)
    one, two = value_of(model, objective, x).mean(), value_of(double, own, x).mean()
    torch.testing.assert_close(one.double(), two, rtol=1e-4, atol=1e-3)
    one.backward()
    two.backward()
    for (name, single), exact in zip(model.named_parameters(), double.parameters(), strict=True):
        scale = float(exact.grad.abs().max())
        torch.testing.assert_close(single.grad.double(), exact.grad, rtol=1e-2, atol=2e-3 * scale + 1e-6, msg=name)


@pytest.mark.parametrize("nets", NETS)
@pytest.mark.parametrize("variant", vaezoo.names("variant"))
def test_the_gradient_is_that_of_the_bound(variant, nets):
    """Along a random direction of each parameter, with the noise fixed, the derivative of the mean log weight is the
    central difference: no path through z is cut."""
    model, _, x = made(variant, (1, 8, 8), NETS[nets])
    model.double()
    generator = torch.Generator().manual_seed(4)

    def value():
        with noise.stream(0, index=torch.arange(6), dtype=torch.float64):
            return model.draw(model.batch(x, index=torch.arange(6)), 2).log_weight.mean()

    gradients = torch.autograd.grad(value(), list(model.parameters()))
    for (name, parameter), gradient in zip(model.named_parameters(), gradients, strict=True):
        direction = torch.randn(parameter.shape, generator=generator).to(parameter)
        sides = []
        with torch.no_grad():
            for h in (1e-6, -2e-6, 1e-6):
                parameter.add_(h * direction)
                sides.append(float(value()))
        found = (sides[0] - sides[1]) / 2e-6
        assert abs(float((gradient * direction).sum()) - found) < 1e-5 + 1e-3 * abs(found), name


@pytest.mark.parametrize("nets", NETS)
@pytest.mark.parametrize("variant", vaezoo.names("variant"))
def test_a_deep_copy_is_whole_and_apart(variant, nets):
    model, _, x = made(variant, (1, 8, 8), NETS[nets])
    before = weights_of(model, x)
    twin = copy.deepcopy(model)
    assert torch.equal(weights_of(twin, x), before)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5)
    assert torch.equal(weights_of(twin, x), before)
    assert not torch.allclose(weights_of(model, x), before)


@pytest.mark.parametrize("nets", NETS)
@pytest.mark.parametrize("variant", vaezoo.names("variant"))
def test_the_state_makes_the_same_model_of_another(variant, nets):
    """Weights saved from one build and loaded into another seed's, and into one built without data."""
    model, _, x = made(variant, (1, 8, 8), NETS[nets], seed=0)
    other, _, _ = made(variant, (1, 8, 8), NETS[nets], seed=1)
    assert not torch.allclose(weights_of(other, x), weights_of(model, x))
    other.load_state_dict(model.state_dict())
    assert torch.equal(weights_of(other, x), weights_of(model, x))
    assert torch.equal(vaezoo.log_likelihood(other, x, 3).estimate, vaezoo.log_likelihood(model, x, 3).estimate)


def test_a_model_built_without_data_takes_the_weights_of_one_built_with():
    model, _, x = made("vae-vampprior", (1, 8, 8))
    spec = model.spec
    slots = resolve("vae-vampprior", spec, {"prior": (None, {"components": 5})})
    blank, _ = construct(slots, Ingredients.blank(spec, 3, (9, 7), 6))
    blank.load_state_dict(model.state_dict())
    assert torch.equal(weights_of(blank, x), weights_of(model, x))


@pytest.mark.parametrize("sides", [(7, 9), (1, 1), (2, 3), (5, 16), (13, 31)], ids=str)
@pytest.mark.parametrize("channels", [(4,), (4, 6), (4, 6, 8)], ids=len)
@pytest.mark.parametrize("inputs", [1, 3])
def test_conv_of_any_size(sides, channels, inputs):
    spec = DataSpec((inputs, *sides), "discrete", 17)
    variant = Variant("t", encoder=("conv", {"channels": channels}), decoder=("conv", {"channels": channels[::-1]}))
    model, _ = construct(resolve(variant, spec), Ingredients.blank(spec, 3, (9,), 10))
    x = images(spec.shape, "discrete", 2)
    assert model.decoder(torch.zeros(4, 3)).shape == (4, 2, inputs, *sides)
    assert weights_of(model, x).isfinite().all()
    assert model.sample(2).shape == (2, inputs, *sides)


def test_conv_refuses_what_is_no_image():
    spec = DataSpec((10,), "binary")
    for slot, text in (
        ("encoder", r"encoder 'conv' needs images \[channels, height, width\], got \[10\]"),
        ("decoder", "decoder 'conv' needs"),
    ):
        with pytest.raises(Skip, match=text):
            construct(resolve("vae", spec, {slot: ("conv", {})}), Ingredients.blank(spec, 3, (9,), 10))


@pytest.mark.parametrize("hidden", [(), (5,), (5, 4, 3)])
def test_mlp_of_any_depth(hidden):
    spec = DataSpec((2, 3), "binary")
    model, _ = construct(resolve("vae", spec), Ingredients.blank(spec, 3, hidden, 10))
    assert model.encoder.features == ((hidden or (6,))[-1],)
    widths = [m.out_features for m in model.decoder.modules() if isinstance(m, torch.nn.Linear)]
    assert widths == [*hidden[::-1], 6]
    assert weights_of(model, images((2, 3), "binary")).shape == (3, 6)


def test_the_linear_parts_are_linear():
    x = images((6,), "continuous").double()
    data = vaezoo.Dataset(x, x, x, measure="continuous")
    model, _ = construct(resolve("ppca", data.spec), Ingredients.of(data, 3, (9,)))
    model.double()
    with torch.no_grad():
        for function, points in (
            (lambda v: model.encode(v).mean, x),
            (lambda v: model.encode(v).log_std, x),
            (model.decoder, torch.randn(6, 3, dtype=torch.float64)),
        ):
            torch.testing.assert_close(
                function(0.3 * points[:1] + 0.7 * points[1:2]), 0.3 * function(points[:1]) + 0.7 * function(points[1:2])
            )


@pytest.mark.parametrize("posterior", vaezoo.names("posterior"))
def test_a_posterior_scores_its_own_samples(posterior):
    """rsample_and_log_prob and log_prob say the same, and E_q[h(z) / q(z|x)] = 1 for a narrow normalised h."""
    model, _, x = made(Variant("t", posterior=posterior), (1, 8, 8))
    model.double()
    index = torch.arange(6)
    with torch.no_grad(), noise.stream(0, index=index, dtype=torch.float64):
        q = model.posterior(model.batch(x, index=index))
        z, log_q = q.rsample_and_log_prob(20_000)
        again = q.log_prob(z)
    assert log_q.shape == (len(z), 20_000, 6)
    if again is not None:
        torch.testing.assert_close(again, log_q, rtol=1e-7, atol=1e-7)
    if len(z) == 1:
        mean, std = z[0].mean(0), 0.7 * z[0].std(0)
        log_h = torch.distributions.Normal(mean, std).log_prob(z[0]).sum(-1)
        ratio = (log_h - log_q[0]).exp()
        assert ((ratio.mean(0) - 1).abs() < 4 * ratio.std(0) / 20_000**0.5).all()
