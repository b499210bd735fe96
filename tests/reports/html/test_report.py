"""`vaezoo report` writes one page: all sections, no markup from names, the same bytes twice, nothing from outside."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from folders import a_record, rows, timing, write
from result_folders import HOSTILE, a_cell_with_all, whole

from vaezoo.core.visible_text import visible
from vaezoo.reports.html.folders import read_folders
from vaezoo.reports.html.page import script_data
from vaezoo.reports.html.report import report
from vaezoo.reports.tables import tables
from vaezoo.runner.store import Store

VOID = {"meta", "link", "img", "input", "br", "hr"}
ELEMENTS = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "style",
        "script",
        "body",
        "header",
        "nav",
        "main",
        "section",
        "footer",
        "article",
    ),
    *("h1", "h2", "h3", "h4", "p", "a", "div", "span", "strong", "code", "pre", "i", "img", "figure", "figcaption"),
    *("ol", "ul", "li", "dl", "dt", "dd", "table", "caption", "thead", "tbody", "tr", "th", "td", "noscript"),
    *("details", "summary", "fieldset", "legend", "label", "input", "select", "option", "button"),
}


class Page(HTMLParser):
    """The elements of a page, the text of each kind of element, and its anchors; every element must be closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.ids, self.links, self.texts, self.scripts = [], set(), [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.seen.add(tag)
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given["href"]] if "href" in given else []
        assert not [name for name in given if name.startswith("on")]
        if tag == "script":
            self.scripts.append((given, ""))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
        elif self.open and self.open[-1] != "style":
            self.texts.append(data)

    def data(self, place="d0"):
        return next(json.loads(text) for given, text in self.scripts if given.get("id") == f"{place}-data")


def replanned(folder, **changes):
    """The folder with a changed plan."""
    store = Store(folder)
    store.write_plan(replace(store.plan(), **changes))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return whole(tmp_path_factory.mktemp("report") / "made")


@pytest.fixture(scope="module")
def page(folder):
    return Page(report([folder]))


def test_the_page_has_every_section(page):
    wanted = ["leaderboard", "speed", "learning", "latent", "estimator", "pictures", "rows"]
    assert {*(f"d0-{name}" for name in wanted), "failures", "provenance"} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links} <= set(page.ids)  # no link leads out of the page or nowhere
    drawn = page.data()["drawn"]
    assert all(drawn[name]["d0-0"] for name in ("curves", "kl", "units", "iwll"))


def test_the_command_line_writes_the_same_bytes_twice(shell, folder, tmp_path):
    done = shell("report", folder)
    assert (done.code, done.err) == (0, "")
    first = (folder / "report.html").read_bytes()
    assert f"report: {folder / 'report.html'}" in done.out
    assert shell("report", folder, "--out", tmp_path / "again.html").code == 0
    assert (tmp_path / "again.html").read_bytes() == first
    assert len(first) < 1_000_000


def test_no_name_is_markup(tmp_path):
    records = [a_cell_with_all(text, seed, -80.0, dataset=HOSTILE[1]) for text in HOSTILE for seed in range(2)]
    records.append(a_record(HOSTILE[0], 2, {}, status="failed", reason=HOSTILE[1], dataset=HOSTILE[1]))
    text = report([write(tmp_path / "hostile", records)])
    page = Page(text)
    assert page.seen <= ELEMENTS
    assert sum(given.get("type") != "application/json" for given, _ in page.scripts) == 2  # the page's own two
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202a-\u202e\ud800-\udfff]", text)
    shown = "".join(page.texts)
    assert all(visible(name) in shown for name in HOSTILE)
    assert list(page.data()["labels"].values()) == [
        visible(name) for name in dict.fromkeys(page.data()["labels"].values())
    ]
    csv = page.data()["csv"]["rows"]
    assert {row[0] for row in csv.values()} >= {"'=HYPERLINK(1)"}
    assert "{{ 7*7 }}" in shown  # a label is no template


@pytest.mark.parametrize("text", HOSTILE)
def test_script_data_cannot_end_its_element_and_reads_back(text):
    written = str(script_data({"label": text, text: [float("nan"), 1.5]}))
    assert not set(written) & set("<>&\u2028\u2029\n")
    assert json.loads(written) == {"label": visible(text), visible(text): [None, 1.5]}


def test_a_label_of_two_folders_begins_with_its_folder_and_ranks_only_what_was_measured_alike(tmp_path):
    one = write(tmp_path / "one", [a_cell_with_all("vae", seed, -80.0) for seed in range(3)])
    other = [a_cell_with_all("vae", seed, -81.0) for seed in range(3)]
    more = [a_cell_with_all("iwae", seed, -70.0, importance_samples=7) for seed in range(3)]
    two = write(tmp_path / "two", [*other, *more])
    data = Page(report([one, two])).data()
    assert sorted(data["labels"].values()) == ["iwae", "one: vae", "two: vae"]
    competes = {data["labels"][place]: found for place, found in data["competes"].items()}
    assert competes == {"one: vae": True, "two: vae": True, "iwae": False}


