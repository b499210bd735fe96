"""Why a proof of a right plugin may not run: with anything else it has to pass."""

from vaezoo.conformance.verdict import NOT_RUN, PASS, Finding

UNABLE = {
    "closed-form KL": "it has none",
    "scores its own samples": "only its own",
    "posterior on a grid": "only its own",
    "each group scored": ("it takes one latent group", "only its own"),
    "splits of any seed": "draws the images",
    "log-determinant": (
        "other than normal numbers",
        "not all of R^Z",
        "seems to come from 8 values",
        "are no function of",
    ),
    "density in 20 dimensions": ("only its own", "its codes are too many"),
    "decoder normalised": "does not ask for x",
    "pixels in order": "does not ask for x",
    "samples as density": "it has no sample",
    "uncoupled": "it declares",
    "value as claimed": ("it makes no claim", "it declares surrogate"),
    "gradient as claimed": "it makes no claim",
    "below log p(x)": "it does not declare",
    "true likelihood": "is not known",
    "in a fresh process": "not in quick mode",
    "levels as declared": "it declares no levels",
    "update(draws)": "no part has update",
    "refit(images)": "no part has refit",
    "log q far out": ("other than normal numbers", "are no function of"),
}
"""Proof -> a part of its reason, or several of them."""


def is_pass_or_unable(found: Finding) -> bool:
    """Whether a proof passed, or was not run for one of these reasons."""
    reasons = UNABLE.get(found.proof, ())
    told = any(reason in found.detail for reason in ([reasons] if isinstance(reasons, str) else reasons))
    return found.verdict == PASS or (found.verdict == NOT_RUN and told)
