"""What sources register, put together: names that two of them have."""

import pytest

from vaezoo.core.errors import VaezooError
from vaezoo.registry import registry
from vaezoo.runner.plan.catalogue import Catalogue, Entry, entry_of
from vaezoo.runner.plan.sources import Sources

A, B = Sources(files=("a.py",)), Sources(files=("b.py",))


def listing(*names: str, place: str) -> dict:
    return {"names": [vars(Entry("prior", name, place, "A prior.")) for name in names], "variants": {}}


def test_a_module_beside_two_files_is_the_first_ones():
    """Both import it, so both list what it registers."""
    found = Catalogue()
    found._add(A, listing("shared", place="beside.py:1"))
    found._add(B, listing("shared", place="beside.py:1"))
    found._add(B, listing("own", place="b.py:1"))
    assert found.sources([("prior", "shared"), ("prior", "own")]) == Sources(files=("a.py", "b.py"))


def test_a_name_of_two_places_is_refused_and_nothing_of_the_second_is_added():
    found = Catalogue()
    found._add(A, listing("mine", place="a.py:1"))
    with pytest.raises(VaezooError, match=r"prior 'mine' is registered twice: a\.py:1 and b\.py:1"):
        found._add(B, listing("other", "mine", place="b.py:1"))
    assert not found.knows(("prior", "other"))


def test_an_entry_says_what_list_shows():
    plugin = registry("prior")["vampprior"]
    entry = entry_of(plugin)
    assert (entry.slot, entry.name, entry.place) == ("prior", "vampprior", plugin.place)
    assert (entry.summary, entry.paper) == (plugin.summary, plugin.paper)
