"""The proof that no axis is taken for another: each sample of each image alone gives the same terms."""

import torch
from torch import Tensor

from vaezoo.conformance.grid import figures_over
from vaezoo.conformance.modules import ALONE, off_by
from vaezoo.conformance.proof import PROOFS
from vaezoo.conformance.subject import Subject, keyed, rows
from vaezoo.conformance.verdict import must
from vaezoo.core.draws import Batch
from vaezoo.core.model import LatentModel

SIZES = ((3, 3, 3), (4, 2, 3), (2, 3, 3), (2, 4, 2), (2, 2, 4))
"""(Z, K, B): all equal, all different, and each pair equal. Quick mode takes the first two."""
SQUARE = (3, 3, 3)
"""A shape of images whose every axis is as long as K and B."""
TOLERANCE = 1e-9

Case = tuple[tuple[int, int, int], tuple[int, ...] | None]


@PROOFS.add("sizes alike", *(slot for slot in ALONE if slot != "variant"))
def sizes_alike(subject: Subject) -> str:
    """z, log p(x|z), log p(z), log q(z|x) and KL of sample k of image b are those of that sample and image alone, where
    K, B, Z and the images' axes are equal or different, within 1e-9.

    Nothing is random: false alarm 0.
    """
    cases: list[Case] = [(sizes, None) for sizes in (SIZES[:2] if subject.quick else SIZES)]
    cases.append((SIZES[0], SQUARE))

    worst = 0.0

    def one(case: Case) -> str:
        """The largest difference at these sizes: of each image alone, and of one of its samples alone."""
        nonlocal worst
        (dimensions, samples, count), shape = case
        model = subject.build(latent=dimensions, shape=shape, double=True)[0].eval()
        batch = subject.batch(model, count)
        with torch.no_grad():
            together = _terms(model, batch, samples, 0)
            for b in range(count):
                alone, k = rows(batch, slice(b, b + 1)), b % samples
                worst = max(worst, _compare(case, together, _terms(model, alone, samples, 0), slice(None), b))
                worst = max(worst, _compare(case, together, _terms(model, alone, 1, k), slice(k, k + 1), b))
        return ""

    return f"{worst:.0g} at {len(figures_over(cases, one))} sizes"


def _terms(model: LatentModel, batch: Batch, samples: int, first: int) -> dict[str, Tensor]:
    """Every term of samples first, first + 1, .. of a batch, with images on the last axis but one, or the last."""
    with keyed(0, model, batch, first=first):
        draws = model.draw(batch, samples)
        found = {"log p(x|z)": draws.log_likelihood, "log p(z)": draws.log_prior, "log q(z|x)": draws.log_posterior}
        again = draws.q.log_prob(draws.z)
        if again is not None:
            found["log_prob(z) of q"] = again
        found |= {f"z[{n}]": group.movedim(-1, 0) for n, group in enumerate(draws.z)}
        if draws.kl is not None:
            found |= {f"KL[{n}]": group.T for n, group in enumerate(draws.kl)}
    return found


def _compare(case: Case, together: dict[str, Tensor], alone: dict[str, Tensor], samples: slice, image: int) -> float:
    """The largest difference. Wrong where a term of some samples of one image differs from that of the image alone.

    The terms are [..., K, B], KL [Z, B]. The KL of fewer samples may be another: it can be a mean over them.
    """
    (dimensions, count, images), shape = case
    worst = 0.0
    for name, value in alone.items():
        if name.startswith("KL"):
            if samples != slice(None):
                continue
            expected = together[name][:, image : image + 1]
        else:
            expected = together[name][..., samples, image : image + 1]
        off = off_by(expected, value)
        where = f"Z = {dimensions}, K = {count}, B = {images}" + (f", images {list(shape)}" if shape else "")
        must(
            off <= TOLERANCE,
            f"{off:.2g}",
            f"{name} of image {image} with {where} differs by {off:.3g} from that of the image alone",
        )
        worst = max(worst, off)
    return worst
