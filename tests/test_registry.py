"""The registry: names, near misses, what is refused, and that a plugin that fails to import affects no other."""

import os
import re
import subprocess
import sys

import pytest

import vaezoo
from vaezoo.core.errors import VaezooError
from vaezoo.registry import SLOTS, Register, Variant, find, first_sentence, register, registry

PRIOR = """
import vaezoo

@vaezoo.register.prior("{name}", paper="Me (2026)")
class Mine(vaezoo.Prior):
    '''The first line.

    And more.
    '''

    def __init__(self, latent, *, scale: float = 1.0):
        super().__init__()

    def sample(self, n):
        return n
"""


def test_every_slot_has_names_in_order():
    for slot in SLOTS:
        assert vaezoo.names(slot) == sorted(vaezoo.names(slot)) != []
        assert len(registry(slot)) == len(vaezoo.names(slot))


def test_every_plugin_of_the_package_has_a_docstring():
    for slot in SLOTS:
        for plugin in registry(slot).values():
            assert plugin.summary or not plugin.module.startswith("vaezoo."), f"{slot}/{plugin.name}"
            assert (plugin.slot, registry(slot)[plugin.name]) == (slot, plugin)


@pytest.mark.parametrize("slot", ["posterior", "prior", "objective", "variant"])
def test_every_row_of_the_zoo_names_its_paper(slot):
    own = [plugin for plugin in registry(slot).values() if plugin.module.startswith("vaezoo.")]
    assert [plugin.name for plugin in own if not plugin.paper] == []


def test_a_decorator_gives_back_what_it_was_given(own_registry):
    variant = Variant("mine", prior=("mixture", {"components": 3}))
    assert own_registry.variant(variant) is variant
    assert registry("variant")["mine"].target is variant

    def count(model, images, context):
        return {"count": 1}

    assert own_registry.metric("count")(count) is count
    assert registry("metric")["count"].place.endswith(f"{__file__}:{count.__code__.co_firstlineno + 3}")


@pytest.mark.parametrize("choice", [3, ("mixture", 3), ("mixture",), {"name": "mixture"}])
def test_a_variant_refuses_a_slot_of_another_type(choice):
    """One that is registered would make the check of every other plugin fail."""
    said = rf"^variant 'bad': prior must be a name or \(name, \{{hyper-parameters\}}\), got {re.escape(repr(choice))}$"
    with pytest.raises(VaezooError, match=said):
        register.variant(Variant("bad", prior=choice))
    assert "bad" not in registry("variant")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Trains on one\n    image. Slow.", "Trains on one image."),
        ("p(z) = q_1 .. Q, see N.\n\n    And more.", "p(z) = q_1 .. Q, see N."),
        ("Digits of 17 levels, at 0.5\n", "Digits of 17 levels, at 0.5"),
        ("", ""),
    ],
)
def test_the_first_sentence_is_whole_over_line_breaks(text, sentence):
    assert first_sentence(text) == sentence


def test_an_unknown_name_has_its_near_misses():
    own = Register()
    for name in ("straight", "curved"):
        own.prior(name)(object)
    with pytest.raises(VaezooError, match=r"^prior 'straigh' is unknown; did you mean 'straight'\?$"):
        own.registries["prior"]["straigh"]
    with pytest.raises(VaezooError, match=r"^prior 'zzzzz' is unknown; there are: curved, straight$"):
        own.registries["prior"]["zzzzz"]
    with pytest.raises(VaezooError, match=r"slot 'pior' is unknown; did you mean 'prior' or 'posterior'\?"):
        vaezoo.names("pior")
    assert "straigh" not in own.registries["prior"]
    assert own.registries["prior"].get("curved").name == "curved"


def test_a_bare_name_is_found_where_one_slot_has_it(own_registry):
    own_registry.prior("qqq-alone")(object)
    own_registry.prior("qqq-shared")(object)
    own_registry.objective("qqq-shared")(object)
    own_registry.variant(Variant("qqq-both"))
    own_registry.prior("qqq-both")(object)
    assert find("qqq-alone").slot == "prior"
    assert find("prior/qqq-shared").slot == "prior"
    assert find("qqq-both").slot == "variant"  # which a command line means first
    said = r"'qqq-shared' is a name in several slots; use prior/qqq-shared or objective/qqq-shared"
    with pytest.raises(VaezooError, match=said):
        find("qqq-shared")
    for name in ("prior", "priors", "prior/"):
        said = rf"^'{name}' is a slot; `vaezoo list prior` lists its plugins, whose names are prior/NAME$"
        with pytest.raises(VaezooError, match=said):
            find(name)
    with pytest.raises(VaezooError, match=r"name 'qqq-alon' is unknown; did you mean 'qqq-alone'"):
        find("qqq-alon")


