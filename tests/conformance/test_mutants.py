"""Wrong plugins, each with the proof that rejects it by its figure; their right twins pass every proof."""

from functools import cache
from pathlib import Path

import pytest
from unable import is_pass_or_unable

from vaezoo.conformance.check import proofs_of, prove
from vaezoo.conformance.proof import Proof
from vaezoo.conformance.verdict import FAIL, Finding
from vaezoo.registry import SLOTS, register, registry

HERE = Path(__file__).parent

MUTANTS = {
    "prior/constant-wrong": "density integrates to 1",
    "prior/mixture-weights-wrong": "density integrates to 1",
    "prior/mixture-axis-wrong": "samples as density",
    "prior/variance-wrong": "samples as density",
    "prior/cauchy-wrong": "density integrates to 1",
    "prior/box-wrong": "density integrates to 1",
    "prior/scale-wrong": "samples as density",
    "prior/sharing-wrong": "samples as density",
    "prior/two-groups-wrong": "samples as density",
    "prior/two-groups-order-wrong": "each group scored",
    "posterior/two-groups-order-wrong": "each group scored",
    "prior/chain-kl-wrong": "closed-form KL",
    "prior/chain-sum-wrong": "closed-form KL",
    "prior/kl-half-wrong": "closed-form KL",
    "prior/kl-mean-wrong": "closed-form KL",
    "prior/kl-swapped-wrong": "closed-form KL",
    "prior/kl-shape-wrong": "shapes",
    "prior/shape-wrong": "shapes",
    "prior/precision-wrong": "float64",
    "prior/precision-kept-wrong": "float64",
    "prior/generator-wrong": "seeds",
    "prior/kept-wrong": "save and load",
    "prior/kept-apart-wrong": "save and load",
    "prior/running-wrong": "seeds",
    "prior/listed-wrong": "nothing hidden",
    "prior/detached-wrong": "gradients",
    "prior/encoding-wrong": "save and load",
    "posterior/std-without-gradient-wrong": "derivatives",
    "posterior/sign-wrong": "log-determinant",
    "posterior/constant-wrong": "posterior on a grid",
    "posterior/variance-wrong": "scores its own samples",
    "posterior/one-eps-for-all-samples-wrong": "samples independent",
    "posterior/one-eps-for-all-images-wrong": "samples independent",
    "posterior/torch-randn-wrong": "seeds",
    "posterior/own-generator-wrong": "seeds",
    "posterior/shape-wrong": "shapes",
    "posterior/one-plane-sign-wrong": "log-determinant",
    "posterior/one-plane-missing-wrong": "E[h/q] = 1",
    "posterior/one-plane-tenth-wrong": "E[h/q] = 1",
    "posterior/two-groups-wrong": "log-determinant",
    "encoder/batch-norm-wrong": "images alone",
    "encoder/batch-mean-wrong": "images alone",
    "encoder/features-wrong": "shapes",
    "decoder/causal-wrong": "decoder normalised",
    "decoder/layers-closure-wrong": "mapped over seeds",
    "decoder/layers-shape-wrong": "shapes",
    "decoder/layers-coupled-wrong": "images alone",
    "decoder/layers-memory-wrong": "seeds",
    "decoder/one-channel-wrong": "images of every shape",
    "likelihood/coin-clamped-wrong": "extremes",
    "likelihood/coin-logs-wrong": "extremes",
    "likelihood/coin-padded-wrong": "sums to 1",
    "likelihood/bell-optimal-wrong": "images alone",
    "likelihood/bell-sample-wrong": "samples as density",
    "likelihood/bell-mean-wrong": "mean as density",
    "likelihood/several-wrong": "sums to 1",
    "likelihood/bins-wrong": "sums to 1",
    "likelihood/arrivals-wrong": "sums to 1",
    "likelihood/arrivals-mean-wrong": "mean as density",
    "likelihood/arrivals-sample-wrong": "samples as density",
    "likelihood/unit-interval-wrong": "sums to 1",
    "prior/told-constant-wrong": "density integrates to 1",
    "prior/told-sample-wrong": "samples as density",
    "prior/left-out-wrong": "density integrates to 1",
    "encoder/informed-coupled-wrong": "images alone",
    "encoder/memorising-wrong": "images alone",
    "prior/four-bells-floor-wrong": "mass far out",
    "prior/student-wrong": "density in 20 dimensions",
    "prior/square-wrong": "sizes alike",
    "likelihood/flips-channel-wrong": "sums to 1",
    "decoder/in-order-declared-wrong": "pixels in order",
    "posterior/coins-wrong": "posterior on a grid",
    "prior/sphere-wrong": "density integrates to 1",
    "objective/by-groups-power-wrong": "gradient as claimed",
    "objective/by-groups-sign-wrong": "gradient as claimed",
    "objective/by-groups-names-wrong": "gradient as claimed",
    "objective/many-wrong": "below log p(x)",
    "objective/entropy-wrong": "value as claimed",
    "objective/sign-wrong": "value as claimed",
    "objective/swapped-wrong": "value as claimed",
    "objective/groups-wrong": "value as claimed",
    "objective/coupled-wrong": "uncoupled",
    "objective/coupled-scalar-wrong": "uncoupled",
    "objective/scalar-wrong": "uncoupled",
    "objective/surrogate-wrong": "gradient as claimed",
    "objective/landing-wrong": "gradient as claimed",
    "objective/shape-wrong": "shapes",
    "objective/infinite-gradient-wrong": "gradients",
    "objective/warm-squared-wrong": "value as claimed",
    "objective/warm-reconstruction-wrong": "value as claimed",
    "objective/warm-ignored-wrong": "value as claimed",
    "objective/warm-everything-wrong": "value as claimed",
    "objective/warm-prior-wrong": "value as claimed",
    "objective/warm-floor-wrong": "value as claimed",
    "objective/floored-kl-wrong": "value as claimed",
    "objective/warm-path-wrong": "gradient as claimed",
    "objective/warm-many-fewer-wrong": "value as claimed",
    "objective/warm-many-own-wrong": "value as claimed",
    "objective/warm-many-axis-wrong": "value as claimed",
    "objective/bounded-twice-wrong": "below log p(x)",
    "objective/bounded-loose-wrong": "below log p(x)",
    "objective/bounded-warm-wrong": "below log p(x)",
    "objective/grouped-swapped-wrong": "gradient as claimed",
    "objective/warm-detached-wrong": "gradient as claimed",
    "objective/warm-doubled-wrong": "gradient as claimed",
    "objective/warm-eval-wrong": "the same in every pass",
    "objective/warm-ramp-wrong": "the same in every pass",
    "objective/warm-last-wrong": "the same in every pass",
    "objective/leave-one-out-sign-wrong": "gradient as claimed",
    "objective/leave-one-out-silent-wrong": "gradient as claimed",
    "variant/whole-wrong": "closed-form KL",
    "dataset/unsteady-wrong": "the same twice",
    "dataset/values-wrong": "the same twice",
    "dataset/known-wrong": "true likelihood",
    "dataset/vast-wrong": "a model can be built",
    "metric/weights-wrong": "leaves all as it was",
    "metric/mode-wrong": "leaves all as it was",
    "metric/random-wrong": "finite and repeatable",
    "metric/nan-wrong": "finite and repeatable",
    "metric/columns-wrong": "finite and repeatable",
    "metric/iwll-wrong": "finite and repeatable",
    "metric/frame-wrong": "finite and repeatable",
    "metric/tensor-wrong": "finite and repeatable",
    "metric/untyped-wrong": "declaration",
    **{f"dataset/apart-{kind}-wrong": "splits of their own" for kind in ("test-in-train", "valid-is-test", "copied")},
    **{f"dataset/populated-{kind}-wrong": "splits alike" for kind in ("levels", "inverted")},
    "dataset/standardised-apart-wrong": "splits alike",
    "dataset/seeded-split-wrong": "splits of any seed",
    **{f"dataset/leveled-{kind}-wrong": "levels as declared" for kind in ("unused", "coarse")},
    **{f"dataset/dequantised-{kind}-wrong": "levels as declared" for kind in ("not", "narrow")},
    **{f"dataset/stated-{kind}-wrong": "true likelihood" for kind in ("constant", "width", "coupled")},
    **{
        f"dataset/alone-{kind}-wrong": "the same twice"
        for kind in ("numpy", "python", "seeds", "time", "folder", "options")
    },
    **{
        f"metric/tidy-{kind}-wrong": "leaves all as it was"
        for kind in ("training-mode", "one-layer", "gradients", "frozen", "images", "dataset", "dtype", "seeds")
    },
    **{f"metric/tidy-{kind}-wrong": "leaves all as it was" for kind in ("numpy", "python", "environment", "settings")},
    **{
        f"metric/tidy-{kind}-wrong": "values of each image" for kind in ("shape", "infinite", "order", "batch", "place")
    },
    **{f"metric/tidy-{kind}-wrong": "finite and repeatable" for kind in ("memory", "global")},
    "posterior/spread-mean-wrong": "derivatives",
    "posterior/spread-twice-wrong": "derivatives",
    "posterior/spread-in-training-wrong": "derivatives",
    "posterior/spread-far-wrong": "derivatives",
    "posterior/spread-clamp-wrong": "log q far out",
    "posterior/spread-score-wrong": "derivatives",
    "posterior/two-bells-choice-wrong": "gradient of E f(z)",
    "posterior/two-bells-sign-wrong": "gradient of E f(z)",
    "encoder/hard-units-wrong": "derivatives",
    "encoder/rectified-hook-wrong": "derivatives",
    "decoder/wide-far-wrong": "derivatives",
    "likelihood/plain-coin-white-wrong": "derivatives",
    "prior/pair-of-bells-half-wrong": "derivatives",
    "prior/weighted-not-wrong": "density in 20 dimensions",
    "prior/tracked-variance-wrong": "samples as density",
    "prior/of-context-first-wrong": "samples as density",
    "prior/components-stale-wrong": "weights of now",
    "prior/components-version-wrong": "weights of now",
    "prior/components-address-wrong": "weights of now",
    "prior/components-noise-wrong": "densities of (x, z) alone",
    "prior/components-index-wrong": "densities of (x, z) alone",
    "prior/components-hash-wrong": "in a fresh process",
    "objective/counting-wrong": "a pass leaves nothing",
    "encoder/leaving-rarely-wrong": "a pass leaves nothing",
    "posterior/marking-wrong": "no memory",
    "prior/reading-marks-wrong": "no memory",
    "variant/marks-wrong": "no memory",
    "objective/moving-baseline-list-wrong": "update(draws)",
    "objective/moving-baseline-data-wrong": "update(draws)",
    "objective/moving-baseline-other-wrong": "update(draws)",
    "objective/moving-baseline-random-wrong": "update(draws)",
    "objective/moving-baseline-packed-wrong": "update(draws)",
    "likelihood/fitted-scale-random-wrong": "refit(images)",
    "likelihood/fitted-scale-kept-wrong": "refit(images)",
    "likelihood/fitted-scale-graph-wrong": "refit(images)",
    "likelihood/fitted-scale-replaced-wrong": "refit(images)",
    "objective/warming-late-wrong": "progress",
    "objective/warming-untold-wrong": "progress",
    "decoder/cooling-mode-wrong": "progress",
    **{
        f"{slot}/{part}-{way}-wrong": "no memory"
        for way in ("class", "closure", "default", "cache", "module", "file", "environment", "training", "size")
        for slot, part in (("encoder", "leaving"), ("decoder", "taking"), ("variant", "leak"))
    },
    "dataset/alone-hash-wrong": "in a fresh process",
    "prior/four-bells-clamp-wrong": "mass far out",
    "prior/four-bells-far-wrong": "mass far out",
    "prior/four-bells-one-group-wrong": "density in 20 dimensions",
    "prior/full-wrong": "log-determinant",
    "prior/full-sample-wrong": "log-determinant",
    "prior/products-wrong": "density in 20 dimensions",
    "prior/spikes-wrong": "density in 20 dimensions",
    "prior/half-normal-wrong": "density in 20 dimensions",
    "prior/three-groups-wrong": "density in 20 dimensions",
    "prior/three-groups-kl-wrong": "closed-form KL",
    "posterior/square-wrong": "sizes alike",
    "likelihood/flips-square-wrong": "sizes alike",
    "likelihood/flips-transposed-wrong": "mean as density",
    "likelihood/flips-mean-wrong": "mean as density",
    "likelihood/flips-sample-wrong": "samples as density",
    "likelihood/levels-last-wrong": "sums to 1",
    "likelihood/levels-16-wrong": "sums to 1",
    "likelihood/levels-byte-wrong": "sums to 1",
    "likelihood/bumps-channel-wrong": "sums to 1",
    "likelihood/bumps-sample-wrong": "samples as density",
    "likelihood/events-wrong": "sums to 1",
    "likelihood/exposed-mean-wrong": "mean as density",
    "likelihood/exposed-sample-wrong": "samples as density",
    "decoder/in-order-channels-wrong": "decoder normalised",
    "decoder/in-order-rows-wrong": "decoder normalised",
    "decoder/in-order-gradient-wrong": "pixels in order",
    "posterior/angular-wrong": "posterior on a grid",
    "posterior/in-ball-wrong": "E[h/q] = 1",
    "posterior/logit-normal-wrong": "posterior on a grid",
    "posterior/one-hot-wrong": "images alone",
    "posterior/half-bells-wrong": "density in 20 dimensions",
    "prior/sphere-then-line-wrong": "samples as density",
    "posterior/sphere-then-line-wrong": "posterior on a grid",
    "prior/ball-wrong": "samples as density",
    "prior/triangle-wrong": "density integrates to 1",
    "prior/fair-coins-wrong": "density in 20 dimensions",
    "prior/uniform-class-wrong": "density integrates to 1",
    "decoder/limited-batch-wrong": "images alone",
    "objective/floored-batch-wrong": "uncoupled",
    "objective/summed-first-wrong": "value as claimed",
    "posterior/scoring-clamp-wrong": "scores its own samples",
    "posterior/ridge-marginals-wrong": "scores its own samples",
    "likelihood/two-logs-floor-wrong": "sums to 1",
    "likelihood/tilted-series-wrong": "sums to 1",
    "prior/averaged-fresh-wrong": "samples as density",
    "prior/triangular-cache-wrong": "weights of now",
}
"""Each wrong plugin, and the proof that must reject it."""


