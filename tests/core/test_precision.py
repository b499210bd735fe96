"""Encoder and decoder multiply in the model's precision, nothing else does, and float32 is what it always was."""

import copy
import re

import pytest
import torch
from torch.func import functional_call, grad_and_value, stack_module_state, vmap

import vaezoo
from vaezoo import VaezooError, noise
from vaezoo.builder import Ingredients, construct, resolve
from vaezoo.core.precision import PRECISIONS, computing, no_hidden_tf32, unsupported_precision
from vaezoo.evaluation.ais import Annealing, ais

NETS = {"mlp": {}, "conv": {"encoder": ("conv", {"channels": (4, 6)}), "decoder": ("conv", {"channels": (6, 4)})}}
HALF = 2**-8
"""bfloat16 rounds to 8 bits: a product is off by about this much, relatively."""


def made(variant="vae", nets="mlp", seed=0):
    """A model with random weights, its objective, and the twelve images it is for."""
    few = {"prior": ("vampprior", {"components": 6})} if variant == "vae-vampprior" else {}
    x = (torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(1)) > 0.5).to(torch.uint8)
    data = vaezoo.Dataset(x, x, x, measure="binary")
    slots = resolve(variant, data.spec, NETS[nets] | few)
    model, objective = construct(slots, Ingredients.of(data, 3, (16,)), seed=seed)
    return model, objective, x


def spied(part):
    """What a part is given and gives, as a list that fills."""
    seen = []
    part.register_forward_hook(lambda module, given, out: seen.append((given, out)))
    return seen


def loss_of(model, objective, x, key):
    index = torch.arange(len(x))
    with noise.stream(key, index=index, dtype=torch.float32):
        return -objective(model.draw(model.batch(x, index=index), 2)).mean()


@pytest.mark.parametrize("nets", NETS)
def test_float32_is_a_direct_call_bit_for_bit(nets):
    model, _, x = made(nets=nets)
    batch = model.batch(x)
    assert model.precision == "float32"
    expected = model.posterior_net(model.encoder(batch.x))
    q = model.posterior(batch)
    assert torch.equal(q.mean, expected.mean)
    z = torch.randn(4, 12, 3)
    logits = model.decoder(z.flatten(0, 1)).unflatten(0, (4, 12))
    assert torch.equal(model.log_likelihood(batch, (z,)), model.likelihood.log_prob(batch.x, logits))


@pytest.mark.parametrize("nets", NETS)
def test_bfloat16_is_rounded_products_and_nothing_else(nets):
    model, _, x = made(nets=nets)
    batch, z = model.batch(x), torch.randn(4, 12, 3, generator=torch.Generator().manual_seed(2))
    seen = {name: spied(getattr(model, name)) for name in ("encoder", "posterior_net", "decoder")}
    exact = model.posterior(batch), model.log_likelihood(batch, (z,)), model.log_prior(batch, (z,))
    model.precision = "bfloat16"
    rounded = model.posterior(batch), model.log_likelihood(batch, (z,)), model.log_prior(batch, (z,))

    for name in ("encoder", "decoder"):
        plain, coarse = (out.detach() for _, out in seen[name])
        assert (plain.dtype, coarse.dtype) == (torch.float32, torch.bfloat16)
        off = float((coarse.float() - plain).abs().max() / plain.abs().max())
        assert HALF / 10 < off < 10 * HALF
    (features,), _ = seen["posterior_net"][1]
    assert features.dtype == torch.float32
    assert rounded[0].mean.dtype == rounded[1].dtype == rounded[2].dtype == torch.float32
    with torch.no_grad():  # the heads see the rounded features, and are themselves exact
        assert torch.equal(rounded[0].mean, model.posterior_net(seen["encoder"][1][1].float()).mean)
        logits = seen["decoder"][1][1].float().unflatten(0, (4, 12))
        assert torch.equal(rounded[1], model.likelihood.log_prob(batch.x, logits))
    assert not torch.equal(rounded[1], exact[1])
    assert torch.equal(rounded[2], exact[2])


@pytest.mark.parametrize("variant", ["vae", "vae-mixture", "vae-vampprior"])
def test_the_estimate_moves_a_little(variant):
    model, _, x = made(variant)
    values = {}
    for precision in ("float32", "bfloat16"):
        model.precision = precision
        values[precision] = vaezoo.log_likelihood(model, x, 50).estimate
    off = (values["bfloat16"] - values["float32"]).abs()
    assert 0 < float(off.max()) < 0.5


def test_samples_reconstructions_and_ais_run_in_it():
    model, _, x = made()
    model.precision = "bfloat16"
    seen = spied(model.decoder)
    assert model.sample(5).dtype == model.reconstruct(x).dtype == torch.float32
    assert len(seen) == 2
    assert ais(model, x[:2], Annealing(chains=2, temperatures=2, leapfrogs=1)).isfinite().all()
    assert {out.dtype for _, out in seen} == {torch.bfloat16}


@pytest.mark.parametrize("nets", NETS)
@pytest.mark.parametrize("variant", ["vae", "iwae"])
def test_gradients_are_finite_float32_and_nearly_those_of_float32(nets, variant):
    model, objective, x = made(variant, nets)
    gradients = {}
    for precision in ("float32", "bfloat16"):
        model.precision = precision
        model.zero_grad()
        loss_of(model, objective, x, torch.tensor(7)).backward()
        gradients[precision] = {name: p.grad for name, p in model.named_parameters()}
    for name, exact in gradients["float32"].items():
        rounded = gradients["bfloat16"][name]
        assert rounded.dtype == torch.float32
        assert rounded.isfinite().all()
        assert 0 < float((rounded - exact).norm() / exact.norm()) < 0.1, name


