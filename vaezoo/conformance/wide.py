"""Proofs of p(z) and q(z|x) in 20 dimensions, where no grid reaches: too much mass far out, and near the samples."""

from contextlib import suppress

from vaezoo.conformance.codes import UNSEEN, Codes, Coins
from vaezoo.conformance.fitted import Fitted
from vaezoo.conformance.grid import over
from vaezoo.conformance.laws import Law, in_each_volume, posterior_draws, posterior_law, prior_law, small_model
from vaezoo.conformance.log_determinants import by_jacobian, wide_latents
from vaezoo.conformance.overlap import Drawable, overlap
from vaezoo.conformance.places import spread
from vaezoo.conformance.proof import PROOFS
from vaezoo.conformance.subject import Subject, rows
from vaezoo.conformance.verdict import NotRun, must
from vaezoo.core.contracts import supports
from vaezoo.evaluation.prior_mass import LIMIT, log_mass

SAMPLES = 24000
"""Samples of a law: half of them fit h."""
ROUNDED, UNMOVED = 500, 1e-3
"""Samples whose last digits are changed, and the nats by which their density may move."""
APART = 3.0
"""The factor of all weights at which the components of a prior lie apart."""


@PROOFS.add("mass far out", "prior")
def mass_far_out(subject: Subject) -> str:
    """log of the mean of p(z) / N(z; 0, s^2 I) over z ~ N(0, s^2 I), s = 1 to 1000, in 20 dimensions, is at most
    ln 1000.

    A density with a floor exceeds it. By Markov's inequality: false alarm at most 1e-3 for each s.
    """

    def one(latents: tuple[int, ...]) -> str:
        """In groups of these sizes."""
        model = subject.build(latent=latents, double=True, altered=True)[0].eval()
        found = log_mass(model, rows(subject.batch(model), slice(0, 1)))
        scale, worst = max(found.items(), key=lambda item: item[1])
        detail = f"the log mass under N(0, {scale:g}^2 I) must be at most {LIMIT:.2f}, found {worst:.4g}"
        return must(worst <= LIMIT, f"{worst:.3g}", detail)

    return over(wide_latents(subject), one)


@PROOFS.add("density in 20 dimensions", "prior", "posterior")
def wide_density(subject: Subject) -> str:
    """E_h[f p/(p + h)] = E_p[f h/(p + h)] for a mixture h fitted to half of the samples, and f = 1, tanh of each
    coordinate and random waves, in 20 dimensions: p has mass 1 and its samples follow it.

    A prior is compared near its start and, where enough overlaps, with all weights times 3, so that its components lie
    apart. At 5 standard errors of 41 means each: false alarm 1e-4. Both sides are means of bounded numbers, also where
    p or h has heavy tails. Where p and h overlap too little to tell p's mass within 6 %, the log-determinant of the
    samples decides, or nothing does.
    """
    prior = subject.plugin.slot == "prior"

    def one(latents: tuple[int, ...]) -> str:
        """In groups of these sizes."""
        model, batch = small_model(subject, latents)
        kinds, count = supports(model.prior, len(latents)), subject.count(SAMPLES)
        drawn = None if prior else posterior_draws(model, rows(batch, slice(0, 1)), count)

        def compared(hyperbolic: bool) -> str:
            """With respect to one of the volumes."""
            if drawn is None:
                return _of_law(prior_law(model, batch, count, hyperbolic=hyperbolic))
            return _of_law(posterior_law(model, batch, 0, drawn[1], drawn[2], hyperbolic))

        try:
            figure = in_each_volume(kinds, compared)
        except NotRun as undecided:
            try:
                figure = f"log-determinant {by_jacobian(subject, latents)}"
            except NotRun:
                raise undecided from None
        if prior:
            spread(model, APART)
            with suppress(NotRun):
                in_each_volume(kinds, compared)
        return figure

    return over(wide_latents(subject), one)


def _of_law(law: Law) -> str:
    """The figure of the comparison of a law with a density that is fitted to half of its samples. NotRun where the
    rounding of its samples moves their density, as that of a map that is nearly flat.
    """
    half = len(law.samples) // 2
    if not law.discrete:
        some = law.samples[:ROUNDED]
        moved = law.density(some * (1 + 1e-14)) - law.density(some)
        if not float(moved.abs().mean()) < UNMOVED:
            raise NotRun("rounding hides its density")
    h: Drawable
    if law.discrete:
        codes = Codes(law.density, law.samples)
        if codes.unseen <= UNSEEN:
            return f"{codes.total('the sum over the codes')}, {codes.same_frequencies()}"
        h = Coins(law.samples[:half])
    else:
        h = Fitted(law.samples[:half])
    return overlap(law.density, law.samples[half:], h)
