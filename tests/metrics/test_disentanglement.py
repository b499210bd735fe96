"""Scores of disentanglement: near 0 on random codes, near 1 on the factors, and known in between."""

import math

import numpy as np
import pytest
import torch

import vaezoo
from vaezoo.evaluation.evaluation import Evaluation
from vaezoo.metrics._factors import CodesAndFactors, numbered
from vaezoo.metrics.dci import certainty, dci, dci_scores
from vaezoo.metrics.factor_vae_score import factor_vae_accuracy, factor_vae_score
from vaezoo.metrics.mig import information, mig, mig_score
from vaezoo.metrics.sap import sap, sap_score

SIZES = (3, 6, 20, 16, 16)
METRICS = (mig, sap, dci, factor_vae_score)


def factors(count=2000):
    generator = np.random.default_rng(0)
    return np.stack([generator.integers(size, size=count) for size in SIZES], -1)


def noise(count=2000, codes=5):
    return np.random.default_rng(1).normal(size=(count, codes))


def scores(codes, given):
    """Every score by name, the one of FactorVAE over chance."""
    both, kinds = CodesAndFactors(codes, given), given.shape[1]
    accuracy = factor_vae_accuracy(both, fitted=200, tested=200, images=64, threshold=0.01, seed=0)
    found = vars(dci_scores(both, 3, 5, 0))
    return {
        "mig": mig_score(both, 20),
        "sap": sap_score(both, 10, 0),
        "factor_vae_score": (accuracy - 1 / kinds) / (1 - 1 / kinds),
        **found,
    }


def test_the_factors_themselves_score_near_1():
    """In another order, of any sign and scale, with noise beside them."""
    codes = np.concatenate([factors()[:, ::-1] * np.array([1, -2, 0.5, 3, -1]), noise(codes=2)], 1)
    found = scores(codes, factors())
    assert min(found.values()) > 0.95, found
    assert max(found.values()) <= 1 + 1e-9


def test_random_codes_score_near_0():
    found = scores(noise(), factors())
    assert all(abs(value) < 0.08 for value in found.values()), found


def test_codes_that_are_all_the_same_score_0():
    found = scores(np.zeros((300, 4)), factors(300))
    assert max(map(abs, found.values())) < 1e-9


def test_a_factor_with_two_codes_has_no_gap_but_serves_one_factor_each():
    twice = np.concatenate([factors(), factors()], 1).astype(float)
    both = CodesAndFactors(twice, factors())
    assert mig_score(both, 20) == 0
    assert sap_score(both, 10, 0) == 0
    found = dci_scores(both, 3, 5, 0)
    assert found.disentanglement > 0.95
    assert found.completeness > 1 - math.log(2) / math.log(10) - 0.05


def test_rotated_factors_are_informative_and_not_disentangled():
    first, second = (factors()[:, k] / 16 for k in (3, 4))
    mixed = np.stack([first + second, first - second], -1)
    given = factors()[:, 3:]
    found = scores(mixed, given)
    assert found["mig"] < 0.05
    assert found["sap"] < 0.05
    assert found["disentanglement"] < 0.1
    assert found["informativeness"] > 0.5


def test_the_information_is_the_entropy_where_a_code_is_the_factor():
    given = np.repeat(np.arange(4), 25)[:, None]
    shares = information(np.concatenate([given, given // 2, 0 * given], 1).astype(float), given, 20)
    np.testing.assert_allclose(shares[:, 0], [1, 0.5, 0], atol=1e-12)


def test_certainty_is_1_for_one_and_0_for_all_alike():
    np.testing.assert_allclose(certainty(np.array([[1.0, 0, 0], [2, 2, 2], [0, 0, 0]]), 1), [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(certainty(np.array([[1.0, 1.0, 0, 0]]), 1), [0.5])


def test_factors_are_numbered_and_those_of_one_value_left_out():
    labels = np.array([[5, 1, -3], [9, 1, 7], [5, 1, -3]])
    assert numbered(labels).tolist() == [[0, 0], [1, 1], [0, 0]]


def test_the_majority_vote_by_hand():
    """Code 0 is factor 0 and code 1 noise: the vote tells factor 0 always, and calls all others factor 1."""
    given = np.stack([np.arange(400) % 2, np.random.default_rng(0).integers(2, size=400)], -1)
    codes = np.stack([given[:, 0], 10.0 + given[:, 1]], -1)
    codes[:, 0] += 0.01 * np.random.default_rng(1).normal(size=400)
    both = CodesAndFactors(codes, given)
    assert factor_vae_accuracy(both, fitted=50, tested=50, images=32, threshold=0.01, seed=0) == 1
    assert factor_vae_accuracy(both, fitted=50, tested=50, images=32, threshold=1e3, seed=0) == 0.5


@pytest.fixture(scope="module")
def sprites():
    return vaezoo.load_dataset("sprites", options={"images": 100})


def test_a_model_of_a_set_with_factors_has_every_score(sprites):
    model = vaezoo.build("vae", sprites, latent=3, hidden=(8,))
    context = Evaluation(5, 0, sprites, torch.arange(200))
    for metric in METRICS:
        found = metric(model, sprites.test.x[:200], context)
        assert all(isinstance(value, float) and math.isfinite(value) for value in found.values())
        assert found == metric(model, sprites.test.x[:200], context)
    assert not context.notes


@pytest.mark.parametrize("metric", METRICS)
def test_a_set_without_factors_has_no_score_and_says_why(metric):
    data = vaezoo.load_dataset("digits-binary")
    context = Evaluation(5, 0, data, torch.arange(20))
    found = metric(vaezoo.build("vae", data, latent=3, hidden=(8,)), data.test.x[:20], context)
    assert set(found.values()) == {None}
    assert context.notes.keys() == found.keys()
    assert all("no factors, which are labels [N, F]" in note for note in context.notes.values())


def test_a_vote_among_one_factor_is_no_number(sprites):
    one = vaezoo.Dataset(
        *((split.x, split.y[:, :1]) for split in (sprites.train, sprites.valid, sprites.test)), "binary"
    )
    context = Evaluation(5, 0, one, torch.arange(200))
    found = factor_vae_score(vaezoo.build("vae", one, latent=3, hidden=(8,)), one.test.x[:200], context)
    assert set(found.values()) == {None}
    assert "two or more" in context.notes["factor_vae_score"]
