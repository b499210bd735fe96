"""Two results folders are compared: planted losses are found, noise is not, what cannot be compared is said."""

import numpy
import pytest
from folders import a_record, rows, timing, write
from scipy import stats

import vaezoo
from vaezoo.core.columns import QUALITY, Column
from vaezoo.core.errors import VaezooError
from vaezoo.reports.changes import Change, quality_changes
from vaezoo.reports.changes import judged as with_verdicts
from vaezoo.reports.compare import compare
from vaezoo.reports.pairs import Folder, Measured, Pair
from vaezoo.reports.statistics import holm, over_images, over_seeds, summarise
from vaezoo.runner.store import Store

VALUES = [-86.5, -86.3, -86.1, -86.4]


@pytest.fixture
def compared(tmp_path):
    """Compares two folders of records: `compared(records, records)`."""

    def make(before, after, *, images=({}, {}), **options):
        a, b = write(tmp_path / "a", before, images[0]), write(tmp_path / "b", after, images[1])
        return vaezoo.compare(a, b, **options)

    return make


def only(comparison, column="iwll"):
    (change,) = (change for change in comparison.changes if change.column.name == column)
    return change


def test_overflow_makes_an_interval_infinite():
    for values in ([1e300, -1e300, 3.0], [1.7e308, 1.7e308]):
        found = over_seeds(values)
        assert (found.low, found.high, found.p) == (-numpy.inf, numpy.inf, 1.0)
        assert over_images(numpy.array(values)) == found
    assert summarise([1e300, -1e300, 3.0]).high == numpy.inf


# The statistics


def test_the_interval_over_seeds_is_students():
    differences = [0.1, -0.4, -0.2, -0.35]
    found = over_seeds(differences)
    low, high = stats.t.interval(0.95, 3, numpy.mean(differences), stats.sem(differences))
    assert (found.mean, found.low, found.high) == pytest.approx((numpy.mean(differences), low, high))
    assert found.p == pytest.approx(stats.ttest_1samp(differences, 0).pvalue)
    two = over_seeds([-0.1, -0.3])
    assert two.p == pytest.approx(stats.ttest_1samp([-0.1, -0.3], 0).pvalue)


def test_equal_differences_have_an_interval_of_no_width():
    found = over_seeds([-0.5, -0.5])
    assert (found.mean, found.low, found.high, found.p) == (-0.5, -0.5, -0.5, 0.0)
    assert over_seeds([0.0, 0.0]).p == 1.0
    assert over_images(numpy.full(5, 0.25)).low == 0.25


def test_the_interval_over_images_is_scipys_bca_and_always_the_same():
    values = numpy.random.default_rng(3).exponential(size=60)
    found = over_images(values)
    wanted = stats.bootstrap((values,), numpy.mean, n_resamples=20000, random_state=numpy.random.default_rng(1))
    assert (found.low, found.high) == pytest.approx(tuple(wanted.confidence_interval), abs=0.03)
    assert found == over_images(values)


def test_holms_correction():
    p = [0.01, 0.04, 0.03, 0.005]
    assert holm(p) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def in_memory(values):
    """A folder without files: (label, seed) -> iwll."""
    keys = {(label, "vae", "digits", seed): value for (label, seed), value in values.items()}
    cells = {key: Measured(key, "", "ok", None, {"iwll": v}, frozenset(), {}, None) for key, v in keys.items()}
    return Folder(Store("nowhere"), cells, {}, QUALITY)


def judged(before, after):
    old, new = in_memory(before), in_memory(after)
    pairs = [Pair(cell, new.cells[key]) for key, cell in old.cells.items()]
    return quality_changes(pairs, [QUALITY[0]], old, new)


