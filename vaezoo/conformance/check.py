"""All proofs of a plugin, each in a child process of its own under a time-out."""

import importlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import torch

from vaezoo.builder import measures_of
from vaezoo.conformance.fresh import sources_with_parts
from vaezoo.conformance.proof import PROOFS, Proof
from vaezoo.conformance.subject import MODULE_SLOTS, Subject
from vaezoo.conformance.verdict import FAIL, NOT_RUN, PASS, Finding, NotRun, Wrong
from vaezoo.core.errors import Skip, VaezooError
from vaezoo.registry import GROUP, SLOTS, Plugin, find, register, registry
from vaezoo.runner.children.client import Children, Outcome, outcomes
from vaezoo.runner.plan.fingerprint import fingerprint
from vaezoo.runner.plan.sources import Sources

PROOF_MODULES = (
    *("declarations", "modules", "derivatives", "expectations", "far_out", "states", "traces", "leaks", "updates"),
    *("densities", "narrow", "group_scores", "log_determinants", "wide"),
    *("likelihoods", "causal", "axes", "objectives", "datasets", "metrics"),
)
"""The modules of this package that hold proofs."""
TIMEOUT = 120.0
"""Seconds that one proof may take; a plugin that hangs fails it."""


def proofs_of(slot: str) -> list[Proof]:
    """The proofs of a slot, in order."""
    for name in PROOF_MODULES:
        importlib.import_module(f"vaezoo.conformance.{name}")
    return PROOFS.of(slot)


def _construction(subject: Subject) -> str:
    """It is built with its default hyper-parameters in a small model."""
    subject.build()
    return "built"


CONSTRUCTION = Proof("construction", MODULE_SLOTS, _construction)
"""The proof that every other proof of a part or a variant needs. It is a finding only where it fails."""
DECLARATION = "declaration"
"""The proof that builds nothing."""


def nothing_proved(findings: Sequence[Finding]) -> bool:
    """Whether no proof but that of the declaration was run, as for a plugin that always skips."""
    return all(each.verdict == NOT_RUN for each in findings if each.proof != DECLARATION)


def prove(plugin: Plugin, proof: Proof, quick: bool = False) -> Finding:
    """Carry out one proof here. A plugin that raises fails, with what it raised."""
    started = time.perf_counter()
    subject = Subject(plugin, quick)
    try:
        verdict, figure, detail = PASS, proof.prove(subject), ""
    except NotRun as reason:
        verdict, figure, detail = NOT_RUN, "", str(reason)
    except Skip as reason:
        verdict, figure, detail = NOT_RUN, "", f"it skips: {reason}"
    except Wrong as wrong:
        verdict, figure, detail = FAIL, wrong.figure, f"{proof.formula} {wrong.detail}{subject.where}"
    except Exception as error:  # whatever a plugin raises is its failure
        verdict, figure = FAIL, "raised"
        detail = f"{proof.formula} It raised {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    seconds = time.perf_counter() - started
    return Finding(proof.name, verdict, figure, detail, seconds, proof.formula, proof.false_alarm)


def prove_in_child(
    send: Any, sources: Mapping[str, Sequence[str]], slot: str, name: str, proof: str, quick: bool
) -> None:
    """In a child: import the sources and send the finding of one proof, or that a likelihood has no measures."""
    torch.set_num_threads(1)
    Sources.from_json(sources).load()
    plugin = registry(slot)[name]
    if slot == "likelihood":
        try:
            measures_of(plugin)  # one error at once; without measures every proof would fail
        except VaezooError as error:
            send(invalid=str(error))
            return
    chosen = next(each for each in (CONSTRUCTION, *proofs_of(slot)) if each.name == proof)
    send(finding=asdict(replace(prove(plugin, chosen, quick), code=code_of(plugin))))


def code_of(plugin: Plugin) -> str:
    """The fingerprint of a plugin, empty where it was not registered in a file."""
    with suppress(VaezooError):
        return fingerprint(plugin)
    return ""


