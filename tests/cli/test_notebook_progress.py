"""`vaezoo.run` in a notebook shows its progress; in a script it prints nothing."""

import sys
from types import ModuleType

import pytest

from vaezoo.api import Silent, _shown
from vaezoo.cli.progress import Live


def pretend(monkeypatch, shell: str) -> None:
    """A process in which IPython runs this kind of shell."""
    module = ModuleType("IPython")
    module.get_ipython = type(shell, (), {})
    monkeypatch.setitem(sys.modules, "IPython", module)


@pytest.mark.parametrize(
    ("shell", "progress", "kind"),
    [
        ("ZMQInteractiveShell", None, Live),
        ("ZMQInteractiveShell", False, Silent),
        ("TerminalInteractiveShell", None, Silent),
        (None, None, Silent),
        (None, True, Live),
    ],
)
def test_where_progress_is_shown(monkeypatch, shell, progress, kind):
    if shell is None:
        monkeypatch.delitem(sys.modules, "IPython", raising=False)
    else:
        pretend(monkeypatch, shell)
    with _shown(progress) as watcher:
        assert type(watcher) is kind
        if kind is Live:
            assert watcher.console.is_jupyter == (shell is not None)


@pytest.mark.parametrize("widgets", [True, False])
def test_a_notebook_has_bars_where_it_has_widgets(monkeypatch, widgets):
    """rich would warn once a second where it has none."""
    pretend(monkeypatch, "ZMQInteractiveShell")
    monkeypatch.setattr("vaezoo.cli.progress.find_spec", lambda name: object() if widgets else None)
    with _shown(None) as watcher:
        assert watcher.has_bars == widgets
