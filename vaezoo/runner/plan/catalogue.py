"""What plugin files and installed packages register, found by importing each in a child process of its own."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vaezoo.core.errors import VaezooError
from vaezoo.registry import PARTS, SLOTS, Plugin, Variant, register, registry
from vaezoo.runner.children.client import Children, outcomes
from vaezoo.runner.limits import PLANNING
from vaezoo.runner.plan.sources import Sources

Name = tuple[str, str]
"""A slot and a registered name."""


@dataclass(frozen=True)
class Entry:
    """What a source registers under a name. place: its file and line; summary, paper: as of a Plugin."""

    slot: str
    name: str
    place: str
    summary: str = ""
    paper: str | None = None


@dataclass
class Catalogue:
    """What sources outside vaezoo register.

    owners: each name's source. entries: what each source registers under it. parts: the names that each variant
    declares. broken: the title of each source whose import ended its process, with the reason. unavailable: that of
    each installed package that does not import.
    """

    owners: dict[Name, Sources] = field(default_factory=dict)
    entries: dict[Name, Entry] = field(default_factory=dict)
    parts: dict[str, list[Name]] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    broken_sources: dict[str, Sources] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)

    def knows(self, name: Name) -> bool:
        """Whether a name is registered here, in this process or by one of the sources."""
        return name in self.owners or name[1] in registry(name[0])

    def names(self, slot: str) -> list[str]:
        """All names of a slot."""
        return [*registry(slot), *(name for where, name in self.owners if where == slot)]

    def parts_of(self, variant: str) -> list[Name]:
        """The names of the parts that a variant declares."""
        if variant in self.parts:
            return self.parts[variant]
        return declared_parts(registry("variant")[variant].target) if variant in registry("variant") else []

    def sources(self, names: Iterable[Name]) -> Sources:
        """The sources of these names, without those of this process."""
        found = dict.fromkeys(self.owners[name] for name in names if name in self.owners)
        files = tuple(file for each in found for file in each.files)
        return Sources(files, tuple(package for each in found for package in each.packages))

    @property
    def broken_packages(self) -> list[str]:
        """The reasons of the installed packages among `broken`."""
        return [self.broken[title] for title, each in self.broken_sources.items() if each.packages]

    def suspects(self, name: str) -> tuple[Sources, list[str]]:
        """The broken sources that may register a name, and their titles: those whose file holds it, or else all."""
        holding = [title for title, each in self.broken_sources.items() if any(name in _text(f) for f in each.files)]
        titles = holding or list(self.broken_sources)
        found = [self.broken_sources[title] for title in titles]
        files = tuple(file for each in found for file in each.files)
        return Sources(files, tuple(package for each in found for package in each.packages)), titles

    def _add(self, source: Sources, listing: dict[str, Any]) -> None:
        entries = [Entry(**each) for each in listing["names"]]
        for entry in entries:
            known = self.entries.get((entry.slot, entry.name), entry)
            if known.place != entry.place:  # files that import the same module beside them both list what it registers
                places = f"{known.place} and {entry.place}"
                raise VaezooError(f"{entry.slot} {entry.name!r} is registered twice: {places}; rename one of them")
        for entry in entries:
            self.owners.setdefault((entry.slot, entry.name), source)
            self.entries.setdefault((entry.slot, entry.name), entry)
        for variant, parts in listing["variants"].items():
            self.parts[variant] = [(slot, name) for slot, name in parts]


def _text(file: str) -> str:
    return Path(file).read_text(encoding="utf-8", errors="replace")


def declared_parts(variant: Variant) -> list[Name]:
    """The slot and the name of each part that a variant declares; `auto` is none."""
    chosen = {slot: getattr(variant, slot) for slot in PARTS}
    named = [(slot, choice if isinstance(choice, str) else choice[0]) for slot, choice in chosen.items()]
    return [(slot, name) for slot, name in named if (slot, name) != ("likelihood", "auto")]


def catalogue(
    children: Children, files: Sequence[str], packages: Sequence[str], seconds: float = PLANNING
) -> Catalogue:
    """Import each source in a child and list what it registers. seconds: that an import may take.

    VaezooError for a file that raises an error when it is imported, and for a name that two files register. A source
    whose import ends or holds up its process, or raises what is no error, is `broken`. A package that registers the
    name of another source is unavailable.
    """
    found = Catalogue()
    sources = [*(Sources(files=(file,)) for file in files), *(Sources(packages=(name,)) for name in packages)]
    jobs = {children.start(f"{__name__}:list_source", {"source": vars(source)}): source for source in sources}
    for job, outcome in outcomes(children, jobs, seconds):
        source = jobs[job]
        title = f"plugin file {source.files[0]}" if source.files else f"plugin package {source.packages[0]}"
        listing = next((message for message in outcome.messages if "names" in message), None)
        invalid = next((message["invalid"] for message in outcome.messages if "invalid" in message), None)
        if listing is not None:
            try:
                found._add(source, listing)
            except VaezooError as error:
                if source.files:
                    raise
                found.unavailable[title] = f"{title} could not be imported: {error}"
        elif invalid is None:
            found.broken[title] = f"{title} {outcome.reason('when it was imported')}"
            found.broken_sources[title] = source
        elif source.files:
            raise VaezooError(invalid)
        else:
            found.unavailable[title] = invalid
    return found


def list_source(send: Any, source: dict[str, list[str]]) -> None:
    """In a child: import a source and send what it registers, or the error of an invalid one."""
    for slot in SLOTS:
        register.load(slot)
    before = {slot: set(registry(slot)) for slot in SLOTS}
    try:
        Sources.from_json(source).load()
    except VaezooError as error:
        send(invalid=str(error))
        return
    new = [registry(slot)[name] for slot in SLOTS for name in registry(slot) if name not in before[slot]]
    variants = {plugin.name: declared_parts(plugin.target) for plugin in new if plugin.slot == "variant"}
    send(names=[asdict(entry_of(plugin)) for plugin in new], variants=variants)


def entry_of(plugin: Plugin) -> Entry:
    """The entry of a plugin of this process."""
    paper = None if plugin.paper is None else str(plugin.paper)
    return Entry(plugin.slot, plugin.name, plugin.place, plugin.summary, paper)
