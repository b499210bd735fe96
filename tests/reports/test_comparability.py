"""Rows that cannot be compared are not ranked, and the table says why: on a run, and on frames made by hand."""

import io
import re

import pandas
import pytest
from rich.console import Console

from vaezoo.core.columns import MUST_AGREE
from vaezoo.core.errors import VaezooError
from vaezoo.reports.tables import tables
from vaezoo.runner.results import read_results
from vaezoo.runner.store import Store

PSEUDO = "pseudo-likelihood (a density of other values than these images): not ranked"
QUALITY = {"iwll", "elbo", "bits_per_dim"}


@pytest.fixture(scope="session")
def mixed(tmp_path_factory, shell, matrix_file):
    """Four rows on gray and on binary digits: two alike, one with a Bernoulli on gray pixels, one with another K."""
    here = tmp_path_factory.mktemp("mixed")
    rows = [
        {"name": "vae", "label": "plain"},
        {"name": "beta-vae", "label": "beta", "objective": {"beta": 8}},
        {"name": "vae", "label": "coins", "likelihood": "bernoulli", "model": {"allow_pseudo_likelihood": True}},
        {"name": "vae", "label": "more samples", "evaluate": {"importance_samples": 9}},
    ]
    evaluate = {"importance_samples": 5, "throughput": False, "metrics": ["kl-per-dimension", "aggregate-kl"]}
    path = matrix_file(here / "mixed.toml", rows, datasets=["digits", "digits-binary"], seeds=1, evaluate=evaluate)
    done = shell("run", path.name, "--jobs", "1", "--device", "cpu", cwd=here)
    assert done.code == 0, done.err
    return here / "results" / "mixed", done.out


def by_label(table):
    return {row.label: row for row in table.rows}


def ranked(table):
    return {row.label for row in table.ranking.ranked}


def best(table, column):
    return {row.label for row, name in table.ranking.bold if name == column}


def best_in(table, row):
    """The columns of quality in which a row is best."""
    return {name for each, name in table.ranking.bold if each is row} & QUALITY


def printed(table, width=250):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(table.terminal())
    return console.file.getvalue()


def letter(table, remark):
    """The mark of a remark."""
    (note,) = (note for note in table.notes if note.endswith(remark))
    return note.split()[0]


def test_a_pseudo_likelihood_is_marked_wherever_it_appears(mixed):
    folder, output = mixed
    frame = read_results(folder)
    assert set(frame.status) == {"ok"}
    gray = frame[frame.dataset == "digits"].set_index("label")
    assert gray.pseudo_likelihood.to_dict() == {"plain": False, "beta": False, "coins": True, "more samples": False}
    assert not frame[
        frame.dataset == "digits-binary"
    ].pseudo_likelihood.any()  # a Bernoulli is the likelihood of binary pixels

    table = tables(frame)[0]
    assert {"kl, largest dimension (nats)", "mutual information (nats)"} <= set(table.sheets[0].headings)
    row = by_label(table)["coins"]
    assert PSEUDO in table.remarks[row]
    assert row not in table.ranking.ranked
    assert not best_in(table, row)
    mark = letter(table, PSEUDO)
    assert [other for other in table.rows if mark in table.marks(other)] == [row]

    written = {ending: (folder / "tables" / f"digits.{ending}").read_text() for ending in ("md", "tex", "csv")}
    for text in (written["md"], written["tex"], printed(table), printed(table, 60), output):
        flat = " ".join(text.split())
        assert "pseudo-likelihood (a density of other values than these images): not ranked" in flat
    for text in (written["md"], printed(table)):
        line = next(line for line in text.splitlines() if "coins" in line)
        assert mark in line
    lines = [line for line in output.splitlines() if "coins" in line and "digits-binary" not in line]
    assert re.search(r"coins on digits, seed 0 .* iwll -?[\d.]+ \(pseudo-likelihood\)$", lines[0])
    assert mark in lines[1]
    assert output.count("(pseudo-likelihood)") == 1
    line = next(line for line in written["tex"].splitlines() if line.startswith("coins"))
    assert "{[}" + mark[1:-1] + "{]}" in line
    stored = pandas.read_csv(io.StringIO(written["csv"])).set_index("label")
    assert stored.pseudo_likelihood.to_dict() == gray.pseudo_likelihood.to_dict()
    assert not stored.loc["coins", "ranked"]
    assert "best on digits: coins" not in output
    assert "pseudo" not in (folder / "tables" / "digits-binary.md").read_text()


