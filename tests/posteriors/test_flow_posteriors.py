"""The posteriors made of flows: the Gaussian under an identity map, the laws that they are, their scores."""

import math

import pytest
import torch
from amortised import BINARY, drawn, model_with

from vaezoo import VaezooError
from vaezoo.api import plan_of

POSTERIORS = {
    "planar": ("planar", {"flows": 3}),
    "householder": ("householder", {"reflections": 3}),
    "orthogonal-sylvester": ("sylvester", {"flows": 2}),
    "narrow-sylvester": ("sylvester", {"flows": 2, "columns": 1}),
    "householder-sylvester": ("sylvester", {"flows": 2, "kind": "householder", "reflections": 2}),
    "triangular-sylvester": ("sylvester", {"flows": 2, "kind": "triangular"}),
    "iaf": ("iaf", {"flows": 2, "width": 8}),
    "spline": ("spline", {"couplings": 2, "width": 8}),
}
every = pytest.mark.parametrize("name", POSTERIORS)
SCORED = {"householder", "iaf", "spline"}


def made(name, latent=3, moved=True):
    posterior, options = POSTERIORS[name]
    return model_with(posterior, latent, moved, **options)


def with_an_identity_map(name, latent):
    """The posterior whose flows are the identity, by their parameters."""
    if name == "householder":
        model = model_with("householder", latent, reflections=2)
        first, second = model.posterior_net.flow.parts
        second.load_state_dict(first.state_dict())
        return model
    model = made(name, latent, moved=False)
    with torch.no_grad():
        for flow in () if name in SCORED else model.posterior_net.flow.parts:
            for parameter in flow.parameters_of.parameters():
                parameter.zero_()
            if name == "planar":  # u = 0 where w . v = log(e - 1), for which softplus is 1
                flow.parameters_of.own[0] = 1
                flow.parameters_of.own[latent] = math.log(math.e - 1)
    return model


@every
@pytest.mark.parametrize("latent", [1, 2, 5])
def test_it_is_the_gaussian_where_its_maps_are_the_identity(name, latent):
    gaussian, flow = drawn(model_with("gaussian", latent)), drawn(with_an_identity_map(name, latent))
    torch.testing.assert_close(flow.z[0], gaussian.z[0])
    torch.testing.assert_close(flow.log_posterior, gaussian.log_posterior)
    assert flow.q.gaussian is None


@every
@pytest.mark.parametrize("latent", [1, 3])
def test_it_scores_given_points_as_its_own_samples_or_not_at_all(name, latent):
    model = made(name, latent)
    draws = drawn(model)
    scores = draws.q.log_prob(draws.z)
    if name in SCORED:
        torch.testing.assert_close(scores, draws.log_posterior)
    else:
        assert scores is None


@every
def test_each_image_has_a_map_of_its_own(name):
    q = made(name).encode(BINARY[:2])
    point = torch.ones(3, dtype=torch.float64)
    first, second = q.flow(point, q.context)[0]
    assert not torch.allclose(first, second, atol=1e-3)


def test_householder_is_a_gaussian_with_a_full_covariance():
    draws = drawn(made("householder"))
    q = draws.q
    for n in range(6):
        h = q.flow(torch.eye(3, dtype=torch.float64), q.context[n])[0].T
        torch.testing.assert_close(h @ h.T, torch.eye(3, dtype=torch.float64))
        covariance = h @ q.base.std[n].square().diag() @ h.T
        law = torch.distributions.MultivariateNormal(h @ q.base.mean[n], covariance)
        torch.testing.assert_close(draws.log_posterior[0, :, n], law.log_prob(draws.z[0][:, n]))
        assert covariance[0, 1].abs() > 1e-3


def test_wrong_hyper_parameters_are_answered_in_one_line():
    for posterior, options, message in [
        ("planar", {"flows": 0}, "the number of flows must be 1 or more, got 0"),
        ("iaf", {"flows": 0}, "the number of flows must be 1 or more, got 0"),
        ("sylvester", {"kind": "orthogonl"}, "did you mean 'orthogonal'"),
        ("sylvester", {"columns": 9}, "columns from 1 to latent = 3, got 9"),
        ("sylvester", {"kind": "triangular", "columns": 2}, "columns are those of the kind 'orthogonal'; leave them"),
        ("sylvester", {"reflections": 2}, "reflections are those of the kind 'householder'; leave them out"),
    ]:
        with pytest.raises(VaezooError, match=message):
            model_with(posterior, **options)


def test_dreg_is_a_skipped_row_with_its_reason_where_given_points_have_no_score():
    rows = [{"name": "vae-dreg", "label": name, "posterior": POSTERIORS[name][0]} for name in ("planar", "iaf")]
    rows += [
        {"name": "vae-dreg", "label": kind, "posterior": {"name": "sylvester", "kind": kind}}
        for kind in ("orthogonal", "householder", "triangular")
    ]
    top = {"datasets": ["digits-binary"], "model": {"latent": 2, "hidden": [4]}}
    plan, _ = plan_of({**top, "variants": rows}, device="cpu")
    reasons = {cell.label: cell.skip for cell in plan.cells}
    assert reasons.pop("iaf") is None
    for reason in reasons.values():
        assert "can score only its own samples; use a posterior whose q has log_prob(z)" in reason
