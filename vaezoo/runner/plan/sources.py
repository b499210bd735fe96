"""Where the plugins of a row come from that are not vaezoo's."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

from vaezoo.registry import GROUP, Plugin, register


@dataclass(frozen=True)
class Sources:
    """Where the plugins of a row come from, beside those of vaezoo: files, and installed packages by the names of their
    entry points.
    """

    files: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, value: Mapping[str, Sequence[str]]) -> "Sources":
        """The sources whose `vars` JSON held."""
        return cls(**{kind: tuple(found) for kind, found in value.items()})

    def load(self) -> None:
        """Import them here. VaezooError where one does not import."""
        for path in self.files:
            register.load_file(path, "a plugin's path is relative to the matrix file")
        for name in self.packages:
            register.load_package(name)


def sources_of(plugins: Iterable[Plugin]) -> Sources:
    """Where those of the plugins of this process come from that are not vaezoo's."""
    outside = [plugin for plugin in plugins if plugin.module.partition(".")[0] != "vaezoo"]
    if not outside:
        return Sources()
    packages = {point.value.partition(":")[0].partition(".")[0]: point.name for point in entry_points(group=GROUP)}
    files: dict[str, None] = {}
    named: dict[str, None] = {}
    for plugin in outside:
        top = plugin.module.partition(".")[0]
        if top in packages:
            named[packages[top]] = None
        elif plugin.module in register.files.values() or Path(plugin.file).is_file():
            named_files = [str(path) for path, module in register.files.items() if module == plugin.module]
            files[named_files[0] if named_files else plugin.file] = None
    return Sources(tuple(files), tuple(named))
