"""The estimator of log p(x), the only one: importance sampling, streamed over blocks of images and samples."""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vaezoo.core import denormals, heartbeat, noise
from vaezoo.core.errors import VaezooWarning
from vaezoo.core.fixed_weights import weights_fixed
from vaezoo.core.model import Images, LatentModel
from vaezoo.evaluation import blocks
from vaezoo.evaluation.given import checked
from vaezoo.evaluation.pareto import RELIABLE, fitted_tail, largest, tail_size

FEWEST = 100
"""An estimate with fewer samples is a quick look (validation during training) and gives no warning."""
FOLDED = 512
"""How many samples are summed at once: enough that the sums cost little compared with the samples."""
FEW_IMAGES = 0.05
"""The share of images whose Pareto k may be above 0.7 without a warning: a good posterior has some by chance."""
NEGLIGIBLE = 1e-3
"""A rise in nats that is too small for any table."""
CLEAR = 3.0
"""A rise counts where it is more than this many of its standard errors."""


@dataclass(frozen=True)
class Estimate:
    """The estimates of N images from K importance samples each, in nats. All [N], on the CPU, float64.

    estimate: log (1/K) sum_k w_k, a lower bound of log p(x) in expectation. standard_error: its Monte-Carlo standard
    error (delta method, where the largest weights count with the second moment of their fitted tail if that is larger
    than their own). effective_samples: (sum w)^2 / sum w^2, between 1 and K. elbo: mean log w_k. reconstruction:
    mean log p(x|z_k). pareto_k: k-hat, the shape of the weights' tail (`vaezoo.evaluation.pareto`), NaN for K below
    225. at: samples -> the estimate from the first K/4, K/2 and K samples. The bias falls as 1/K, so where the estimate
    still rises, the remaining bias is about as large as the last rise.
    """

    estimate: Tensor
    standard_error: Tensor
    effective_samples: Tensor
    elbo: Tensor
    reconstruction: Tensor
    pareto_k: Tensor
    importance_samples: int
    at: dict[int, Tensor] = field(default_factory=dict)

    @property
    def kl(self) -> Tensor:
        """E_q[log q(z|x) - log p(z)], which is reconstruction - elbo. [N]"""
        return self.reconstruction - self.elbo

    @property
    def lower_bound(self) -> Tensor:
        """Whether pareto_k is above 0.7: the weights that matter most were hardly sampled, so the estimate is most
        often too low and its standard error too small. bool [N]
        """
        return self.pareto_k > RELIABLE

    @property
    def pareto_k_95(self) -> float:
        """The k-hat that 95 % of the images do not exceed: above 0.7 where more than 5 % of them are lower bounds."""
        return float(self.pareto_k.sort(descending=True).values[int(FEW_IMAGES * len(self.pareto_k))])


