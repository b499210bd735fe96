"""One registry for each slot: a mapping from name to plugin, which decorators fill. Standard library only.

A folder is a slot and a file in it a plugin: a slot's folder is imported when the slot is first looked at. Plugins from
outside come from a file (`load_file`) or an installed package's entry point in the group `vaezoo.plugins`. Where
the import of a plugin file that the user named fails, that is an error; any other module is listed as unavailable, with
the reason. What a failed import had registered is removed. Other plugins are unaffected.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeVar

from vaezoo.core.columns import Column, checked_columns
from vaezoo.core.errors import VaezooError, unknown
from vaezoo.plugin_files import import_plugin_file

FOLDERS = {
    "encoder": "encoders",
    "posterior": "posteriors",
    "prior": "priors",
    "decoder": "decoders",
    "likelihood": "likelihoods",
    "objective": "objectives",
    "variant": "variants",
    "dataset": "datasets",
    "metric": "metrics",
}
SLOTS = tuple(FOLDERS)
PARTS = SLOTS[:6]
"""The six parts of a model: the slots that a variant fills."""
GROUP = "vaezoo.plugins"

Target = TypeVar("Target")
Choice = str | tuple[str, Mapping[str, Any]]
"""A slot's value: a registered name, or (name, {hyper-parameters})."""
Slots = dict[str, tuple[str, dict[str, Any]]]
"""For each part its registered name and all of its hyper-parameters."""


@dataclass(frozen=True)
class Variant:
    """A declaration of slots. A slot's value is a registered name or (name, {hyper-parameters}).

    likelihood "auto" is the natural likelihood of the dataset's measure. about: one line for `vaezoo list`.
    """

    name: str
    encoder: Choice = "mlp"
    posterior: Choice = "gaussian"
    prior: Choice = "normal"
    decoder: Choice = "mlp"
    likelihood: Choice = "auto"
    objective: Choice = "elbo"
    paper: str | None = None
    about: str = ""

    def __post_init__(self) -> None:
        """Check every slot's value, because all plugins read the registered variants. VaezooError for a wrong one."""
        for slot in PARTS:
            if not _is_choice(choice := getattr(self, slot)):
                raise VaezooError(
                    f"variant {self.name!r}: {slot} must be a name or (name, {{hyper-parameters}}), got {choice!r}"
                )


def _is_choice(value: object) -> bool:
    if isinstance(value, tuple) and len(value) == 2:
        return isinstance(value[0], str) and isinstance(value[1], Mapping)
    return isinstance(value, str)


def first_sentence(text: str) -> str:
    """The first sentence of a docstring on one line. It ends at a full stop before a capital, or with its paragraph.

    >>> first_sentence("Trains on one image at a time, with a\\n    decay. Slow.")
    'Trains on one image at a time, with a decay.'
    """
    paragraph = " ".join(text.strip().split("\n\n")[0].split())
    return re.split(r"(?<=[^.]\.) (?=[A-Z])", paragraph, maxsplit=1)[0]