def test_a_narrow_terminal_says_which_row_is_a_pseudo_likelihood(mixed):
    table = tables(read_results(mixed[0]))[0]
    mark = letter(table, PSEUDO)
    lines = [line for line in printed(table, 60).splitlines() if "coins" in line]
    assert lines
    assert all(mark in line for line in lines)


def test_another_number_of_samples_is_not_ranked_by_iwll(mixed):
    table = tables(read_results(mixed[0]))[1]
    row = by_label(table)["more samples"]
    assert "iwll not ranked: importance_samples is 9, the ranked rows have 5" in table.remarks[row]
    assert ranked(table) == {"plain", "beta", "coins"}
    assert best(table, "iwll") <= {"plain", "beta", "coins"}
    assert best(table, "iwll")
    assert best(table, "bits_per_dim") <= {"plain", "beta", "coins"}


def test_every_record_says_what_was_measured(mixed):
    folder, _ = mixed
    store = Store(folder)
    for cell in store.plan().cells:
        record = store.record("cells", cell.stem)
        facts = record.comparability.to_json()
        assert {*MUST_AGREE["estimate"], "pseudo_likelihood"} - {"context_checksum"} <= set(facts)
        assert len(record.vectors["kl_per_dimension"][0]) == 2
        assert set(record.notes) == {"pareto_k"}  # of too few samples
        assert record.warnings == ()
        gray = cell.dataset == "digits"
        assert (facts["measure"], facts["binarisation"]) == (("discrete", "none") if gray else ("binary", "threshold"))
        assert len(facts["checksum"]) == 64
        assert (facts["split"], facts["estimator"], facts["conditional"]) == ("test", "iwll", False)


def joined(frame):
    """All rows under the name of one data set, as of a reader who takes two sets of images for one."""
    frame = frame.assign(label=frame.label + " on " + frame.dataset)
    return frame.assign(dataset="digits")


def test_two_sets_of_images_under_one_name_are_not_ranked_together(mixed):
    (table,) = tables(joined(read_results(mixed[0])))
    rows = by_label(table)
    assert len({label.split(" on ")[1] for label in ranked(table)}) == 1
    chosen = next(iter(ranked(table))).split(" on ")[1]
    other = "digits" if chosen == "digits-binary" else "digits-binary"
    for label in ("plain", "beta"):
        row = rows[f"{label} on {other}"]
        assert not best_in(table, row)
        (why,) = (remark for remark in table.remarks[row] if "checksum" in remark)
        assert why.startswith("not ranked: checksum is ")
        assert "binarisation is " in why
        assert "measure is " in why
    assert PSEUDO in table.remarks[rows["coins on digits"]]


def test_concatenated_frames_keep_their_datasets_apart(mixed):
    frame = read_results(mixed[0])
    parts = [part for _, part in frame.groupby("dataset")]
    parts[0].attrs = {"name": "one"}
    together = pandas.concat(parts)
    assert [table.dataset for table in tables(together)] == ["digits", "digits-binary"]
    with pytest.raises(VaezooError, match="is there twice; give each row of results its own label"):
        tables(pandas.concat([frame, frame]))


