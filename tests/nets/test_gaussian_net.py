"""The network whose output is a diagonal Gaussian: its layers, and the bound of its log standard deviations."""

import pytest
import torch

from vaezoo.core.gaussian import bounded_log_std
from vaezoo.nets import GaussianNet


@pytest.mark.parametrize("widths", [(), (5,), (5, 4)], ids=str)
def test_its_heads_follow_layers_of_any_widths(widths):
    net, h = GaussianNet(3, widths, 2, activation="tanh").double(), torch.randn(6, 7, 3, dtype=torch.float64)
    layers = [layer for layer in net.modules() if isinstance(layer, torch.nn.Linear)]
    assert [layer.out_features for layer in layers] == [*widths, 4]
    x = h
    for layer in layers[:-1]:
        x = (x @ layer.weight.T + layer.bias).tanh()
    mean, log_std = (x @ layers[-1].weight.T + layers[-1].bias).chunk(2, -1)
    found = net(h)
    torch.testing.assert_close(found.mean, mean)
    torch.testing.assert_close(found.log_std, log_std)


def test_its_log_std_is_bounded_as_that_of_every_gaussian():
    net, h = GaussianNet(3, (), 2).double(), 1e6 * torch.randn(50, 3, dtype=torch.float64)
    found, raw = net(h), net.net(h).chunk(2, -1)[1]
    assert torch.equal(found.log_std, bounded_log_std(raw))
    assert float(raw.detach().abs().max()) > 1e5
    assert float(found.log_std.detach().abs().max()) < 8
