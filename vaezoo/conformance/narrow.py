"""Proofs of log q(z|x) and log p(z) by their samples alone: E[h/q] = 1 for a narrow normalised h."""

import math

import torch
from torch import Tensor

from vaezoo.conformance.charts import Chart
from vaezoo.conformance.grid import over
from vaezoo.conformance.laws import in_each_volume, posterior_draws, sizes_of, small_model
from vaezoo.conformance.log_determinants import by_jacobian
from vaezoo.conformance.proof import PROOFS
from vaezoo.conformance.subject import Subject
from vaezoo.conformance.verdict import NotRun, Wrong, within_errors
from vaezoo.core.contracts import Latents, supports
from vaezoo.core.gaussian import DiagonalGaussian
from vaezoo.evaluation.pareto import largest, pareto_k, tail_size

CENTRES = 64
"""Samples, of whose more likely half one is the centre of h where h/q has heavy tails about the median."""
HEAVY = 0.5
"""The Pareto k of h/q from which its variance, and with it the standard error of its mean, is not to be trusted."""
NOISIEST = 0.05
"""The largest standard error of a mean of h/q that decides."""


@PROOFS.add("E[h/q] = 1", "posterior", "variant")
def narrow(subject: Subject) -> str:
    """E_q[h(z) / q(z|x)] = 1 for a narrow normalised h about a point of q, or h uniform over the discrete codes that q
    drew: holds for any q, also for one that scores only its own samples.

    h lies about the median of each coordinate, and where h/q then has heavy tails (Pareto k of 0.5 or more) about other
    points. At 5 standard errors of 3 images: false alarm 1e-5. Where q is so thin between its samples that none of them
    came to a part of h, the log-determinant of the samples decides.
    """

    def one(dimensions: int) -> str:
        """The proof in this many dimensions."""
        model, batch = small_model(subject, sizes_of(subject, dimensions))
        _, z, log_q = posterior_draws(model, batch, subject.count(200000))
        kinds = supports(model.posterior_net, len(z))
        images = range(z[0].shape[1])

        def each(hyperbolic: bool) -> str:
            """Of every image, with respect to one of the volumes."""
            for n in images:
                points, score = tuple(group[:, n] for group in z), log_q[:, :, n].sum(0)
                mean, error = mean_ratio(kinds, points, score, hyperbolic)
                within_errors(mean, 1.0, error, f"E_q[h/q] of image {n} in {dimensions}-D")
            return f"{mean:.4f}"

        try:
            return in_each_volume(kinds, each)
        except Wrong as wrong:
            try:
                exact = by_jacobian(subject, sizes_of(subject, dimensions))
            except (NotRun, Wrong):
                raise wrong from None
            raise NotRun(
                f"no sample came to a part of h; the log-determinant of the samples decides: {exact}"
            ) from None

    return over((1, 2), one)


def mean_ratio(kinds: tuple[str, ...], z: Latents, log_q: Tensor, hyperbolic: bool) -> tuple[float, float]:
    """The mean of h/q over samples of q, and its standard error, for the first h that has both; NotRun without one."""
    if all(kind == "discrete" for kind in kinds):
        codes = torch.cat(z, -1).unique(dim=0)
        return _mean_and_error(-log_q - math.log(len(codes)))
    chart = Chart(kinds, z, hyperbolic)
    points = chart.coordinates(z)
    log_q = log_q + chart.log_volume(points)
    quantiles = torch.tensor([0.16, 0.5, 0.84], dtype=points.dtype)
    lower, median, upper = torch.quantile(points, quantiles, dim=0)
    spread = (upper - lower).clamp(min=1e-6)
    likely = points[log_q[:CENTRES].argsort(descending=True)[: CENTRES // 2]]  # no rare point, beside which q is small
    nearest = likely[((likely - median) / spread).square().sum(-1).argsort()]
    error = k = math.inf
    for centre, width in ((median, 0.15), (nearest[0], 0.15), (nearest[0], 0.05), *((each, 0.05) for each in nearest)):
        log_ratio = DiagonalGaussian(centre, (width * spread).log()).log_density(points) - log_q
        mean, error = _mean_and_error(log_ratio)
        k = float(pareto_k(largest(log_ratio[:, None], tail_size(len(log_ratio)) + 1)))
        if k < HEAVY and error <= NOISIEST:
            return mean, error
    raise NotRun(f"too noisy to tell: +- {error:.2g}, Pareto k {k:.2g}")


def _mean_and_error(log_ratio: Tensor) -> tuple[float, float]:
    """The mean of a ratio and its standard error, of its logarithms [N]."""
    ratio = log_ratio.exp()
    return float(ratio.mean()), float(ratio.std() / math.sqrt(len(ratio)))