def _stages(samples: int) -> list[int]:
    """K/4, K/2 and K: those that are 1 or more, each once."""
    return sorted({stage for stage in (samples // 4, samples // 2, samples) if stage})


class _Running:
    """Sums over the samples of B images: log-sum-exp about a running maximum, in float64; and the largest log weights.

    Blocks are collected until FOLDED samples can be summed in a few operations. at: samples -> [2, B], the estimate and
    its standard error at each stage.
    """

    def __init__(self, images: int, device: torch.device, samples: int):
        self.maximum = torch.full((images,), -math.inf, dtype=torch.float64, device=device)
        self.sums = torch.zeros(4, images, dtype=torch.float64, device=device)  # w, w^2, log w, log p(x|z)
        self.samples, self.stages = 0, _stages(samples)
        self._kept, self._tail = tail_size(samples) + 1, torch.empty(0, images, dtype=torch.float64, device=device)
        self.at: dict[int, Tensor] = {}
        self._waiting: list[tuple[Tensor, Tensor]] = []
        self._waiting_samples = 0

    def add(self, log_weight: Tensor, log_likelihood: Tensor) -> None:
        """Add one block of samples. [K, B] each"""
        self._waiting.append((log_weight, log_likelihood))
        self._waiting_samples += log_weight.shape[0]
        if self._waiting_samples >= FOLDED:
            self._fold()

    def _fold(self) -> None:
        """Sum the collected blocks, split at each stage within them."""
        if not self._waiting:
            return
        log_weight, log_likelihood = (torch.cat(each).double() for each in zip(*self._waiting, strict=True))
        self._waiting, self._waiting_samples = [], 0
        self._tail = largest(torch.cat([self._tail, log_weight]), self._kept)
        end = self.samples + len(log_weight)
        ends = [stage for stage in self.stages if self.samples < stage < end] + [end]
        sizes = [last - first for first, last in zip([self.samples, *ends], ends, strict=False)]
        for part in zip(log_weight.split(sizes), log_likelihood.split(sizes), strict=True):
            self._add(*part)
            if self.samples in self.stages:
                self.at[self.samples] = self._values()[:2]

    def _add(self, log_weight: Tensor, log_likelihood: Tensor) -> None:
        maximum = torch.maximum(self.maximum, log_weight.amax(0))
        centre = torch.where(maximum.isfinite(), maximum, 0.0)
        shrink = torch.where(self.maximum.isfinite(), (self.maximum - centre).exp(), 0.0)
        weight = (log_weight - centre).exp()
        self.sums[0] = self.sums[0] * shrink + weight.sum(0)
        self.sums[1] = self.sums[1] * shrink.square() + weight.square().sum(0)
        self.sums[2] += log_weight.sum(0)
        self.sums[3] += log_likelihood.sum(0)
        self.maximum = maximum
        self.samples += len(log_weight)

    def _values(self, more: Tensor | float = 0.0) -> Tensor:
        """[5, B]: estimate, standard error, effective samples, elbo, reconstruction.

        more: what the standard error adds to the sum of w^2, in units of the largest weight squared.
        """
        samples = self.samples
        total, squares, log_weight, log_likelihood = self.sums
        effective = total.square() / squares
        spread = (1 / (total.square() / (squares + more)) - 1 / samples).clamp(min=0) * samples / max(samples - 1, 1)
        error = spread.sqrt() if samples > 1 else torch.full_like(spread, math.nan)
        estimate = self.maximum + total.log() - math.log(samples)
        return torch.stack([estimate, error, effective, log_weight / samples, log_likelihood / samples])

    def values(self) -> Tensor:
        """[6 + 2 for each stage, B]: estimate, standard error, effective samples, elbo, reconstruction, Pareto k, and
        the first two again at each stage.
        """
        self._fold()
        k, more = fitted_tail(self._tail)
        return torch.cat([self._values(more), k[None], *self.at.values()])


@contextmanager
def evaluating(model: LatentModel) -> Iterator[None]:
    """Eval mode and no gradients. Not inference mode, under which a pass could not take functional gradients."""
    was = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was)


def log_likelihood(
    model: LatentModel,
    x: Images,
    importance_samples: int = 5000,
    seed: int = 0,
    context: Images | None = None,
    index: Images | None = None,
) -> Estimate:
    """Importance-weighted log-likelihood log (1/K) sum_k w_k of each image, in nats, with exactly K samples of each.

    x: [N, *shape], as stored or as floats. context: [N, C], where the model is conditional. index: [N], the images'
    numbers in their split (0..N-1 when left out). The noise is keyed by (seed, image, sample), so neither the block
    size nor the order of the images changes a value beyond rounding. The encoder runs once for each image, also for the
    images that a prior encodes (`vaezoo.core.fixed_weights`). A large job finds the fastest block of samples while it
    runs its first blocks (`vaezoo.evaluation.blocks`). Where a block does not fit the memory, it is repeated with fewer
    samples, then with fewer images, which run through the encoder again.
    At K = 1 the estimate equals the single-sample ELBO. Burda et al. (2016), arXiv:1509.00519.

    Warns (VaezooWarning) where Pareto k is above 0.7 for more than 5 % of the images, and, from K = 100, where the mean
    over the images rises from K/4 to K/2 and again from K/2 to K, each time by more than 0.001 nats and three standard
    errors of that rise. The samples are the same, so the rises are paired: to first order a rise has the
    Monte-Carlo variance of the estimate it rises to; the spread of the rises over the images is used where it is
    larger. The two rises are uncorrelated, so without bias about two estimates in a million warn.

    Raises VaezooError for what `vaezoo.evaluation.given` refuses (values that are none of the measure's, NaN weights,
    and so on), and the allocator's error where not even one sample of one image fits the memory.
    """
    x, context, index = checked(model, x, importance_samples, seed, context, index)
    found, errors = _estimate(model, x, importance_samples, seed, context, index)
    if importance_samples >= FEWEST and (doubts := _doubts(found, errors)):
        warnings.warn(doubts, VaezooWarning, stacklevel=2)
    return found


def quick_look(model: LatentModel, x: Tensor, importance_samples: int, context: Tensor | None) -> Estimate:
    """`log_likelihood` of images that a data set holds, without checks and warnings: NaN weights give NaN."""
    return _estimate(model, x, importance_samples, 0, context, torch.arange(len(x)))[0]


def _estimate(
    model: LatentModel, x: Tensor, importance_samples: int, seed: int, context: Tensor | None, index: Tensor
) -> tuple[Estimate, dict[int, Tensor]]:
    """`log_likelihood` after its checks, and the standard errors at each stage."""
    values: list[Tensor] = []
    start, images = 0, blocks.images_a_block(model.device, importance_samples)
    with evaluating(model), weights_fixed(model), denormals.flushing():
        while start < len(x):
            heartbeat.beat()
            rows = slice(start, start + images)
            chosen = None if context is None else context[rows].to(model.device)
            size = blocks.BlockSize(model, len(x[rows]), importance_samples, len(x) - start)
            try:
                values.append(
                    _images(model, x[rows], chosen, index[rows].to(model.device), importance_samples, seed, size).cpu()
                )
                start += images
            except (RuntimeError, MemoryError) as raised:
                if len(x[rows]) == 1 or not blocks.out_of_memory(raised):
                    raise
                images = len(x[rows]) // 2
    main, staged = torch.cat(values, 1).split([6, 2 * len(_stages(importance_samples))])
    at = dict(zip(_stages(importance_samples), staged.unflatten(0, (-1, 2)), strict=True))
    estimate, error, effective, elbo, reconstruction, tail = main
    means = {samples: both[0] for samples, both in at.items()}
    found = Estimate(estimate, error, effective, elbo, reconstruction, tail, importance_samples, means)
    return found, {samples: both[1] for samples, both in at.items()}


def _doubts(found: Estimate, errors: dict[int, Tensor]) -> str | None:
    """Why the estimate cannot be trusted, and what to do, in one line; None where it can."""
    images, samples, doubts = len(found.estimate), found.importance_samples, []
    high = found.pareto_k[found.lower_bound]
    if found.pareto_k_95 > RELIABLE:
        doubts.append(
            f"Pareto k is above {RELIABLE} at K = {samples:,} for {len(high):,} of {images:,} images (largest "
            f"{float(high.max()):.2f}), so their estimates are lower bounds and their standard errors too small"
        )
    quarter, half, whole = _stages(samples)
    rises = [_rise(found.at[few], found.at[many], errors[many]) for few, many in ((quarter, half), (half, whole))]
    if all(rise > max(CLEAR * error, NEGLIGIBLE) for rise, error in rises):
        (first, _), (second, error) = rises
        doubts.append(
            f"the mean over {images:,} images still rises with K, by {first:.3f} nats from {quarter:,} to {half:,} and "
            f"by {second:.3f} (standard error {error:.3f}) to {whole:,}, so log p(x) lies higher"
        )
    if not doubts:
        return None
    return (
        f"log_likelihood: {'; '.join(doubts)}; take more importance samples or a better posterior, or compare with ais"
    )


def _rise(few: Tensor, many: Tensor, error: Tensor) -> tuple[float, float]:
    """The mean over the images of many - few, and its standard error (NaN where no image has finite values)."""
    rise = many - few
    rise, error = rise[rise.isfinite()], error[rise.isfinite()]
    own = float(error.square().sum().sqrt()) / max(len(rise), 1)
    over_images = float(rise.std()) / math.sqrt(len(rise)) if len(rise) > 1 else 0.0
    return float(rise.mean()), max(own, over_images)


def _images(
    model: LatentModel,
    x: Tensor,
    context: Tensor | None,
    index: Tensor,
    importance_samples: int,
    seed: int,
    size: blocks.BlockSize,
) -> Tensor:
    """`_Running.values` of B images. A block of samples that does not fit the memory is repeated in halves."""
    batch = model.batch(x, context, index)
    with noise.stream(noise.derive(seed, "posterior"), index=index, dtype=model.dtype):
        q = model.posterior(batch)
    running = _Running(x.shape[0], model.device, importance_samples)
    key = noise.derive(seed, "samples")
    first = 0
    while first < importance_samples:
        heartbeat.beat()
        samples = min(size.samples, importance_samples - first)
        try:
            with size.timed(), noise.stream(key, index=index, first=first, dtype=model.dtype):
                draws = model.draw_from(q, batch, samples)
                draws.decoded = size.decoded
                terms = draws.log_weight, draws.log_likelihood
        except (RuntimeError, MemoryError) as error:
            if samples == 1 or not blocks.out_of_memory(error):
                raise
            size.halve(samples)
            continue
        running.add(*terms)
        first += samples
    return running.values()