@pytest.fixture(scope="module", autouse=True)
def mutants():
    """The mutants' files, registered while these tests run."""
    for slot in SLOTS:
        len(registry(slot))
    kept = {slot: dict(registry(slot)._plugins) for slot in SLOTS}
    files, unavailable = dict(register.files), list(register.unavailable)
    for path in sorted(HERE.glob("mutants_*.py")):
        register.load_file(path)
    assert register.unavailable == unavailable
    yield
    register.files = files
    for slot in SLOTS:
        registry(slot)._plugins = kept[slot]


def plugin_named(name: str):
    slot, _, rest = name.partition("/")
    return registry(slot)[rest]


def own_plugins() -> list[str]:
    files = {register.files[path] for path in register.files if path.parent == HERE}
    return [f"{slot}/{p.name}" for slot in SLOTS for p in registry(slot).values() if p.module in files]


SLOW = ("gradient of E f(z)", "in a fresh process")
"""Proofs that take more than a second to reject a mutant."""


def cases() -> list:
    """All mutants. Outside of the nightly tests the first of each slot and proof stands for the others."""
    first: set[tuple[str, str]] = set()
    found = []
    for name, proof in MUTANTS.items():
        of = name.partition("/")[0], proof
        found.append(pytest.param(name, marks=pytest.mark.nightly if of in first or proof in SLOW else ()))
        first.add(of)
    return found