@pytest.mark.parametrize(("seeds", "count"), [(3, 1), (4, 6)])
def test_noise_is_a_loss_or_a_gain_in_about_five_of_a_hundred_comparisons(seeds, count):
    """Holm's correction holds the share over all rows together."""
    random, wrong = numpy.random.default_rng(0), 0
    for _ in range(200):
        keys = [(str(row), seed) for row in range(count) for seed in range(seeds)]
        before, after = (dict(zip(keys, -86 + random.normal(size=len(keys)), strict=True)) for _ in range(2))
        wrong += any(change.verdict in ("loss", "gain") for change in judged(before, after))
    assert 2 <= wrong <= 20


def test_a_planted_loss_is_found_among_rows_of_noise():
    random = numpy.random.default_rng(0)
    keys = [(str(row), seed) for row in range(5) for seed in range(5)]
    before = {key: -86 + 0.05 * random.normal() for key in keys}
    after = {key: before[key] + 0.05 * random.normal() - (key[0] == "3") for key in keys}
    assert [change.label for change in judged(before, after) if change.verdict == "loss"] == ["3"]
    assert [change.label for change in judged(after, before) if change.verdict == "gain"] == ["3"]


def test_what_is_significant_alone_may_be_none_among_many():
    shifts = [-0.9, -1.0, -1.5]
    before = {("planted", seed): 0.0 for seed in range(3)}
    after = {("planted", seed): shift for seed, shift in enumerate(shifts)}
    assert [c.verdict for c in judged(before, after)] == ["loss"]
    others = {(str(row), seed): 0.0 for row in range(9) for seed in range(3)}
    same = judged(before | others, after | others)
    assert [c.verdict for c in same] == ["loss", *["same"] * 9]  # equal rows are not tested
    noise = {key: (-1) ** key[1] + 0.01 * key[1] for key in others}
    among = judged(before | others, after | noise)
    assert among[0].verdict == "no significant change"
    assert among[0].p == pytest.approx(10 * stats.ttest_1samp(shifts, 0).pvalue)


# The verdicts


def test_identical_folders(compared):
    found = compared([*rows("vae", VALUES), timing("vae", 100)], [*rows("vae", VALUES), timing("vae", 100)])
    assert found.identical
    assert (found.exit_code, found.verdict, found.notes, found.sheets) == (0, "no significant loss", (), [])


def test_a_loss_has_its_interval_in_the_last_line_and_exit_code_1(compared):
    after = [value + shift for value, shift in zip(VALUES, (-0.5, -0.6, -0.4, -0.5), strict=True)]
    found = compared(rows("vae", VALUES), rows("vae", after))
    assert found.exit_code == 1
    assert found.verdict == "1 loss: vae on digits: iwll (nats) -0.50 ± 0.13"
    assert not found.identical
    mean, cells = found.sheets
    (row,) = (dict(zip(mean.headings, line.texts, strict=True)) for line in mean.lines)
    assert (row["B - A"], row["seeds"], row["verdict"]) == ("-0.50 ± 0.13", "4", "loss")
    assert [line.texts[-1] for line in cells.lines] == ["-0.5000", "-0.6000", "-0.4000", "-0.5000"]
    assert found.frame().iloc[0].seeds_high < 0
    assert found.cell_frame().difference.tolist() == pytest.approx([-0.5, -0.6, -0.4, -0.5])


def test_lower_is_better_where_the_column_says_so(compared):
    before, after = (
        [a_record("vae", seed, {"iwll": -86.0, "oddness": base + 0.1 * seed}) for seed in range(3)] for base in (1, 5)
    )
    assert compared(before, after).verdict == "1 loss: vae on digits: oddness 4"
    assert compared(after, before).exit_code == 0


def test_one_seed_is_too_few_unless_images_decide(compared):
    before, after = rows("vae", [-86.0]), rows("vae", [-86.5])
    found = compared(before, after)
    assert (only(found).verdict, found.exit_code) == ("too few seeds", 0)
    images = numpy.random.default_rng(0).normal(-86, 5, 300)
    shifted = images - 0.5 + numpy.random.default_rng(1).normal(0, 0.5, 300)
    found = compared(before, after, images=({("vae", 0): images}, {("vae", 0): shifted}))
    assert only(found).verdict == "loss"
    assert found.verdict.startswith("1 loss: vae on digits: iwll (nats) -0.")
    assert found.verdict.endswith(" over images")


