"""The same VAE in plain PyTorch: the training loops and the estimator one would write by hand, written well.

Pixels-hidden(ReLU)-latent and back, Bernoulli, N(0, I), closed-form KL, Adam 1e-3, batches of 128.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

BATCH, RATE = 128, 1e-3
CPU_BLOCK = 2**18
"""Numbers in a block's logits: 1 MB."""
GPU_BLOCK = 2**27


def dense(*sizes: int) -> nn.Sequential:
    """Linear layers between these sizes, with ReLU between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Net(nn.Module):
    """x [B, pixels] -> mean and log_std [B, latent] each; z [..., latent] -> logits [..., pixels]."""

    def __init__(self, pixels: int = 784, hidden: Sequence[int] = (400,), latent: int = 20):
        super().__init__()
        self.encoder = dense(pixels, *hidden, 2 * latent)
        self.decoder = dense(latent, *reversed(hidden), pixels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits at one draw of z for each image [B, pixels], and KL(q || p) summed over the batch."""
        mean, log_std = self.encoder(x).chunk(2, -1)
        std = log_std.exp()
        z = torch.addcmul(mean, std, torch.randn_like(std))
        return self.decoder(z), (0.5 * (mean.square() + std.square() - 1) - log_std).sum()


def loss_on_probabilities(net: Net, x: Tensor) -> Tensor:
    """The negative ELBO in nats an image, as the tutorials write it: BCE of sigmoid outputs."""
    logits, kl = net(x)
    return (F.binary_cross_entropy(logits.sigmoid(), x, reduction="sum") + kl) / len(x)


def loss_on_logits(net: Net, x: Tensor) -> Tensor:
    """The same on logits, where nothing is clamped and one pass over the pixels is saved."""
    logits, kl = net(x)
    return (F.binary_cross_entropy_with_logits(logits, x, reduction="sum") + kl) / len(x)


class Loop:
    """A training loop that loads its batches with a DataLoader over a TensorDataset: the tutorials'."""

    loss = staticmethod(loss_on_probabilities)
    fused = None

    def __init__(self, net: Net, x: Tensor):
        self.net, self.x, self.device = net, x, x.device
        self.optimizer = torch.optim.Adam(net.parameters(), lr=RATE, fused=self.fused)
        pinned = self.device.type == "cuda"
        self.loader = DataLoader(TensorDataset(x.cpu()), BATCH, shuffle=True, drop_last=True, pin_memory=pinned)

    def batches(self) -> Iterator[Tensor]:
        """The batches of an epoch, in a new order."""
        for (x,) in self.loader:
            yield x.to(self.device, non_blocking=True)

    def epoch(self) -> float:
        """Train for one epoch; the mean ELBO in nats an image. The device is waited for once, at the end."""
        total, steps = torch.zeros((), device=self.device), 0
        for x in self.batches():
            self.optimizer.zero_grad()
            loss = self.loss(self.net, x)
            loss.backward()
            self.optimizer.step()
            total -= loss.detach()
            steps += 1
        return float(total) / steps


class Resident(Loop):
    """The same with the images in the device's memory, gathered by `index_select`, which is quicker than x[index]."""

    def batches(self) -> Iterator[Tensor]:
        for index in torch.randperm(len(self.x), device=self.device).split(BATCH):
            if len(index) == BATCH:
                yield self.x.index_select(0, index)


class Fast(Resident):
    """The same with BCE on logits and the fused Adam."""

    loss = staticmethod(loss_on_logits)
    fused = True


class Flushed(Fast):
    """The same where denormal numbers count as 0, which few loops do: the moments of Adam decay to them."""

    def epoch(self) -> float:
        torch.set_flush_denormal(True)
        try:
            return super().epoch()
        finally:
            torch.set_flush_denormal(False)


@torch.no_grad()
def log_likelihood(net: Net, x: Tensor, samples: int) -> Tensor:
    """log (1/K) sum_k w_k of each image in nats. [N, pixels] -> [N]

    The encoder runs once, and a block holds samples of all images.
    """
    mean, log_std = net.encoder(x).chunk(2, -1)
    std, log_std = log_std.exp(), log_std.sum(-1)
    block = max(1, (CPU_BLOCK if x.device.type == "cpu" else GPU_BLOCK) // x.numel())
    parts = []
    for first in range(0, samples, block):
        eps = torch.randn(min(block, samples - first), *mean.shape, device=x.device)
        z = torch.addcmul(mean, std, eps)
        logits = net.decoder(z)
        log_joint = -F.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none").sum(-1)
        parts.append(log_joint + 0.5 * (eps.square().sum(-1) - z.square().sum(-1)) + log_std)
    return torch.cat(parts).logsumexp(0) - math.log(samples)
