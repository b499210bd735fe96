"""The metric `prior-mass-error`: the error of an estimated normaliser, and no number where there is no estimate."""

import torch
from measuring import evaluation, metric

import vaezoo
from vaezoo import Variant
from vaezoo.builder import build


def measured(prior):
    x = torch.rand(20, 1, 2, 3, generator=torch.Generator().manual_seed(0)).round()
    data = vaezoo.Dataset(x, x, x, measure="binary")
    model = build(Variant("t", prior=prior), data, latent=2, hidden=(6,))
    with torch.no_grad():
        for parameter in model.prior.parameters():
            parameter.add_(0.5)
    context = evaluation(data)
    return metric("prior-mass-error", model, data, context)["prior_mass_error"], context.notes, model


def test_the_error_of_an_estimated_normaliser_is_in_the_record():
    found, notes, model = measured(("resampled", {"width": 8, "proposals": 256}))
    assert found == float(model.eval().prior.log_mass_error()) > 0
    assert not notes


def test_a_prior_without_an_estimate_has_no_number():
    found, notes, _ = measured("normal")
    assert found is None
    assert "no estimate" in notes["prior_mass_error"]