def test_a_frame_from_csv_is_ranked_as_before(mixed):
    frame = read_results(mixed[0])
    again = pandas.read_csv(io.StringIO(frame.to_csv(index=False)))
    again["pseudo_likelihood"] = again["pseudo_likelihood"].astype(str)  # as other tools write them
    for one, other in zip(tables(frame), tables(again), strict=True):
        assert ranked(one) == ranked(other)
        assert [row.pseudo_likelihood for row in one.rows] == [row.pseudo_likelihood for row in other.rows]


MNIST = {
    "mnist": {"binarisation": "threshold", "checksum": "a" * 64},
    "mnist-dynamic": {"binarisation": "dynamic", "checksum": "b" * 64},
}


def mnist_rows(dataset, label, iwll, facts):
    measured = {"measure": "binary", "split": "test", "images": 10000, "conditional": False, "estimator": "iwll"}
    measured |= {"importance_samples": 5000, "pseudo_likelihood": False, **facts}
    return [
        {"label": label, "dataset": dataset, "seed": seed, "status": "ok", "iwll": iwll, "elbo": iwll - 4, **measured}
        for seed in range(3)
    ]


def mnist_frame(facts):
    rows = []
    for dataset, shift in (("mnist", 3.0), ("mnist-dynamic", 0.0)):
        rows += mnist_rows(dataset, f"a {dataset}", -86.0 + shift, facts[dataset])
        rows += mnist_rows(dataset, f"b {dataset}", -87.0 + shift, facts[dataset])
    rows += mnist_rows("mnist-dynamic", "c mnist-dynamic", -85.5, facts["mnist-dynamic"])
    return pandas.DataFrame(rows)


def test_static_and_dynamic_mnist_are_two_tables():
    static, dynamic = tables(mnist_frame(MNIST))
    assert (static.dataset, dynamic.dataset) == ("mnist", "mnist-dynamic")
    assert best(static, "iwll") == {"a mnist"}
    assert best(dynamic, "iwll") == {"c mnist-dynamic"}
    assert not static.notes + dynamic.notes


def check_one_table(facts):
    """With both under one name the static rows, though nats better, are not ranked, and each says why."""
    (table,) = tables(mnist_frame(facts).assign(dataset="mnist"))
    assert best(table, "iwll") == best(table, "elbo") == {"c mnist-dynamic"}
    for row in table.rows:
        if row.label.endswith(" mnist"):
            (why,) = table.remarks[row]
            assert why.startswith("not ranked: checksum is ")
            assert "binarisation is " in why
            assert table.marks(row) == ["[a]"]
    text = " ".join(printed(table).split())
    assert "[a] not ranked: checksum is " in text
    assert "the ranked rows have dynamic" in text


def test_static_and_dynamic_mnist_in_one_table_are_not_ranked_together():
    check_one_table(MNIST)


@pytest.mark.data
def test_the_plan_tells_static_and_dynamic_mnist_apart():
    from vaezoo.api import plan_of

    plan, _ = plan_of(
        {"datasets": ["mnist", "mnist-dynamic"], "model": {"hidden": [4]}, "variants": [{"name": "vae"}]}, device="cpu"
    )
    facts = {cell.dataset: cell.comparability for cell in plan.cells}
    assert facts["mnist"].checksum != facts["mnist-dynamic"].checksum
    assert facts["mnist"].binarisation != facts["mnist-dynamic"].binarisation
    check_one_table({name: {key: getattr(facts[name], key) for key in MUST_AGREE["estimate"]} for name in MNIST})


def test_seeds_of_which_one_is_a_pseudo_likelihood_are_not_ranked():
    rows = mnist_rows("mnist", "odd", -10.0, MNIST["mnist"])
    rows[1]["pseudo_likelihood"] = True
    rows += mnist_rows("mnist", "a", -86.0, MNIST["mnist"]) + mnist_rows("mnist", "b", -87.0, MNIST["mnist"])
    (table,) = tables(pandas.DataFrame(rows))
    assert best(table, "iwll") == {"a"}
    assert PSEUDO in table.remarks[by_label(table)["odd"]]
