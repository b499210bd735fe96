"""The comparison with other people's code compares the same thing: objective, gradients, estimates; and it runs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import vaezoo
from vaezoo.builder import Ingredients, construct, resolve
from vaezoo.core import noise

PEERS = Path(__file__).parent.parent / "benchmarks" / "peers"


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """The import path as it is when `compare.py` runs."""
    monkeypatch.syspath_prepend(PEERS)


@pytest.fixture
def made():
    """A vae in double precision with its objective, the plain net with its weights, and 0/1 images [32, 64]."""
    import loops

    dataset = vaezoo.load_dataset("digits-binary")
    model, objective = construct(resolve("vae", dataset.spec), Ingredients.of(dataset, 3, (16,)))
    model, net = model.double(), loops.Net(64, (16,), 3).double()
    with torch.no_grad():
        for theirs, ours in zip(net.parameters(), trained(model), strict=True):
            theirs.copy_(ours)
    return model, objective, net, dataset.train.images(torch.arange(32)).double().flatten(1)


def trained(model: vaezoo.LatentModel) -> list[torch.nn.Parameter]:
    return [p for part in (model.encoder, model.posterior_net, model.decoder) for p in part.parameters()]


def elbo_of_ours(model, objective, x) -> torch.Tensor:
    """On the noise that seed 0 gives a plain loop."""
    torch.manual_seed(0)
    eps = torch.randn(len(x), 3, dtype=torch.float64)
    with noise.given_normals([eps[None]]):
        return objective(model.draw(model.batch(x.view(-1, 1, 8, 8)), 1)).mean()


@pytest.mark.parametrize("loss", ["loss_on_probabilities", "loss_on_logits"])
def test_a_plain_loop_has_our_objective_and_its_gradient(made, loss):
    import loops

    model, objective, net, x = made
    ours = elbo_of_ours(model, objective, x)
    torch.manual_seed(0)
    theirs = getattr(loops, loss)(net, x)
    assert -theirs.item() == pytest.approx(ours.item(), rel=1e-10)
    wanted = torch.autograd.grad(-ours, trained(model))
    for gradient, found in zip(wanted, torch.autograd.grad(theirs, list(net.parameters())), strict=True):
        torch.testing.assert_close(found, gradient, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", ["Loop", "Resident", "Fast", "Flushed"])
def test_an_epoch_of_a_plain_loop_takes_every_image_once_and_learns(made, name, monkeypatch):
    import loops

    monkeypatch.setattr(loops, "BATCH", 8)
    net, x = made[2].float(), made[3].float() + torch.arange(32)[:, None]
    loop = getattr(loops, name)(net, x)
    seen = list(loop.batches())
    assert [len(batch) for batch in seen] == [8] * 4
    assert sorted(torch.cat(seen)[:, 0].long().tolist()) == sorted(x[:, 0].long().tolist())
    assert not torch.equal(torch.cat(seen), x)
    loop = getattr(loops, name)(net, made[3].float())
    before = loop.epoch()
    assert [loop.epoch() for _ in range(40)][-1] > before + 1


def test_the_plain_estimate_is_ours(made, monkeypatch):
    import loops

    model, _, net, x = made
    monkeypatch.setattr(loops, "CPU_BLOCK", 32 * 64 * 300)  # blocks of unequal size
    found = vaezoo.log_likelihood(model, x.view(-1, 1, 8, 8), 2000)
    torch.manual_seed(0)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "randn", lambda *s, device=None: torch.normal(0.0, torch.ones(s, dtype=torch.float64)))
        difference = loops.log_likelihood(net, x, 2000) - found.estimate
    assert found.standard_error.max() < 0.2
    assert (difference.abs() < 6 * 2**0.5 * found.standard_error).all()
    assert abs(float(difference.mean())) < 0.02


@pytest.mark.filterwarnings("default")
def test_pythae_has_our_objective_and_estimate(made):
    pytest.importorskip("pythae", reason="Pythae is not installed: pip install vaezoo[peers]")
    import pythae_peer

    model, objective, net, x = made
    ours = elbo_of_ours(model, objective, x).item()
    theirs = pythae_peer.model_of(net).double()
    torch.manual_seed(0)
    assert -theirs({"data": x}).loss.item() == pytest.approx(ours, rel=1e-8)
    found = vaezoo.log_likelihood(model, x.view(-1, 1, 8, 8), 1000)
    difference = pythae_peer.log_likelihood(theirs, x, 1000, 500) - found.estimate
    assert abs(float(difference.mean())) < 0.05
    with pytest.raises(ValueError, match="would not draw 700 samples"):
        pythae_peer.log_likelihood(theirs, x, 700, 500)


@pytest.mark.filterwarnings("default")
def test_jax_has_our_objective_estimate_and_learns(made, monkeypatch):
    jax = pytest.importorskip("jax", reason="JAX is not installed: pip install vaezoo[peers-jax]")
    pytest.importorskip("optax", reason="optax is not installed: pip install vaezoo[peers-jax]")
    import jax_peer

    model, objective, net, x = made
    theirs = {"encoder": jax_peer.layers_of(net.encoder), "decoder": jax_peer.layers_of(net.decoder)}
    eps = jax.random.normal(jax.random.key(0), (32, 3))
    with noise.given_normals([torch.tensor(eps.tolist(), dtype=torch.float64)[None]]):
        ours = objective(model.draw(model.batch(x.view(-1, 1, 8, 8)), 1)).mean().item()
    found = float(jax_peer.elbo(theirs, jax.numpy.array(x.numpy()), jax.random.key(0)))
    assert found == pytest.approx(ours, rel=1e-5)
    estimate = vaezoo.log_likelihood(model, x.view(-1, 1, 8, 8), 1000)
    name, way = jax_peer.estimator(net, x, 1000)
    assert "blocks of" in name
    assert abs(float((way(1000) - estimate.estimate).mean())) < 0.05
    monkeypatch.setattr(jax_peer, "BATCH", 8)
    training = jax_peer.Training(net, x)
    before = training.epoch()
    assert [training.epoch() for _ in range(40)][-1] > before + 1


def test_what_is_not_the_same_work_is_refused():
    from rounds import agree, same_objective

    ours = torch.randn(100, generator=torch.Generator().manual_seed(0)) / 10
    noisy = ours + torch.randn(100, generator=torch.Generator().manual_seed(1)) / 10
    assert "vaezoo" in agree({"other": noisy, "vaezoo": ours}, 10)
    with pytest.raises(SystemExit, match="other differs from vaezoo by"):
        agree({"other": noisy + 0.1, "vaezoo": ours}, 10)
    with pytest.raises(SystemExit, match="take more samples"):
        agree({"other": 100 * noisy, "vaezoo": ours}, 10)
    same_objective({"a": -100.0, "b": -101.0})
    for other in (-90.0, float("nan")):
        with pytest.raises(SystemExit, match="not the same training"):
            same_objective({"a": -100.0, "b": other})


def test_rates_are_of_the_round_and_ratios_within_it():
    from rounds import Table

    table = Table("t", "items/s", 10, torch.device("cpu"))
    calls = []
    table.run({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3)
    assert calls == ["a", "b", "b", "a", "a", "b", "b", "a"]
    assert [len(rates) for rates in table.rates.values()] == [3, 3]
    table.rates = {"a": [10.0, 20.0, 40.0], "b": [20.0, 40.0, 40.0]}
    assert table.ratios("b", "a") == (1.5, 2.0, 2.0)
    assert table.markdown().splitlines()[-1] == "| b | 40 | 2.00 | 1.50 .. 2.00 |"
    assert table.against("b", ["a"], "the first") == "b / the first (a): 2.000 (quartiles 1.500 .. 2.000)"


def compare(*options: str, **env: str) -> subprocess.CompletedProcess:
    words = [sys.executable, str(PEERS / "compare.py"), "--rounds", "1", *options]
    return subprocess.run(words, env={**os.environ, **env}, capture_output=True, text=True, timeout=300)


@pytest.mark.nightly
@pytest.mark.data
def test_the_script_measures_checks_and_tells(tmp_path):
    file = tmp_path / "rows.json"
    sizes = {"--images": "1300", "--samples": "20", "--check-samples": "500", "--json": str(file)}
    done = compare(*(word for pair in sizes.items() for word in pair))
    assert (done.returncode, done.stderr) == (0, ""), done
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert all(row["median"] > 0 and len(row["rounds"]) == 1 for row in rows)
    names = [row["name"] for row in rows]
    assert {"vaezoo", "vaezoo.log_likelihood", "vectorised in plain PyTorch"} < set(names)
    assert sum("DataLoader" in name or "resident" in name for name in names) == 3
    assert all(f"| {name} |" in done.stdout for name in names)
    assert ("Pythae is left out" in done.stdout) != any("Pythae" in name for name in names)
    assert "vaezoo / fastest hand-written loop" in done.stdout
    assert "training, 1,280 images a round" in done.stdout


def test_without_mnist_it_says_so_in_one_line(tmp_path):
    (tmp_path / "file").touch()
    done = compare(VAEZOO_DATA=str(tmp_path / "file"))
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1), done
    assert done.stderr.startswith("nothing to compare on: dataset 'mnist-fixed': MNIST is not in")