def test_images_are_averaged_over_seeds_and_paired(compared):
    random = numpy.random.default_rng(0)
    old = {("vae", seed): random.normal(-86, 5, 200).astype(numpy.float32) for seed in range(2)}
    new = {key: value - random.normal(0.5, 1, 200).astype(numpy.float32) for key, value in old.items()}
    found = only(compared(rows("vae", [-86.0, -86.1]), rows("vae", [-86.1, -87.0]), images=(old, new)))
    each = [new["vae", s].astype(float) - old["vae", s].astype(float) for s in range(2)]
    assert found.images == over_images((each[0] + each[1]) / 2)
    assert found.images.high < 0
    assert found.verdict == "too few seeds"  # the seeds decide where there are two


def test_images_of_another_number_are_not_paired(compared):
    old, new = {("vae", 0): numpy.zeros(20)}, {("vae", 0): numpy.ones(21)}
    assert only(compared(rows("vae", [-86.0]), rows("vae", [-85.0]), images=(old, new))).images is None


def test_regular_rounding_is_no_loss(compared):
    found = compared(rows("vae", VALUES), rows("vae", [value - 1e-6 for value in VALUES]))
    assert only(found).p < 1e-3
    assert found.exit_code == 0


@pytest.mark.parametrize("status", ["failed", "diverged", "timeout", "oom"])
def test_a_cell_that_no_longer_works_is_a_loss(compared, status):
    after = [*rows("vae", VALUES[:3]), a_record("vae", 3, {}, status=status, reason="it broke")]
    found = compared(rows("vae", VALUES), after)
    assert found.exit_code == 1
    assert found.losses == (f"vae on digits, seed 3: ok -> {status} (it broke)",)
    back = compared(after, rows("vae", VALUES))
    assert (back.exit_code, back.notes) == (0, (f"vae on digits, seed 3: {status} -> ok",))


ELBOS = [-90.0, -90.0, -90.0, -90.0], [-90.0, -90.0, -90.0, None]


def test_a_number_that_is_none_any_more_is_a_loss(compared):
    before, after = ([a_record("vae", s, {"iwll": -80.0, "elbo": e}) for s, e in enumerate(each)] for each in ELBOS)
    assert compared(before, after).losses == ("vae on digits, seed 3: elbo is no number any more",)


def test_what_only_one_side_has(compared):
    oddly = [a_record("vae", seed, {"iwll": v, "oddness": 1.0}) for seed, v in enumerate(VALUES)]
    found = compared([*oddly, *rows("old", VALUES[:2])], [*rows("vae", VALUES), *rows("new", [-1.0])])
    assert found.unmatched == ("only A has old on digits, seeds 0, 1", "only B has new on digits, seed 0")
    assert "only A has oddness (vae on digits)" in found.notes
    assert found.exit_code == 0
    assert not found.identical


@pytest.mark.parametrize(
    ("fact", "value", "said"),
    [
        ("checksum", "d" * 64, "checksum cccccccccccc -> dddddddddddd"),
        ("importance_samples", 20, "importance_samples 10 -> 20"),
        ("images", 200, "images 300 -> 200"),
        ("measure", "binary", "measure discrete -> binary"),
        ("precision", "float32", "precision bfloat16 -> float32"),
        ("pseudo_likelihood", True, "pseudo_likelihood False -> True"),
        ("context_checksum", "e" * 64, "context_checksum not given -> eeeeeeeeeeee"),
    ],
)
def test_other_measurements_are_not_compared(compared, fact, value, said):
    found = compared(rows("vae", VALUES), rows("vae", [value - 9 for value in VALUES], **{fact: value}))
    assert found.losses == ()
    assert found.notes == (f"not comparable: vae on digits, seeds 0, 1, 2, 3: iwll: {said}",)
    assert (found.exit_code, found.verdict) == (2, "no number of quality could be compared")