def test_a_file_is_a_plugin(own_registry, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(PRIOR.format(name="mine"))
    own_registry.load_file(path)
    plugin = registry("prior")["mine"]
    assert (plugin.paper, plugin.summary, plugin.place) == ("Me (2026)", "The first line.", f"{path}:4")
    assert list(plugin.builder_arguments) == ["latent"]
    assert plugin.hyperparameters["scale"].default == 1.0
    own_registry.load_file(tmp_path / "." / "mine.py")  # once
    assert own_registry.unavailable == []


def test_two_files_of_one_name_are_two_plugins(own_registry, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(PRIOR.format(name=f"mine-{folder}"))
        own_registry.load_file(tmp_path / folder / "mine.py")
    assert {"mine-a", "mine-b"} <= set(registry("prior"))


def test_a_missing_file_is_an_error(own_registry, tmp_path):
    with pytest.raises(VaezooError, match=r"^plugin file .*/mine\.py does not exist$"):
        own_registry.load_file(tmp_path / "mine.py")


def test_a_name_that_is_taken_is_refused_naming_both_places(own_registry, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(PRIOR.format(name="normal"))
    file = re.escape(str(path))
    with pytest.raises(
        VaezooError,
        match=rf"^plugin file {file} could not be imported: VaezooError: prior 'normal' is registered twice: "
        rf"vaezoo/priors/normal\.py:\d+ and {file}:4; rename one of them$",
    ):
        own_registry.load_file(path)
    assert registry("prior")["normal"].module == "vaezoo.priors.normal"


def test_a_name_may_stand_in_two_slots(own_registry):
    own_registry.objective("normal")(lambda: None)
    assert "normal" in registry("objective")


def test_what_fails_half_way_is_taken_back(own_registry, tmp_path):
    half, other = tmp_path / "half.py", tmp_path / "other.py"
    before = {slot: list(registry(slot)) for slot in SLOTS}
    half.write_text(
        PRIOR.format(name="half")
        + "\nvaezoo.register.variant(vaezoo.Variant('half', prior='half'))\nimport no_such_module\n"
    )
    other.write_text(PRIOR.format(name="other"))
    for _ in range(2):  # it is an error each time
        with pytest.raises(VaezooError, match=r"half\.py could not be imported: ModuleNotFoundError: No module named"):
            own_registry.load_file(half)
    own_registry.load_file(other)
    assert own_registry.unavailable == []
    before["prior"] = sorted([*before["prior"], "other"])
    assert {slot: list(registry(slot)) for slot in SLOTS} == before
    with pytest.raises(VaezooError, match=r"prior 'half' is unknown; "):
        registry("prior")["half"]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def (", r"SyntaxError: .*"),
        ("raise ValueError('first line\\nsecond line')", r"ValueError: first line"),
        ("assert False", r"AssertionError: ?"),
        ("import vaezoo\nvaezoo.register.pior('x')", r"AttributeError: .*'pior'.*"),
    ],
)
def test_whatever_a_file_raises_is_its_reason_in_one_line(own_registry, tmp_path, source, reason):
    (tmp_path / "mine.py").write_text(source)
    with pytest.raises(VaezooError, match=rf"mine\.py could not be imported: {reason}$"):
        own_registry.load_file(tmp_path / "mine.py")


def test_a_notebook_may_define_a_name_again(own_registry):
    """A cell that is run again replaces what it had registered."""
    scope = {"__name__": "__main__", "register": own_registry}
    for _ in range(2):
        exec("@register.metric('mine')\ndef mine(model, images, context):\n    return {}", scope)
    assert registry("metric")["mine"].target is scope["mine"]


FAILING = """
import vaezoo
from vaezoo.objectives.elbo import ELBO
from whole_package import anything

@vaezoo.register.decoder("half")
class Half(vaezoo.Decoder):
    def forward(self, z):
        return z

class Mine(ELBO):
    pass

vaezoo.register.objective("half")(Mine)
raise SystemExit("not a plugin")
"""


def test_what_a_failing_file_was_the_first_to_import_stays(tmp_path):
    """In a process that has not looked at any slot: vaezoo's own parts, and what other packages register meanwhile."""
    (tmp_path / "failing.py").write_text(FAILING)
    (tmp_path / "whole_package.py").write_text("anything = None\n")
    (tmp_path / "other_package.py").write_text(PRIOR.format(name="other"))
    facts = tmp_path / "other-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[vaezoo.plugins]\nother = other_package\n")
    code = """
import vaezoo
try:
    vaezoo.register.load_file("failing.py")
except vaezoo.VaezooError as error:
    reason = str(error).partition(": ")[2]
print(vaezoo.names("decoder"), vaezoo.names("objective"), vaezoo.names("prior"))
print(reason, vaezoo.register.unavailable)
"""
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        check=True,
    )
    expected = [vaezoo.names(slot) for slot in ("decoder", "objective", "prior")]
    expected[2] = sorted([*expected[2], "other"])
    assert ended.stdout.splitlines() == [" ".join(map(str, expected)), "SystemExit: not a plugin []"]


def test_registries_are_apart():
    """A second Register shares nothing with the package's own."""
    own = Register()
    own.registries["metric"]._plugins["only-here"] = None
    assert "only-here" not in register.registries["metric"]._plugins


def test_a_slot_is_not_imported_before_it_is_asked_for():
    code = "import sys, vaezoo\nvaezoo.names('variant')\nprint('vaezoo.priors.normal' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "False\n"


