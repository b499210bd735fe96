"""Proofs of what a plugin declares: its name, the types of its hyper-parameters, the images that it takes."""

import re
from inspect import Parameter

import torch

from vaezoo.conformance.modules import terms
from vaezoo.conformance.proof import PROOFS
from vaezoo.conformance.subject import CONTEXT, SHAPES, Subject
from vaezoo.conformance.verdict import NotRun, Wrong, must
from vaezoo.core.errors import VaezooError
from vaezoo.core.options import checked_type
from vaezoo.registry import SLOTS

NAME = r"[a-z0-9]+(-[a-z0-9]+)*"


@PROOFS.add("declaration", *SLOTS)
def declaration(subject: Subject) -> str:
    """Its name is lower-case words with hyphens; every hyper-parameter has a type, and its default is of that type."""
    name, hyperparameters = subject.plugin.name, subject.plugin.hyperparameters
    must(re.fullmatch(NAME, name) is not None, name, f"the name {name!r} must be lower-case words with hyphens")
    for title, parameter in hyperparameters.items():
        typed = parameter.annotation is not Parameter.empty
        must(typed, title, f"hyper-parameter {title!r} has no type, so that a matrix file's value cannot be checked")
        if parameter.default is not Parameter.empty:
            try:
                checked_type(f"the default of {title!r}", parameter.default, parameter.annotation)
            except VaezooError as error:
                raise Wrong(title, str(error)) from None
    return f"{len(hyperparameters)} hyper-parameters"


@PROOFS.add("images of every shape", "encoder", "decoder")
def every_shape(subject: Subject) -> str:
    """On flat, gray and colour images, binary and continuous, with and without context, log p(x|z) is finite, or the
    part skips these images.
    """
    passed, skipped = 0, ""
    for measure, context in (("binary", CONTEXT), ("binary", None), ("continuous", CONTEXT)):
        for shape in SHAPES:
            one = Subject(subject.plugin, subject.quick, measure, context)
            title = f"{measure} images {list(shape)} {'with' if context else 'without'} context"
            try:
                model = one.build(shape=shape)[0]
                with torch.no_grad():
                    value = terms(model, one.batch(model, 2), 2)["log p(x|z)"]
            except NotRun as reason:
                skipped = str(reason)
                continue
            except (VaezooError, RuntimeError) as error:
                raise Wrong(str(list(shape)), f"{title}: {str(error).splitlines()[0]}") from error
            must(bool(value.isfinite().all()), str(list(shape)), f"log p(x|z) of {title} is not finite")
            passed += 1
    if not passed:
        raise NotRun(skipped)
    return f"{passed} kinds"