CASES = cases()


@pytest.mark.parametrize("name", CASES)
def test_a_mutant_is_rejected_by_its_figure(name):
    plugin = plugin_named(name)
    (proof,) = [p for p in proofs_of(plugin.slot) if p.name == MUTANTS[name]]
    found = prove(plugin, proof, quick=proof.name != "in a fresh process")
    assert found.verdict == FAIL, found
    assert found.figure not in ("", "raised", "crash"), found
    assert found.detail.startswith(proof.formula), found


WITH_A_WRONG_PART = (
    *(f"variant/two-groups-{kind}" for kind in ("wrong-posterior", "order-wrong-posterior", "order", "prior")),
    "variant/ladder-sum",
)
"""Variants whose only purpose is to put a wrong part in its place."""
AROUND = (
    *(f"variant/leave-one-out{kind}-bits" for kind in ("", "-sign-wrong", "-silent-wrong")),
    "posterior/bits",
    "prior/bits",
)
"""Parts that surround an objective of discrete latents."""


def twins_of(name: str) -> list[str]:
    """The right plugins that a mutant is a subclass of."""
    mutant, slot = plugin_named(name), name.partition("/")[0]
    right = [twin for twin in right_twins() if twin.startswith(f"{slot}/")]
    if not isinstance(mutant.target, type):
        return []
    return [twin for twin in right if issubclass(mutant.target, plugin_named(twin).target)]