# --- the modules beside a plugin file


def folder_of(tmp_path, name, **files):
    """A folder with these modules."""
    folder = tmp_path / name
    folder.mkdir()
    for stem, source in files.items():
        (folder / f"{stem}.py").write_text(source)
    return folder


def test_each_file_imports_the_modules_beside_it(own_registry, tmp_path):
    """Two folders have modules of one name, which is also that of a module that is imported from elsewhere."""
    import statistics

    before, path = set(sys.modules), list(sys.path)
    for name in ("a", "b"):
        mine = (
            f"import vaezoo, statistics\nfrom statistics import scale as same\nvaezoo.register.prior('{name}')(same)\n"
        )
        folder = folder_of(tmp_path, name, mine=mine, statistics=f"import deeper\nscale = deeper.{name}\n")
        (folder / "deeper.py").write_text(f"class {name}: ...\n")
        own_registry.load_file(folder / "mine.py")
    assert [registry("prior")[name].target.__name__ for name in ("a", "b")] == ["a", "b"]
    assert sys.modules["statistics"] is statistics
    assert statistics.mean([1, 3]) == 2
    assert sys.path == path
    assert all(name.startswith("vaezoo_plugin_") for name in set(sys.modules) - before)
    with pytest.raises(ModuleNotFoundError):
        import deeper  # noqa: F401


def test_other_modules_do_not_see_the_folder(own_registry, tmp_path, monkeypatch):
    """What a plugin file is the first to import finds the standard library, not the plugin's neighbour of that name."""
    library = folder_of(tmp_path, "library", a_library="import colorsys\nvalue = colorsys.rgb_to_hls\n")
    monkeypatch.syspath_prepend(str(library))
    for name in ("colorsys", "a_library"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    folder = folder_of(
        tmp_path, "mine", colorsys="own = 1\n", mine="import a_library, colorsys\nassert colorsys.own == 1"
    )
    own_registry.load_file(folder / "mine.py")
    assert sys.modules["a_library"].value is sys.modules["colorsys"].rgb_to_hls
    del sys.modules["colorsys"], sys.modules["a_library"]


def test_files_of_one_folder_share_their_neighbours(own_registry, tmp_path):
    shared = PRIOR.format(name="shared")
    folder = folder_of(tmp_path, "mine", shared=shared, first="import shared", second="import shared, first")
    own_registry.load_file(folder / "first.py")
    own_registry.load_file(folder / "second.py")
    own_registry.load_file(folder / "shared.py")  # has run already
    plugin = registry("prior")["shared"]
    assert plugin.place == f"{folder / 'shared.py'}:4"
    assert plugin.module == own_registry.files[folder / "shared.py"]
    assert sys.modules[plugin.module].__dict__["Mine"] is plugin.target


def test_a_package_beside_a_file_imports_its_own_modules(own_registry, tmp_path):
    folder = folder_of(
        tmp_path, "mine", beside="VALUE = 'beside'", mine="import pack.inner\nfrom pack import VALUE, more"
    )
    folder_of(folder, "pack", __init__="from .inner import VALUE", inner="from beside import VALUE", more="")
    own_registry.load_file(folder / "mine.py")
    module = sys.modules[own_registry.files[folder / "mine.py"]]
    assert (module.VALUE, module.pack.inner.VALUE) == ("beside", "beside")
    assert module.more is module.pack.more


def test_vaezoo_is_always_the_running_one(own_registry, tmp_path):
    """A plugin file may lie beside another copy of vaezoo, and in a folder that is on the path anyway."""
    folder = folder_of(tmp_path, "mine", mine="import vaezoo\nREGISTER = vaezoo.register\n")
    folder_of(folder, "vaezoo", __init__="raise AssertionError")
    own_registry.load_file(folder / "mine.py")
    assert sys.modules[own_registry.files[folder / "mine.py"]].REGISTER is own_registry


def test_a_neighbour_that_everyone_imports_is_imported_as_usual(own_registry, tmp_path, monkeypatch):
    folder = folder_of(tmp_path, "mine", mine="import t_everyones\n", t_everyones="")
    monkeypatch.syspath_prepend(str(folder))
    import t_everyones

    own_registry.load_file(folder / "mine.py")
    assert sys.modules[own_registry.files[folder / "mine.py"]].t_everyones is t_everyones
    del sys.modules["t_everyones"]


def test_neighbours_of_a_file_that_fails_are_taken_back(own_registry, tmp_path):
    folder = folder_of(
        tmp_path, "mine", helper=PRIOR.format(name="helped"), mine="import helper\nraise KeyError('why')"
    )
    for _ in range(2):
        with pytest.raises(VaezooError, match=r"mine\.py could not be imported: KeyError: 'why'$"):
            own_registry.load_file(folder / "mine.py")
    assert "helped" not in registry("prior")
    assert own_registry.files == {}
    (folder / "mine.py").write_text("import helper\n")
    own_registry.load_file(folder / "mine.py")
    assert "helped" in registry("prior")