@pytest.mark.parametrize("nets", NETS)
def test_it_maps_over_seeds(nets):
    """Loss and gradients of two seeds at once are those of each alone, but for bfloat16's rounding."""
    each = [made(nets=nets, seed=seed) for seed in range(2)]
    objective, x = each[0][1], each[0][2]
    models = [model for model, _, _ in each]
    for model in models:
        model.precision = "bfloat16"
    keys, bare = torch.tensor([3, 4]), Bare(copy.deepcopy(models[0]), objective).to("meta")
    seen = spied(bare.model.decoder.net[-2 if nets == "mlp" else -1])
    parameters, buffers = stack_module_state([Bare(model, objective) for model in models])

    def loss(own, rest, key):
        return functional_call(bare, (own, rest), (x, key))

    gradients, losses = vmap(grad_and_value(loss))(parameters, buffers, keys)
    assert [out.dtype for _, out in seen] == [torch.bfloat16]
    for seed, model in enumerate(models):
        single = loss_of(model, objective, x, keys[seed])
        single.backward()
        torch.testing.assert_close(losses[seed], single.detach(), rtol=HALF, atol=0)
        for name, parameter in model.named_parameters():
            off = gradients[f"model.{name}"][seed].detach() - parameter.grad
            assert float(off.norm() / parameter.grad.norm()) < 0.1, name
    assert abs(float((losses[0] - losses[1]).detach())) > 0.01


class Bare(torch.nn.Module):
    """A model with its objective as one function of images and a key."""

    def __init__(self, model, objective):
        super().__init__()
        self.model, self.objective = model, objective

    def forward(self, x, key):
        return loss_of(self.model, self.objective, x, key)


def test_an_unknown_precision_is_refused():
    model, _, _ = made()
    with pytest.raises(VaezooError, match=re.escape("precision 'bf16' is unknown; did you mean 'bfloat16'?")):
        model.precision = "bf16"
    assert model.precision == "float32"
    for precision in PRECISIONS:
        model.precision = precision
        assert model.precision == copy.deepcopy(model).precision == precision


# tf32


def flags():
    """What cuBLAS and cuDNN would do with float32."""
    return torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision


@pytest.fixture
def fresh_flags():
    before = flags()
    yield
    torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision = before


@pytest.mark.usefixtures("fresh_flags")
def test_tf32_holds_inside_only():
    """The settings are there without a GPU, too; on a CPU they are left alone."""
    no_hidden_tf32()
    assert flags() == ("ieee", "ieee")
    inside = []

    @computing("tf32", torch.device("cuda", 0))
    def fails():
        inside.append(flags())
        raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fails()
    assert inside == [("tf32", "tf32")]
    assert flags() == ("ieee", "ieee")
    for precision, device in (("tf32", "cpu"), ("bfloat16", "cpu"), ("float32", "cuda")):
        with computing(precision, torch.device(device)):
            assert flags() == ("ieee", "ieee")


def test_what_a_device_does_not_support():
    reason = unsupported_precision("tf32", "cpu")
    assert reason.startswith("precision 'tf32' needs a CUDA device, this run is on cpu; use ")
    assert not any(unsupported_precision(precision, "cuda") for precision in PRECISIONS)
    assert not any(unsupported_precision(precision, "cpu") for precision in ("float32", "bfloat16"))


@pytest.mark.gpu
@pytest.mark.usefixtures("fresh_flags")
@pytest.mark.parametrize("nets", NETS)
def test_on_a_gpu_each_is_as_coarse_as_it_says(nets):
    no_hidden_tf32()
    model, _, x = made(nets=nets)
    model = model.to("cuda")
    batch, z = model.batch(x), (torch.randn(50, 12, 3, device="cuda"),)
    exact = copy.deepcopy(model).double().log_likelihood(batch_of_doubles(batch), (z[0].double(),))
    off = {}
    for precision in PRECISIONS:
        model.precision = precision
        off[precision] = float((model.log_likelihood(batch, z) - exact).abs().mean())
    assert off["float32"] < 0.2 * off["tf32"] < 0.2 * off["bfloat16"]


def batch_of_doubles(batch):
    return vaezoo.Batch(batch.x.double(), batch.context, batch.index)


@pytest.mark.gpu
def test_a_captured_graph_sees_new_weights():
    """bfloat16 casts of the weights are part of the graph: after an update a replay uses the new ones."""
    model, _, x = made()
    model = model.to("cuda")
    model.precision = "bfloat16"
    batch, z = model.batch(x), (torch.randn(5, 12, 3, device="cuda"),)
    side, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    with torch.no_grad():
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            model.log_likelihood(batch, z)
        torch.cuda.current_stream().wait_stream(side)
        with torch.cuda.graph(graph):
            out = model.log_likelihood(batch, z)
        for parameter in model.parameters():
            parameter.mul_(1.5)
        graph.replay()
        torch.testing.assert_close(out, model.log_likelihood(batch, z))