@dataclass(frozen=True)
class Plugin:
    """A registered plugin: its target (class, function or Variant), where it was written, a metric's columns, and
    whether that metric reads labels.
    """

    slot: str
    name: str
    target: Any
    paper: str | None
    module: str
    file: str
    line: int
    columns: tuple[Column, ...] = ()
    labels: bool = False

    @property
    def place(self) -> str:
        """File and line: `vaezoo/priors/normal.py:12`, or the whole path of a file outside vaezoo."""
        path = Path(self.file)
        inside = self.module.startswith("vaezoo.")
        return f"{'/'.join(path.parts[-3:]) if inside else path}:{self.line}"

    @property
    def reads_labels(self) -> bool:
        """Whether a metric reads the data set's labels: one that says so, and any from outside vaezoo, which may."""
        return self.slot == "metric" and (self.labels or not self.module.startswith("vaezoo."))

    @property
    def summary(self) -> str:
        """The first sentence of its docstring, or the `about` of a Variant."""
        if isinstance(self.target, Variant):
            return " ".join(self.target.about.split())
        return first_sentence(self.target.__doc__ or "")  # not inherited

    @cached_property
    def _parameters(self) -> list[inspect.Parameter]:
        if isinstance(self.target, Variant):
            return []
        return list(inspect.signature(self.target, eval_str=True).parameters.values())

    @property
    def builder_arguments(self) -> dict[str, inspect.Parameter]:
        """The constructor's arguments before `*`, which the builder serves."""
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        return {p.name: p for p in self._parameters if p.kind in kinds}

    @property
    def hyperparameters(self) -> dict[str, inspect.Parameter]:
        """The constructor's arguments after `*`, which a matrix file may set."""
        return {p.name: p for p in self._parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


@dataclass(frozen=True)
class Unavailable:
    """A plugin file, module or entry point that could not be imported."""

    source: str
    reason: str


@dataclass
class Registry(Mapping[str, Plugin]):
    """The plugins of one slot by name, sorted by name."""

    slot: str
    owner: Register = field(repr=False)
    _plugins: dict[str, Plugin] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Plugin:
        """The plugin of this name; VaezooError with the nearest names where there is none."""
        self.owner.load(self.slot)
        if name not in self._plugins:
            message = unknown(self.slot, name, self._plugins)
            missing = "; ".join(f"{lost.source} is unavailable: {lost.reason}" for lost in self.owner.unavailable)
            raise VaezooError(f"{message} ({missing})" if missing else message)
        return self._plugins[name]

    def __contains__(self, name: object) -> bool:
        self.owner.load(self.slot)
        return name in self._plugins

    def __iter__(self) -> Iterator[str]:
        self.owner.load(self.slot)
        return iter(sorted(self._plugins))

    def __len__(self) -> int:
        self.owner.load(self.slot)
        return len(self._plugins)

    def add(self, plugin: Plugin) -> None:
        """Add a plugin. Raises VaezooError, which names both places, where its name is taken."""
        if not plugin.module.startswith("vaezoo."):
            self.owner.load(self.slot)
        known = self._plugins.get(plugin.name)
        redefined = known is not None and plugin.module == known.module == "__main__"  # a notebook ran a cell again
        if known is not None and not redefined:
            raise VaezooError(
                f"{self.slot} {plugin.name!r} is registered twice: {known.place} and {plugin.place}; rename one of them"
            )
        self._plugins[plugin.name] = plugin
        if self.owner._entered:
            self.owner._entered[-1].append(plugin)


class Register:
    """`vaezoo.register`: a decorator for each slot, `variant(...)`, and the registries behind them."""

    def __init__(self) -> None:
        self.registries = {slot: Registry(slot, self) for slot in SLOTS}
        self.unavailable: list[Unavailable] = []
        self.files: dict[Path, str] = {}
        self._loaded: set[str] = set()
        self._isolated = False
        self._entered: list[list[Plugin]] = []  # the plugins that each running import has registered

    def _add(
        self,
        slot: str,
        name: str,
        target: Any,
        paper: str | None,
        depth: int = 2,
        columns: tuple[Column, ...] = (),
        labels: bool = False,
    ) -> None:
        frame = sys._getframe(depth)
        place = (frame.f_globals.get("__name__", "__main__"), frame.f_code.co_filename, frame.f_lineno)
        self.registries[slot].add(Plugin(slot, name, target, paper, *place, columns, labels))

    def _decorator(
        self, slot: str, name: str, paper: str | None, columns: tuple[Column, ...] = (), labels: bool = False
    ) -> Callable[[Target], Target]:
        def enter(target: Target) -> Target:
            self._add(slot, name, target, paper, columns=columns, labels=labels)
            return target

        return enter

    def encoder(self, name: str, *, paper: str | None = None) -> Callable[[Target], Target]:
        """Register a subclass of vaezoo.Encoder."""
        return self._decorator("encoder", name, paper)

    def posterior(self, name: str, *, paper: str | None = None) -> Callable[[Target], Target]:
        """Register a subclass of vaezoo.Posterior."""
        return self._decorator("posterior", name, paper)

    def prior(self, name: str, *, paper: str | None = None) -> Callable[[Target], Target]:
        """Register a subclass of vaezoo.Prior."""
        return self._decorator("prior", name, paper)

    def decoder(self, name: str, *, paper: str | None = None) -> Callable[[Target], Target]:
        """Register a subclass of vaezoo.Decoder."""
        return self._decorator("decoder", name, paper)

    def likelihood(self, name: str, *, paper: str | None = None) -> Callable[[Target], Target]:
        """Register a subclass of vaezoo.Likelihood."""
        return self._decorator("likelihood", name, paper)

    def objective(self, name: str, *, paper: str | None = None) -> Callable[[Target], Target]:
        """Register a subclass of vaezoo.Objective."""
        return self._decorator("objective", name, paper)

    def dataset(self, name: str, *, paper: str | None = None) -> Callable[[Target], Target]:
        """Register a function (root, seed, *, options) -> vaezoo.Dataset."""
        return self._decorator("dataset", name, paper)

    def metric(
        self, name: str, *, paper: str | None = None, columns: Sequence[Column] = (), labels: bool = False
    ) -> Callable[[Target], Target]:
        """Register a function (model, images, context, *, options) -> {column: number}.

        columns: how tables show these numbers; a number that no Column declares has its name as heading. labels:
        whether it reads the labels of the data set; where these change, its cells are then run again.
        """
        return self._decorator("metric", name, paper, checked_columns(name, columns), labels)

    def variant(self, variant: Variant) -> Variant:
        """Register a Variant; returns it."""
        self._add("variant", variant.name, variant, variant.paper)
        return variant

    def load(self, slot: str) -> None:
        """Import a slot's folder and, once, the entry points."""
        if slot not in self._loaded:
            self._loaded.add(slot)
            package = importlib.import_module(f"vaezoo.{FOLDERS[slot]}")
            for module in sorted(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_")):
                self._attempt(f"{package.__name__}.{module}", lambda name: importlib.import_module(name))
        if GROUP not in self._loaded:
            self._loaded.add(GROUP)
            for point in sorted(entry_points(group=GROUP), key=lambda p: p.name):
                self._attempt(f"{point.name} ({point.value})", lambda _, load=point.load: load())  # type: ignore[misc]

    @contextmanager
    def without_packages(self) -> Iterator[None]:
        """Within the block, a look at a registry imports no installed package."""
        added = GROUP not in self._loaded
        self._loaded.add(GROUP)
        try:
            yield
        finally:
            if added:
                self._loaded.discard(GROUP)

    def isolate(self) -> None:
        """In a process that serves one job: import installed packages by `load_package` alone, and let a plugin that
        exits, or runs out of memory, end the process.
        """
        self._loaded.add(GROUP)
        self._isolated = True

    def load_package(self, name: str) -> None:
        """Import the entry point of this name in the group `vaezoo.plugins`. VaezooError where it does not import."""
        for point in entry_points(group=GROUP, name=name):
            if name not in self._loaded:
                reason = self._failure(name, lambda _, load=point.load: load())  # type: ignore[misc]
                if reason is not None:
                    raise VaezooError(f"plugin package {name} ({point.value}) could not be imported: {reason}")
                self._loaded.add(name)

    def load_file(self, path: str | Path, advice: str = "") -> None:
        """Import a plugin file once, with the modules beside it that it imports (`vaezoo/plugin_files.py`).

        VaezooError for a file that does not exist, which ends with the advice, and for one whose import fails, with the
        reason.
        """
        path = existing_file(path, advice)
        if path not in self.files:
            reason = self._failure(str(path), lambda _: import_plugin_file(path, self.files))
            if reason is not None:
                raise VaezooError(f"plugin file {path} could not be imported: {reason}")

    def _attempt(self, source: str, load: Callable[[str], Any]) -> None:
        """Import a module that the user did not name; where that fails, list it as unavailable."""
        if (reason := self._failure(source, load)) is not None:
            self.unavailable.append(Unavailable(source, reason))

    def _failure(self, source: str, load: Callable[[str], Any]) -> str | None:
        """Import; where that fails, remove what it had registered and return the reason."""
        self._entered.append([])
        try:
            load(source)
        except (Exception, SystemExit) as error:  # a plugin's module may raise anything
            if self._isolated and isinstance(error, MemoryError | SystemExit):
                raise
            for plugin in self._entered[-1]:
                built_in = plugin.module.startswith("vaezoo.") and plugin.module in sys.modules
                if not built_in:  # a module of vaezoo that it imported first stays
                    del self.registries[plugin.slot]._plugins[plugin.name]
            return f"{type(error).__name__}: {error}".splitlines()[0]
        else:
            return None
        finally:
            self._entered.pop()


def existing_file(path: str | Path, advice: str = "") -> Path:
    """The whole path of a plugin file; VaezooError, which ends with the advice, where there is no such file."""
    path = Path(path).resolve()
    if not path.is_file():
        raise VaezooError(f"plugin file {path} does not exist{advice and '; '}{advice}")
    return path


register = Register()


def names(slot: str) -> list[str]:
    """The registered names of a slot, sorted. VaezooError for an unknown slot."""
    return list(registry(slot))


def registry(slot: str) -> Registry:
    """The Registry of a slot. VaezooError for an unknown slot."""
    if slot not in register.registries:
        raise VaezooError(unknown("slot", slot, SLOTS))
    return register.registries[slot]


def package_names() -> list[str]:
    """The entry points of installed packages of plugins. Nothing is imported."""
    return sorted({point.name for point in entry_points(group=GROUP)})


def find(name: str) -> Plugin:
    """The plugin that a command line's NAME means, of those registered here. Raises VaezooError as `meant`."""
    slot, _, rest = name.partition("/")
    if rest:
        return registry(slot)[rest]
    slot, rest = meant(name, {slot: names(slot) for slot in SLOTS})
    return registry(slot)[rest]


def meant(name: str, known: Mapping[str, Collection[str]]) -> tuple[str, str]:
    """The slot and the name that a command line's NAME means: a variant, `SLOT/NAME`, or a bare name that only one slot
    has. known: the names of each slot.

    Raises VaezooError for a bare name of several slots, with the candidates, and for an unknown one, with the nearest
    names of all slots.
    """
    slot, _, rest = name.partition("/")
    if rest:
        if slot not in known:
            raise VaezooError(unknown("slot", slot, known))
        if rest not in known[slot]:
            raise VaezooError(unknown(slot, rest, known[slot]))
        return slot, rest
    if name in known["variant"]:
        return "variant", name
    found = [s for s in known if name in known[s]]
    if len(found) == 1:
        return found[0], name
    if found:
        raise VaezooError(f"{name!r} is a name in several slots; use {' or '.join(f'{s}/{name}' for s in found)}")
    if slot in known or slot.removesuffix("s") in known:
        slot = slot if slot in known else slot.removesuffix("s")
        raise VaezooError(f"{name!r} is a slot; `vaezoo list {slot}` lists its plugins, whose names are {slot}/NAME")
    raise VaezooError(unknown("name", name, {n for every in known.values() for n in every}))