def check(plugin: Plugin, *, quick: bool = False, timeout: float = TIMEOUT) -> Iterator[Finding]:
    """Carry out every proof of a plugin of this process, as `proved_in_children` does. The children import the plugin
    files that this process has imported, and the packages that the plugin needs.
    """
    with Children() as children:
        sources = sources_with_parts(plugin)
        yield from proved_in_children(children, sources, plugin.slot, plugin.name, quick=quick, timeout=timeout)


def proved_in_children(
    children: Children, sources: Sources, slot: str, name: str, *, quick: bool = False, timeout: float = TIMEOUT
) -> Iterator[Finding]:
    """Carry out every proof of a plugin, each in a child process of its own; yields each finding at once.

    sources: of the plugin, and of the parts that it names. A proof during which the child crashes, or takes longer than
    `timeout` seconds, fails; the others are unaffected. A part or a variant that cannot be built fails once, as
    `construction`, and no other proof is run. VaezooError for a likelihood without measures.
    """

    def carried_out(proof: Proof) -> Finding:
        """The finding of a proof in its child."""
        arguments = {"sources": vars(sources), "slot": slot, "name": name, "proof": proof.name, "quick": quick}
        [(_, outcome)] = outcomes(children, [children.start(f"{__name__}:prove_in_child", arguments)], timeout)
        return _finding(proof, outcome)

    if slot in MODULE_SLOTS and (built := carried_out(CONSTRUCTION)).verdict == FAIL:
        yield built
        yield from (Finding(each.name, NOT_RUN, "", "it cannot be built") for each in proofs_of(slot))
    else:
        yield from map(carried_out, proofs_of(slot))


def _finding(proof: Proof, outcome: Outcome) -> Finding:
    """What the child of a proof found, or how it ended. VaezooError where the plugin is invalid."""
    told = {kind: value for message in outcome.messages for kind, value in message.items()}
    if "invalid" in told:
        raise VaezooError(told["invalid"])
    if "finding" in told:
        return Finding(**told["finding"])
    if "raised" in told:
        return Finding(proof.name, FAIL, "raised", f"{proof.formula} It raised {told['raised']}")
    if outcome.ended is None:
        what = f"{proof.formula} It took longer than {outcome.seconds:g} s"
        return Finding(proof.name, FAIL, "time-out", what, outcome.seconds)
    return Finding(proof.name, FAIL, "crash", f"{proof.formula} The process died: {outcome.death}")


def plugins_named(name: str) -> list[Plugin]:
    """The plugins that a NAME, SLOT/NAME, FILE or PACKAGE of the command line stands for.

    VaezooError where there are none, or where the file or the package cannot be imported.
    """
    if name.endswith(".py"):
        path = Path(name).resolve()
        register.load_file(path)
        return _all(lambda plugin: plugin.module == register.files[path], f"{name} registers nothing")
    packages = {point.value.split(":")[0].split(".")[0] for point in entry_points(group=GROUP)}
    if name.replace("-", "_") in packages:
        package = name.replace("-", "_")
        for point in entry_points(group=GROUP):
            if point.value.split(":")[0].split(".")[0] == package:
                _ = registry("variant").get("vae")
                _refuse_unavailable(f"{point.name} ({point.value})")
        return _all(lambda plugin: plugin.module.split(".")[0] == package, f"package {name} registers nothing")
    return [find(name)]


def _refuse_unavailable(source: str) -> None:
    for lost in register.unavailable:
        if lost.source == source:
            raise VaezooError(f"{source} could not be imported: {lost.reason}")


def _all(chosen: Callable[[Plugin], bool], otherwise: str) -> list[Plugin]:
    found = [plugin for slot in SLOTS for plugin in registry(slot).values() if chosen(plugin)]
    if not found:
        raise VaezooError(f"{otherwise}; use vaezoo.register.SLOT(name) on its classes")
    return found
