"""The standard normal prior."""

import torch
from small_prior import model_with

from vaezoo import DiagonalGaussian
from vaezoo.core.draws import Batch


def test_the_kl_of_the_standard_normal_from_itself_is_0():
    model = model_with("normal", 3)
    q = DiagonalGaussian(torch.zeros(5, 3), torch.zeros(5, 3))
    (group,) = model.kl(Batch(torch.zeros(5, 1, 2, 3)), q, (q.mean[None],))
    assert not group.any()
