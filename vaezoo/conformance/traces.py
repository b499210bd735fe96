"""The proof that a pass leaves nothing behind: no attribute, buffer, global or setting changes in it."""

import torch

from vaezoo.conformance.modules import terms, total, value_of
from vaezoo.conformance.proof import PROOFS
from vaezoo.conformance.state_digest import StateDigest
from vaezoo.conformance.subject import MODULE_SLOTS, Subject, contexts, keyed
from vaezoo.conformance.verdict import Wrong
from vaezoo.core.contracts import Objective
from vaezoo.core.model import LatentModel
from vaezoo.training.module import parts_of


@PROOFS.add("a pass leaves nothing", *MODULE_SLOTS)
def pure(subject: Subject) -> str:
    """Every value that is reachable from the parts and the objective is the same before and after a pass.

    Attributes, containers, plain objects, closures, defaults, the attributes of classes, the globals of the plugin's
    modules, the global generators and torch's settings are compared, around a pass of new images in train mode with its
    gradient, and around the calls of an evaluation. The first that changes is named. Nothing is random: false alarm 0.
    """
    count = 0
    for training in (True, False):
        model, objective = subject.build()
        model.train(training)
        objective.train(training)
        for seed in (2, 3):
            before = digest(model, objective)
            _run(subject, model, objective, seed)
            after = digest(model, objective)
            if changed := before.changes(after):
                mode = "train" if training else "eval"
                raise Wrong(
                    changed[0],
                    f"a pass in {mode} mode changes {', '.join(changed[:3])}: keep what a pass needs in local names; "
                    "what changes over training is progress, or is written by update(draws) or refit(images)",
                )
            count = max(count, len(after.values))
    return f"{count} values"


def digest(model: LatentModel, objective: Objective) -> StateDigest:
    """The digest of the parts, by their slots."""
    parts = parts_of(model, objective)
    return StateDigest(**{name.removeprefix("model.").removesuffix("_net"): part for name, part in parts.items()})


def _run(subject: Subject, model: LatentModel, objective: Objective, seed: int) -> None:
    """A pass with its gradient in train mode, or the calls of an evaluation."""
    batch = subject.batch(model, 4, seed, training=model.training)
    if model.training:
        total(value_of(subject, model, objective, batch, seed)).backward()
        return
    with torch.no_grad():
        terms(model, batch, 3, seed)
        value_of(subject, model, objective, batch, seed)
        with keyed(seed, model):
            model.prior_sample(4, contexts(model, 4))