def test_equal_numbers_of_other_data_are_not_identical_cells(compared):
    assert not compared(rows("vae", VALUES), rows("vae", VALUES, checksum="d" * 64)).identical


def test_the_number_of_samples_does_not_matter_to_an_elbo(compared):
    before, after = ([a_record("vae", 0, {"iwll": -80.0, "elbo": -90.0}, importance_samples=k)] for k in (10, 20))
    assert only(compared(before, after), "elbo").verdict == "same"


def test_settings_that_differ_are_told_once(compared):
    before = [*rows("vae", VALUES), *rows("other", VALUES)]
    found = compared(before, [*rows("vae", VALUES, epochs=9, device="b"), *rows("other", VALUES, device="b")])
    assert found.notes == (
        "differs: train.epochs 7 -> 9 (vae on digits)",
        "differs: device a processor -> b (all rows)",
    )
    assert found.identical


# Speeds


@pytest.mark.parametrize(
    ("after", "tolerance", "verdict"),
    [
        ({"train": 90}, 0.05, "loss"),
        ({"train": 90}, 0.2, "no significant change"),
        ({"train": 96}, 0.05, "no significant change"),
        ({"train": 90, "spread": 0.2}, 0.05, "no significant change"),
        ({"train": 90, "spread": None}, 0.05, "not judged"),
        ({"train": 120}, 0.05, "gain"),
        ({"train": 100}, 0.05, "same"),
        ({"train": 50, "device": "another"}, 0.05, "not comparable"),
    ],
)
def test_a_speed_is_lost_beyond_the_tolerance_where_quartiles_do_not_overlap(compared, after, tolerance, verdict):
    before, after = [*rows("vae", VALUES), timing("vae", 100)], [*rows("vae", VALUES), timing("vae", **after)]
    found = compared(before, after, tolerance=tolerance)
    assert only(found, "train_images_per_second").verdict == verdict
    assert found.exit_code == (verdict == "loss")
    if verdict == "loss":
        assert found.verdict == "1 loss: vae on digits: train images/s x 0.900"
    if verdict == "not comparable":
        assert (
            "not comparable: vae on digits: train_images_per_second: other device a processor -> another" in found.notes
        )


def test_memory_is_shown_and_not_judged(compared):
    larger = timing("vae", 100)
    larger[1].results["own_memory_bytes"] *= 3
    found = compared([*rows("vae", VALUES), timing("vae", 100)], [*rows("vae", VALUES), larger])
    assert (only(found, "own_memory_bytes").ratio, found.exit_code) == (3.0, 0)
    assert found.sheets[0].lines[0].texts[2:5] == ("1,024", "3,072", "x 3.000")


def test_a_timing_that_fails_is_a_loss(compared):
    broken = a_record("vae", None, {}, status="failed", reason="no")
    found = compared([*rows("vae", VALUES), timing("vae", 100)], [*rows("vae", VALUES), broken])
    assert found.losses == ("vae on digits, timing: ok -> failed (no)",)


# Invalid input


def test_named_columns_are_judged_alone(compared):
    before, after = ([a_record("vae", s, {"iwll": b - 0.1 * s, "elbo": -9.0}) for s in range(3)] for b in (-1, -9))
    assert compared(before, after).exit_code == 1
    assert compared(before, after, metrics=["elbo"]).exit_code == 0
    with pytest.raises(VaezooError, match=r"--metric iwl: column 'iwl' is unknown; did you mean 'iwll'\?"):
        compared(before, after, metrics=["iwl"])
    with pytest.raises(VaezooError, match=r"--metric kl: it has no better direction .*; there are: iwll, elbo"):
        compared(before, after, metrics=["kl"])


