"""Images that two splits share: what is counted, what is refused, and where it is said."""

import math

import pandas
import pytest
import torch

import vaezoo
from vaezoo import Dataset, VaezooError
from vaezoo.core.overlaps import Overlap, in_words, refusal
from vaezoo.datasets import load_dataset
from vaezoo.reports.tables import tables
from vaezoo.runner.records import DataFacts
from vaezoo.runner.work.mapped import read_dataset, write_dataset


def random_images(count, seed, *, size=24):
    return torch.randint(0, 2, (count, size), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


X = random_images(1200, 0)
SEEDED = torch.Generator().manual_seed(3)
TRAIN, VALID, TEST = X[:1000], X[1000:1100], X[1100:]


def overlapping(train=TRAIN, valid=VALID, test=TEST, measure="binary", **keywords):
    return Dataset(train, valid, test, measure, **keywords).overlaps


def test_splits_of_their_own_share_nothing():
    assert overlapping() == ()
    assert refusal(()) is None
    assert in_words(()) == ""


def test_distinct_images_and_copies_are_counted():
    test = torch.cat([TEST[:90], TRAIN[:1].expand(6, -1), TRAIN[1:4], VALID[:1]])
    first, second = overlapping(test=test)
    assert (first.first, first.second, first.images, first.copies, first.of) == ("train", "test", 4, 9, 100)
    assert (second.first, second.second, second.images, second.copies) == ("valid", "test", 1, 1)
    assert first.excess == pytest.approx(9.0)
    assert in_words([first, second]) == "train and test share 4 images (9 of test's), validation and test 1"
    assert in_words([second]) == "validation and test share 1 image"
    assert refusal([first]) == (
        "9 of 100 test images (0.09) are also train images; "
        "give each split images of its own (up to 1% is allowed, and is shown)"
    )


@pytest.mark.parametrize(("copies", "refused"), [(1, False), (2, True), (100, True)])
def test_more_than_one_percent_of_the_smaller_split_is_refused(copies, refused):
    found = overlapping(test=torch.cat([TEST[copies:], TRAIN[:copies]]))
    assert [overlap.copies for overlap in found] == [copies]
    assert (refusal(found) is not None) is refused


@pytest.mark.parametrize("order", [slice(None), torch.randperm(100, generator=SEEDED)])
def test_a_split_that_is_another_is_refused_however_it_is_ordered(order):
    (found,) = overlapping(test=VALID[order])
    assert found.excess == math.inf
    assert refusal([found]).startswith("test and validation hold the same 100 images; give each split")
    with pytest.raises(VaezooError, match="'copied': test and validation hold"):
        loaded_as("copied", TRAIN, VALID, VALID)


def loaded_as(name, *splits):
    """`load_dataset` of these splits."""
    vaezoo.register.dataset(name)(lambda root, seed: Dataset(*splits, "binary"))
    try:
        return load_dataset(name)
    finally:
        del vaezoo.registry.registry("dataset")._plugins[name]


@pytest.mark.parametrize(
    ("splits", "measure", "keywords"),
    [
        ((TRAIN.float(), VALID.float(), TRAIN[:100].float()), "continuous", {}),
        ((TRAIN.double(), -0.0 * VALID.double(), 0.0 * VALID.double()), "continuous", {}),
        (((TRAIN + 0.3) / 2, VALID / 2, (TRAIN[:100] + 0.7) / 2), "continuous", {"levels": 2}),
        ((TRAIN * 300, VALID.int(), torch.cat([TRAIN[:99] * 0, VALID[:1]])), "counts", {}),
        ((TRAIN * 255, VALID, TRAIN[:100]), "binary", {"binarisation": "dynamic"}),
    ],
    ids=["floats", "minus zero", "dequantised", "several dtypes", "dynamic"],
)
def test_equal_images_are_found_however_they_are_stored(splits, measure, keywords):
    assert overlapping(*splits, measure=measure, **keywords)


def bars(count, generator):
    """Images that repeat because few of them are likely. [count, 64]"""
    rows, columns = (torch.rand(count, 8, generator=generator) < 1 / 8 for _ in range(2))
    return (rows[..., :, None] | columns[..., None, :]).to(torch.uint8).flatten(1)


def test_images_that_repeat_by_themselves_may_stand_in_several_splits():
    """A bars data set shares most test images with training; two of a hundred are refused by chance."""
    refused = 0
    for seed in range(50):
        generator = torch.Generator().manual_seed(seed)
        found = overlapping(*(bars(count, generator) for count in (400, 80, 80)))
        assert len(found) == 3
        refused += refusal(found) is not None
    assert refused <= 2


@pytest.mark.parametrize("times", [2, 3, 6])
def test_images_that_were_copied_before_they_were_split_are_refused(times):
    copied = random_images(200, 1).repeat(times, 1)[torch.randperm(200 * times, generator=SEEDED)]
    train, valid, test = copied.split([140 * times, 30 * times, 30 * times])
    assert refusal(overlapping(train, valid, test)) is not None


def test_the_overlaps_of_the_digits_are_those_counted_by_hand():
    words = "train and validation share 8 images (10 of validation's), train and test 4 (5 of test's), "
    found = load_dataset("digits-binary").overlaps
    assert in_words(found) == words + "validation and test 3 (4 of test's)"
    assert load_dataset("digits").overlaps == load_dataset("digits-dequantised").overlaps == ()


def test_cells_read_them_from_the_decoded_data(tmp_path):
    dataset = Dataset(TRAIN, VALID, torch.cat([TEST[1:], TRAIN[:1]]), "binary")
    write_dataset(dataset, tmp_path / "data")
    assert vars(read_dataset(tmp_path / "data"))["overlaps"] == dataset.overlaps != ()


def test_the_record_and_the_table_have_them():
    facts = DataFacts((4,), "binary", None, "none", None, 9, (Overlap("train", "test", 1, 1, 100, 1.0),))
    assert DataFacts.from_json(facts.to_json()) == facts
    older = {name: value for name, value in facts.to_json().items() if name != "overlaps"}
    assert DataFacts.from_json(older).overlaps == ()
    frame = pandas.DataFrame([{"label": "vae", "dataset": "d", "status": "ok", "iwll": 1.0}])
    assert "share" not in " ".join(tables(frame)[0].details)
    frame.attrs["overlaps"] = {"d": "train and test share 1 image"}
    assert "train and test share 1 image" in tables(frame)[0].details


@pytest.mark.nightly
def test_show_says_what_the_splits_share_and_downloads_nothing(shell, tmp_path):
    """The digits are here; MNIST is not, and no address is looked up."""
    said = shell("show", "dataset/digits-binary").out
    assert "1,197 train, 300 validation, 300 test; [1, 8, 8], binary\ntrain and validation share 8 images" in said
    said = shell("show", "dataset/mnist", env={"VAEZOO_DATA": str(tmp_path)}).out
    assert "could not be downloaded (<urlopen error show downloads nothing>)" in said