def right_twins() -> list[str]:
    return [name for name in own_plugins() if not name.endswith("-wrong") and name not in WITH_A_WRONG_PART + AROUND]


@cache
def lost(name: str, proof: Proof) -> Finding | None:
    """What a proof finds of a right plugin, where that is neither a pass nor one of the reasons of UNABLE."""
    found = prove(plugin_named(name), proof, quick=True)
    if name == "dataset/absent" and "no-such-file.pt" in found.detail:
        return None
    return None if is_pass_or_unable(found) else found


@pytest.mark.parametrize("name", CASES)
def test_the_twin_of_a_mutant_passes_the_proof_that_rejects_the_mutant(name):
    twins = twins_of(name)
    (proof,) = [p for p in proofs_of(name.partition("/")[0]) if p.name == MUTANTS[name]]
    assert [found for twin in twins if (found := lost(twin, proof))] == []


@pytest.mark.nightly
def test_every_right_twin_passes_every_proof():
    assert len(right_twins()) > 30
    found = [(name, lost(name, proof)) for name in right_twins() for proof in proofs_of(name.partition("/")[0])]
    assert [(name, finding) for name, finding in found if finding] == []


def test_every_mutant_stands_in_the_table():
    assert {name for name in own_plugins() if name.endswith("-wrong")} == set(MUTANTS)
    assert len(MUTANTS) >= 22


def test_every_proof_rejects_some_mutant():
    every = {proof.name for slot in SLOTS for proof in proofs_of(slot)}
    assert every == set(MUTANTS.values())