REFERENCE = {"label": "a paper", "dataset": "digits", "iwll": -79.0}


def test_what_is_copied_has_the_references_and_every_mark_its_note(tmp_path):
    records = [*rows("vae", [-80.0, -80.1]), a_record("broken", 0, {}, status="failed", reason="a_b")]
    folder = replanned(write(tmp_path / "made", records), references=(REFERENCE, REFERENCE | {"row": "vae"}))
    data = Page(report([folder])).data()
    latex = data["latex"]
    for place, texts in latex["rows"].items():
        assert len(texts) == len(latex["headings"])
        noted = [latex["notes"][n].removeprefix(r"\noindent ").split()[0] for n in latex["noted"][place]]
        assert texts[-1].split() == noted
    assert [latex["rows"][place][0] for place in ("d0-ref0", "d0-ref1")] == ["a paper", "a paper"]
    assert set(data["csv"]["rows"]) == set(latex["rows"])
    assert any(r"a\_b" in note for note in latex["notes"])


def test_searches_of_two_folders_stay_apart(tmp_path):
    folders = []
    for name, worse in (("one", 0.0), ("two", 2.0)):
        made = [a_cell_with_all(f"{name}{n}", seed, -80.0 - n - worse) for n in range(2) for seed in range(2)]
        folder = write(tmp_path / name, made)
        plan = Store(folder).plan()
        folders.append(replanned(folder, cells=tuple(replace(cell, search="variants[1]") for cell in plan.cells)))
    (table,) = tables(read_folders(folders).frame)
    ranked = [row.label for row in table.rows if row in table.ranking.ranked]
    assert ranked == ["one0", "two0"]
    assert sum("chosen of 2 rows searched" in note for note in table.notes) == 2


def test_a_reference_stays_with_the_rows_of_its_folder(tmp_path):
    folders = [
        replanned(
            write(tmp_path / name, [record for label in labels for record in rows(label, [-80.0, -80.1])]),
            references=(REFERENCE | {"row": row},),
        )
        for name, labels, row in (("A", ("vae", "x"), "vae"), ("B", ("vae", "y"), "x"))  # y was called x
    ]
    (table,) = tables(read_folders(folders).frame)
    assert [line.texts[0] for line in table.sheets[1].lines] == ["A: vae"]
    assert {row.label for row in table.rows if not row.reference} == {"A: vae", "A: x", "B: vae", "y"}
    assert any("about the row 'B: x', which is not in this table" in note for note in table.notes)


def test_a_label_that_begins_with_the_other_folder_is_no_clash(tmp_path):
    one = write(tmp_path / "C", [*rows("vae", [-80.0]), *rows("D: vae", [-81.0])])
    two = write(tmp_path / "D", rows("vae", [-82.0]))
    found = read_folders([one, two])
    assert {(label, source.title, source.label) for (_, label), source in found.sources.items()} == {
        ("C:: vae", "C", "vae"),
        ("D: vae", "C", "D: vae"),
        ("D:: vae", "D", "vae"),
    }


@pytest.mark.parametrize("command", ["report", "tables", "effects"])
def test_a_plan_without_cells_is_one_line(shell, tmp_path, command):
    folder = replanned(write(tmp_path / "none", rows("vae", [-80.0])), cells=())
    done = shell(command, folder)
    assert done.code == 2
    assert f"{folder} holds no cells: its plan has no rows" in done.err
    assert done.err.count("\n") == 1


def test_errors_are_one_line(shell, folder, tmp_path):
    for words, said in (
        ([tmp_path / "nowhere"], "holds no results"),
        ([folder, folder], "a results folder is named twice; name each of them once"),
    ):
        done = shell("report", *words)
        assert done.code == 2
        assert said in done.err
        assert done.err.count("\n") == 1


def test_one_row_and_no_row(tmp_path):
    alone = Page(report([write(tmp_path / "one", [a_record("vae", 0, {"iwll": -80.0})])]))
    assert "No ranking" in alone.texts
    assert "d0-learning" not in alone.ids  # there is no history
    cell, record = a_record("vae", 0, {"iwll": -80.0})
    nothing = write(tmp_path / "none", [(cell, record)], missing=("vae",))
    assert "Nothing has been measured on this data set yet." in Page(report([nothing])).texts


def test_what_was_not_measured_says_how(tmp_path):
    text = report([write(tmp_path / "bare", [a_record("vae", 0, {"iwll": -80.0}), timing("vae", 900.0)])])
    for metric in ("kl-per-dimension", "active-unit-vector", "ais", "iwll-curve"):
        assert f"metrics = [&#34;{metric}&#34;]" in text or f'metrics = ["{metric}"]' in text
