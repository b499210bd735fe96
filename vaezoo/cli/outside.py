"""Plugins from outside for `list`, `show` and `check`: files and installed packages are imported in children alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from vaezoo.core.errors import VaezooError
from vaezoo.registry import GROUP, SLOTS, existing_file, find, meant, package_names, register
from vaezoo.runner.children.client import Children, outcomes
from vaezoo.runner.limits import PLANNING
from vaezoo.runner.plan.catalogue import Catalogue, Name, catalogue
from vaezoo.runner.plan.sources import Sources


@dataclass
class Outside:
    """What plugin files, and where needed installed packages, register. seconds: that an import may take."""

    children: Children
    files: list[str]
    seconds: float = PLANNING
    packages: list[str] = field(default_factory=list)
    known: Catalogue = field(default_factory=Catalogue)

    @classmethod
    def of(
        cls, children: Children, files: Sequence[Path], packages: Sequence[str] = (), seconds: float = PLANNING
    ) -> "Outside":
        """Import the files and packages. VaezooError for a file that is not there, or does not import."""
        with register.without_packages():
            found = cls(children, list(dict.fromkeys(str(existing_file(path)) for path in files)), seconds)
            found._import(packages)
        return found

    def _import(self, packages: Sequence[str]) -> None:
        self.packages = list(packages)
        self.known = catalogue(self.children, self.files, self.packages, self.seconds)

    def named(self, name: str) -> Name:
        """The slot and the name that a NAME of the command line means. All packages are imported where neither vaezoo
        nor what has been imported knows it, or a part that it declares. VaezooError where nothing does.
        """
        with register.without_packages():
            try:
                found = self._meant(name)
                if all(self.known.knows(part) for part in self._with_parts(found)):
                    return found
            except VaezooError:
                if self.packages == package_names():
                    raise
            if self.packages != package_names():
                self._import(package_names())
            return self._meant(name)

    def _meant(self, name: str) -> Name:
        try:
            return meant(name, {slot: sorted(self.known.names(slot)) for slot in SLOTS})
        except VaezooError as error:
            lost = "; ".join(self.lost())
            raise VaezooError(f"{error} ({lost})" if lost else str(error)) from None

    def _with_parts(self, name: Name) -> list[Name]:
        return [name, *(self.known.parts_of(name[1]) if name[0] == "variant" else [])]

    def sources(self, name: Name) -> Sources:
        """The sources of a plugin, and of the parts that it names."""
        with register.without_packages():
            return self.known.sources(self._with_parts(name))

    def lost(self) -> list[str]:
        """A line for each source that could not be imported."""
        return [*self.known.unavailable.values(), *self.known.broken.values()]

    def lines(self, name: Name) -> list[str]:
        """What `vaezoo show` says of a plugin from outside. VaezooError where its process ends without it."""
        arguments = {"sources": vars(self.sources(name)), "name": "/".join(name)}
        job = self.children.start(f"{__name__}:send_lines", arguments)
        [(_, outcome)] = outcomes(self.children, [job], self.seconds)
        for message in outcome.messages:
            if "lines" in message:
                return [str(line) for line in message["lines"]]
        raise VaezooError(f"{'/'.join(name)} {outcome.reason('when it was shown')}")


def send_lines(send: Any, sources: Mapping[str, Sequence[str]], name: str) -> None:
    """In a child: import the sources and send what `vaezoo show` says of a plugin."""
    from vaezoo.cli.display import plugin_lines

    Sources.from_json(sources).load()
    send(lines=plugin_lines(find(name)))


def points_of(package: str) -> list[str]:
    """The names of the entry points of an installed package, by the name of its module or its project."""
    module = package.replace("-", "_")
    points = entry_points(group=GROUP)
    return sorted({each.name for each in points if each.value.partition(":")[0].partition(".")[0] == module})


@dataclass(frozen=True)
class Named:
    """What a NAME, FILE or PACKAGE of `check` stands for: plugins, or the reason why it could not be imported."""

    plugins: tuple[Name, ...] = ()
    title: str = ""
    broken: str = ""


def everything_named(outside: Outside, names: Sequence[str]) -> list[Named]:
    """What each of these stands for. VaezooError for one that stands for nothing."""
    return [_in_file(outside, name) or _in_package(outside, name) or Named((outside.named(name),)) for name in names]


def _in_file(outside: Outside, name: str) -> Named | None:
    if not name.endswith(".py"):
        return None
    path = str(Path(name).resolve())
    known, title = outside.known, f"plugin file {path}"
    if title in known.broken:
        return Named(title=name, broken=known.broken[title])
    return _registered(name, [key for key, each in known.entries.items() if each.place.rpartition(":")[0] == path])


def _in_package(outside: Outside, name: str) -> Named | None:
    points = points_of(name)
    if not points:
        return None
    known, titles = outside.known, [f"plugin package {point}" for point in points]
    for title in titles:
        if title in known.unavailable:
            raise VaezooError(known.unavailable[title])
        if title in known.broken:
            return Named(title=name, broken=known.broken[title])
    owned = [key for key, source in known.owners.items() if set(source.packages) & set(points)]
    return _registered(f"package {name}", owned)


def _registered(what: str, names: Sequence[Name]) -> Named:
    if not names:
        raise VaezooError(f"{what} registers nothing; use vaezoo.register.SLOT(name) on its classes")
    return Named(tuple(sorted(names, key=lambda name: (SLOTS.index(name[0]), name[1]))))
