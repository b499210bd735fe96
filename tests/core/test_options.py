"""Options against a plugin's signature: values that fit, their conversions, and the errors for those that do not."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction
from inspect import Parameter
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import numpy
import pytest

from vaezoo.core.errors import VaezooError
from vaezoo.core.options import checked_options, checked_type
from vaezoo.registry import Plugin

Mode = Literal["sum", "mean", 2, None]
FITS = [
    (3, int, 3),
    (-3, int, -3),
    (True, bool, True),
    (3, float, 3.0),
    (0.5, float, 0.5),
    (Fraction(1, 2), float, 0.5),
    ("a", str, "a"),
    ("", str, ""),
    (None, None, None),
    (None, type(None), None),
    (3, int | None, 3),
    (None, int | None, None),
    (3, Optional[int], 3),  # noqa: UP045 - plugins of others write it
    (3, float | None, 3.0),
    (3, float | int, 3),
    (3, int | float, 3),
    (3.5, int | float, 3.5),
    (True, int | bool, True),
    ("auto", float | Literal["auto"], "auto"),
    (2, float | Literal["auto"], 2.0),
    ("sum", Mode, "sum"),
    (2, Mode, 2),
    (None, Mode, None),
    ([300, 200], tuple[int, ...], (300, 200)),
    ((300, 200), tuple[int, ...], (300, 200)),
    ([], tuple[int, ...], ()),
    ([1, 2], tuple[float, ...], (1.0, 2.0)),
    ([1, "a"], tuple[float, str], (1.0, "a")),
    ((1, 2), list[int], [1, 2]),
    ([1, 2], Sequence[int], (1, 2)),
    ([1, "a"], tuple, (1, "a")),
    ([1, "a"], list, [1, "a"]),
    ([[1], [2, 3]], tuple[tuple[int, ...], ...], ((1,), (2, 3))),
    ([1, None], tuple[int | None, ...], (1, None)),
    (["sum", 2], tuple[Mode, ...], ("sum", 2)),
    ({"a": 1}, dict[str, int], {"a": 1}),
    (3, Annotated[float, "in nats"], 3.0),
    (Path("a"), Path, Path("a")),
    (True, object, True),
    ("anything", Any, "anything"),
    ("anything", Parameter.empty, "anything"),
    (None, Callable[[int], int] | None, None),
]
UNFIT = [
    (2.5, int, "x must be a whole number, got 2.5"),
    (3.0, int, "x must be a whole number, got 3.0"),
    ("3", int, "x must be a whole number, got '3'"),
    (True, int, "x must be a whole number, got true"),
    (None, int, "x must be a whole number, got nothing"),
    (False, float, "x must be a number, got false"),
    ("1.5", float, "x must be a number, got '1.5'"),
    (1, bool, "x must be true or false, got 1"),
    ("true", bool, "x must be true or false, got 'true'"),
    (3, str, "x must be a string, got 3"),
    (True, str, "x must be a string, got true"),
    (2.5, int | None, "x must be a whole number or left out, got 2.5"),
    (True, float | None, "x must be a number or left out, got true"),
    ("a", None, "x must be left out, got 'a'"),
    ("auto", int | Literal["automatic"], "x must be a whole number or 'automatic', got 'auto'"),
    ("suum", Mode, "x: value 'suum' is unknown; did you mean 'sum'?"),
    ("zzz", Mode, "x: value 'zzz' is unknown; there are: 2, mean, sum"),
    (3, Mode, "x must be 'sum' or 'mean' or 2 or left out, got 3"),
    (True, Literal[0, 1], "x must be 0 or 1, got true"),
    (1, Literal[False, True], "x must be false or true, got 1"),
    (1.0, Literal[1], "x must be 1, got 1.0"),
    (3, tuple[int, ...], "x must be a list, each item a whole number, got 3"),
    ("ab", tuple[str, ...], "x must be a list, each item a string, got 'ab'"),
    ([1, 2.5], tuple[int, ...], "x must be a list, each item a whole number, got [1, 2.5]"),
    ([1, True], list[int], "x must be a list, each item a whole number, got [1, true]"),
    ([1], tuple[int, str], "x must be a list of 2 (a whole number, a string), got [1]"),
    ([1, "a", "b"], tuple[int, str], "x must be a list of 2 (a whole number, a string), got [1, 'a', 'b']"),
    (b"ab", tuple, "x must be a list, got b'ab'"),
    (3, dict[str, int], "x must be dict[str, int], got 3"),
    ("a", Path, "x must be Path, got 'a'"),
    (True, Path, "x must be Path, got true"),
    ({"a": [True, None]}, int, "x must be a whole number, got { a = [true, nothing] }"),
    ({}, int, "x must be a whole number, got {}"),
    (date(2026, 1, 2), float, "x must be a number, got 2026-01-02"),
    ("a" * 80, int, f"x must be a whole number, got '{'a' * 56}..."),
    (True, Annotated[int, "K"], "x must be a whole number, got true"),
]


def same(value, wanted):
    """Equal, and of the same types all through."""
    if isinstance(wanted, tuple | list):
        return type(value) is type(wanted) and len(value) == len(wanted) and all(map(same, value, wanted))
    return type(value) is type(wanted) and value == wanted


@pytest.mark.parametrize(("value", "annotation", "wanted"), FITS, ids=str)
def test_what_fits_comes_out_as_the_annotation_wants_it(value, annotation, wanted):
    assert same(checked_type("x", value, annotation), wanted)


@pytest.mark.parametrize(("value", "annotation", "message"), UNFIT, ids=str)
def test_the_error_for_a_value_that_does_not_fit_is_one_line(value, annotation, message):
    with pytest.raises(VaezooError) as raised:
        checked_type("x", value, annotation)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("value", "annotation", "wanted"),
    [
        (numpy.int64(3), int, 3),
        (numpy.int64(3), float, 3.0),
        (numpy.float32(0.5), float, 0.5),
        (numpy.float64(0.5), float | None, 0.5),
        ([numpy.int64(3)], tuple[int, ...], (3,)),
    ],
)
def test_numbers_of_numpy_become_pythons(value, annotation, wanted):
    found = checked_type("x", value, annotation)
    assert same(found, wanted)
    json.dumps(found)


def test_a_decimal_is_no_number():
    with pytest.raises(VaezooError, match=r"^x must be a number, got Decimal\('1'\)$"):
        checked_type("x", Decimal(1), float)


def a_part(latent: int, *, components: int = 10, spread: float = 1.0, mode: Mode = "sum", widths: tuple[int, ...] = ()):
    """A part with hyper-parameters."""


def a_function(root: Path, seed: int, *, size: int, labels: bool = False):
    """A dataset or metric with options, one of them without a default."""


def plugin(slot, target):
    return Plugin(slot, "mine", target, None, "mine", "mine.py", 1)


PRIOR, DATASET, METRIC = plugin("prior", a_part), plugin("dataset", a_function), plugin("metric", a_function)


def test_all_options_stand_over_the_defaults_in_the_order_of_the_signature():
    found = checked_options(PRIOR, {"widths": [3, 4], "spread": 2})
    assert list(found.items()) == [("components", 10), ("spread", 2.0), ("mode", "sum"), ("widths", (3, 4))]
    assert type(found["spread"]) is float
    assert checked_options(DATASET, {"size": 3}) == {"size": 3, "labels": False}


def test_a_default_is_not_checked():
    def loose(*, widths: tuple[int, ...] = None):  # noqa: RUF013 - as others write it
        """A default that is not of its annotation."""

    assert checked_options(plugin("prior", loose), {}) == {"widths": None}


def test_what_was_given_is_left_alone():
    given = {"widths": [3, 4]}
    checked_options(PRIOR, given)
    assert given == {"widths": [3, 4]}


@pytest.mark.parametrize(
    ("plugin", "values", "message"),
    [
        (PRIOR, {"component": 3}, "prior 'mine': hyper-parameter 'component' is unknown; did you mean 'components'?"),
        (
            PRIOR,
            {"zzz": 3},
            "prior 'mine': hyper-parameter 'zzz' is unknown; there are: components, mode, spread, widths",
        ),
        (PRIOR, {"latent": 3}, "prior 'mine': 'latent' is handed over by the builder and cannot be set here"),
        (PRIOR, {"components": True}, "prior 'mine': hyper-parameter 'components' must be a whole number, got true"),
        (
            PRIOR,
            {"mode": "meen"},
            "prior 'mine': hyper-parameter 'mode': value 'meen' is unknown; did you mean 'mean'?",
        ),
        (DATASET, {"size": "a"}, "dataset 'mine': option 'size' must be a whole number, got 'a'"),
        (DATASET, {"sise": 3}, "dataset 'mine': option 'sise' is unknown; did you mean 'size'?"),
        (DATASET, {}, "dataset 'mine': option 'size' has no default and must be given"),
        (DATASET, {"seed": 3}, "dataset 'mine': 'seed' is handed over by the loader and cannot be set here"),
        (METRIC, {"seed": 3}, "metric 'mine': 'seed' is handed over by the evaluation and cannot be set here"),
        (METRIC, {"size": 3, "labels": 1}, "metric 'mine': option 'labels' must be true or false, got 1"),
        (plugin("encoder", lambda: 0), {"a": 3}, "encoder 'mine': hyper-parameter 'a' is unknown; there are none"),
    ],
    ids=lambda value: value[:60] if isinstance(value, str) else "",
)
def test_wrong_options_are_one_line(plugin, values, message):
    with pytest.raises(VaezooError) as raised:
        checked_options(plugin, values)
    assert str(raised.value) == message


def test_no_torch_and_no_numpy_are_needed():
    code = "import sys, vaezoo.core.options; sys.exit(bool({'torch', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
