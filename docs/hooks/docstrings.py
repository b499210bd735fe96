"""The docstrings of the Python page as plain text, as those of the plugin pages."""

from typing import Any

from griffe import Extension, Object
from prose import prose


class PlainDocstrings(Extension):
    """Makes each docstring Markdown in which nothing but `code` is markup."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Change the docstring of an object that is loaded."""
        if obj.docstring is not None:
            obj.docstring.value = prose(obj.docstring.value)