@pytest.mark.parametrize("tolerance", [-0.1, 1, float("nan"), "5%"])
def test_the_tolerance_is_a_share(tmp_path, tolerance):
    with pytest.raises(VaezooError, match=r"tolerance must be a share from 0 to below 1"):
        compare(tmp_path, tmp_path, tolerance=tolerance)


def test_folders_without_a_common_cell_are_an_error(compared):
    with pytest.raises(VaezooError, match=r"share no cell \(label, variant, data set and seed\)"):
        compared(rows("vae", VALUES), rows("other", VALUES))


def test_a_column_of_a_plugin_has_its_direction_from_the_plan(tmp_path):
    records = [[a_record("vae", s, {"iwll": -80.0, "fid": base + s / 100}) for s in range(3)] for base in (5, 6)]
    for better, code in ((-1, 1), (1, 0)):
        a, b = (
            write(tmp_path / f"{better}{n}", part, columns=[Column("fid", better=better)])
            for n, part in enumerate(records)
        )
        assert compare(a, b).exit_code == code


# The command


def test_the_exit_codes_of_the_command(shell, tmp_path):
    a = write(tmp_path / "a", rows("vae", VALUES))
    b = write(tmp_path / "b", rows("vae", [v - 0.5 - 0.01 * n for n, v in enumerate(VALUES)]))
    done = shell("compare", a, a)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[-2:] == ["all 4 cells are identical", "no significant loss"]
    done = shell("compare", a, b, "--metric", "iwll")
    assert (done.code, done.err) == (1, "")
    assert done.out.splitlines()[-1].startswith("1 loss: vae on digits: iwll (nats) -0.5")
    assert "holds no results of a matrix" in shell.wrong("compare", a, tmp_path)


def judged_without_a_change(tables, rows, seeds, spread=0.3):
    """The share of comparisons of equal runs, each with iwll, bits and elbo of these rows, that find a change."""
    random, found = numpy.random.default_rng(0), []
    columns = {column.name: column for column in QUALITY}
    for _ in range(tables):
        changes = []
        for row in range(rows):
            iwll, further = random.normal(0, spread, (2, seeds))
            for name, differences in (("iwll", iwll), ("bits_per_dim", -iwll / 44.4), ("elbo", 0.5 * iwll + further)):
                found_in = over_seeds(differences.tolist())
                before = summarise([-90.0] * seeds)
                verdict = "no significant change"
                changes.append(Change(f"r{row}", "vae", "d", columns[name], verdict, before, before, found_in))
        found.append(any(change.verdict in ("loss", "gain") for change in with_verdicts(changes)))
    return numpy.mean(found)


def test_bits_share_the_test_of_the_iwll_that_they_are():
    """Counted twice, a difference of p = 0.04 would be none."""
    differences = [0.12, 0.35, 0.2, 0.4, 0.0]
    columns = {column.name: column for column in QUALITY}
    before = summarise([-90.0] * 5)
    iwll, bits = (
        Change("a", "vae", "d", columns[name], "no significant change", before, before, over_seeds(values))
        for name, values in (("iwll", differences), ("bits_per_dim", [-d / 44.4 for d in differences]))
    )
    assert 0.025 < iwll.seeds.p < 0.05
    assert [change.verdict for change in with_verdicts([iwll, bits])] == ["gain", "gain"]
    assert [change.p for change in with_verdicts([iwll, bits])] == [pytest.approx(iwll.seeds.p)] * 2


def test_equal_runs_seldom_differ():
    assert judged_without_a_change(100, 3, 3) <= 0.13


@pytest.mark.nightly
@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_equal_runs_differ_in_3_to_7_of_100_comparisons(rows, seeds):
    assert 0.03 <= judged_without_a_change(1000, rows, seeds) <= 0.07
