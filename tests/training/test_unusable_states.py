"""Files from which no training goes on: damaged, of another cell, forged, hostile. Training then begins anew."""

import functools
import hashlib
import json
import math
import warnings

import pytest
import torch
from interrupted import MemoryFile, assert_same, checkpoint, last_state
from interrupted_kinds import KINDS, OPTIONS, undisturbed
from safetensors.torch import save

import vaezoo
from vaezoo.training.checkpoint import CheckpointClock, decoded, encoded
from vaezoo.training.loop import make_step
from vaezoo.training.seed_run import SeedRun
from vaezoo.training.state import Place, SavedState

# Files that are not to be used


@functools.cache
def content(kind="progress", steps=21):
    files = KINDS[kind].files()
    KINDS[kind].stopped(files, steps)
    return files[0].content


def assert_begins_anew(content, match, training=None, **more):
    training = training or KINDS["progress"]
    files = [MemoryFile(content), *training.files()[1:]]
    own = checkpoint(files, seeds=training.seeds, **more)
    with pytest.warns(vaezoo.VaezooWarning, match=f"^a checkpoint is not used, and training begins anew: {match}$"):
        own.open([module for pair in [training.make(training.data, 3)] for module in pair])
    return own


def damaged():
    whole = content()
    for length in (0, 1, 63, 64, 65, 70, 73, 200, len(whole) // 2, len(whole) - 1):
        yield whole[:length]
    yield whole + b"\0"
    generator = torch.Generator().manual_seed(0)
    for place in torch.randint(len(whole), (60,), generator=generator).tolist():
        yield whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :]


def test_a_damaged_file_is_not_used():
    for each in damaged():
        assert_begins_anew(each, "it is damaged")


def test_after_a_damaged_file_the_training_is_that_from_the_beginning():
    with pytest.warns(vaezoo.VaezooWarning, match="it is damaged"):
        found = KINDS["progress"].resumed([MemoryFile(content()[:-5])])
    assert_same(found, undisturbed("progress"))


@pytest.mark.parametrize(
    ("changes", "match"),
    [({"keys": ["another"]}, "its keys is another one"), ({"device": "cuda"}, "its device is another one")],
)
def test_a_file_of_another_cell_or_device_is_not_used(changes, match):
    assert_begins_anew(content(), match, **changes)


def test_a_file_of_another_torch_is_not_used(monkeypatch):
    content()
    monkeypatch.setattr(torch, "__version__", "9.9")
    assert_begins_anew(content(), "its torch is another one")


def test_the_state_of_a_pack_is_of_no_use_to_one_seed():
    assert_begins_anew(content("packed"), "its keys is another one")


def test_a_pack_of_which_a_trained_state_is_missing_begins_anew():
    training = KINDS["packed"]
    files = training.files()
    training.run(checkpoint(files, CheckpointClock(seconds=0), seeds=training.seeds))
    assert_begins_anew(files[0].content, "the trained state of another seed of the pack is missing", training)


def test_no_warning_without_a_file():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = KINDS["progress"].resumed([MemoryFile()])
    assert_same(found, undisturbed("progress"))


# Files that somebody made by hand


def forged(change, kind="progress", steps=21):
    """A checkpoint with a right digest, whose tensors and facts `change(tensors, facts)` has changed in place."""
    state = decoded(content(kind, steps))
    tensors, facts = dict(state.tensors), json.loads(json.dumps(state.facts))
    change(tensors, facts)
    return encoded(SavedState(tensors, facts))


def without(name):
    return lambda tensors, facts: tensors.pop(name)


def with_tensor(name, value):
    return lambda tensors, facts: tensors.update({name: value})


def with_fact(name, value):
    return lambda tensors, facts: facts.update({name: value})


def with_run(name, value):
    return lambda tensors, facts: facts["runs"][0].update({name: value})


WEIGHT = "module.model.encoder.net.0.weight"
FORGERIES = {
    "no weight": (without(WEIGHT), f"it has no tensor '{WEIGHT}'"),
    "no state of Adam": (without(f"adam.exp_avg.{WEIGHT[7:]}"), "it has no tensor 'adam.exp_avg.model.encoder"),
    "no best weight": (without("best.0.encoder.net.0.weight"), "it has no tensor 'best.0.encoder.net.0.weight'"),
    "no values": (without("values"), "its epoch is not of these steps"),
    "no generator": (without("generator.cpu"), "it has no tensor 'generator.cpu'"),
    "a tensor more": (with_tensor("module.more", torch.zeros(1)), "it has an unknown tensor 'module.more'"),
    "another shape": (
        with_tensor(WEIGHT, torch.zeros(5, 8)),
        f"its tensor '{WEIGHT}' must be .* of torch.float32",
    ),
    "another dtype": (with_tensor(WEIGHT, torch.zeros(5, 9).double()), ".* got .* of torch.float64"),
    "too many values": (with_tensor("values", torch.zeros(7)), "its epoch is not of these steps"),
    "values of two axes": (with_tensor("values", torch.zeros(2, 2)), "its epoch is not of these steps"),
    "a wrong generator": (with_tensor("generator.cpu", torch.zeros(5056, dtype=torch.uint8)), "it holds no state of a"),
    "epoch 0": (with_fact("epoch", 0), r"its epoch must be a whole number in 1..4"),
    "epoch 5": (with_fact("epoch", 5), r"its epoch must be a whole number in 1..4"),
    "epoch 3 of 2": (with_fact("epoch", 3), "its history is not of these epochs"),
    "epoch true": (with_fact("epoch", True), r"its epoch must be a whole number in 1..4"),
    "seconds": (with_fact("seconds", math.nan), "it holds something else in place of a number"),
    "adam of others": (with_fact("adam", ["none"]), "it lists other parameters"),
    "adam without a list": (with_fact("adam", 1), "its adam must be a list of str"),
    "stage": (with_fact("stage", "trained"), "it has an unknown tensor"),
    "runs": (with_fact("runs", []), "it is not of these seeds"),
    "runs of text": (with_fact("runs", ["a"]), "its runs must be a list of dict"),
    "resumed": (with_fact("resumed", -1), "it does not say how often it was resumed"),
    "warnings": (with_fact("warnings", [1]), "its warnings must be a list of str"),
    "seeds": (with_fact("seeds", None), "its seeds must be a list of int"),
    "history": (with_run("history", [[1.0, 2.0]]), "its history is not of these epochs"),
    "history of text": (with_run("history", [["a", "b", "c"]]), "it holds something else in place of a number"),
    "history for ever": (with_run("history", [[1.0, 2.0, 3.0]] * 9), "its history is not of these epochs"),
    "best epoch": (with_run("best_epoch", 4), r"its best_epoch must be a whole number in 0..3"),
    "no best epoch": (with_run("best_epoch", 0), "it has an unknown tensor 'best.0"),
    "ended": (with_run("ended", True), "all its seeds have ended"),
    "failure": (with_run("failure", 3), "it does not say how a seed has ended"),
    "failed and not ended": (with_run("failure", "so"), "it does not say how a seed has ended"),
    "format": (with_fact("format", 2), "its format is another one"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_file_with_a_right_digest_and_wrong_content_changes_nothing(name):
    """So that training goes from the beginning."""
    (change, match), training = FORGERIES[name], KINDS["progress"]
    model, objective = training.make(training.data, 3)
    step = make_step(model, objective, training.data, OPTIONS, 3)
    run = SeedRun(model, objective, training.data, OPTIONS, None, 3, 0)
    before, generator = [tensor.clone() for tensor in last_state(step)], torch.get_rng_state()
    own = checkpoint([MemoryFile(forged(change))])

    def restored():
        own.open([model, objective])
        return own.restore_trained([run]), own.restore(step, [run])

    with pytest.warns(vaezoo.VaezooWarning, match=f"^a checkpoint is not used, and training begins anew: {match}"):
        assert restored() == (False, Place())
    assert all(torch.equal(*both) for both in zip(before, last_state(step), strict=True))
    assert torch.equal(generator, torch.get_rng_state())
    assert (run.training.history, run.best_weights, run.ended, own.resumed) == ([], None, False, 0)


def signed(payload):
    return hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload


HOSTILE = {
    "a huge header": (2**62).to_bytes(8, "little") + b"{}",
    "a header beyond the end": (10**6).to_bytes(8, "little") + b"{}",
    "no safetensors": b"{}",
    "nothing": b"",
    "no facts": save({"values": torch.zeros(2)}),
    "facts of floats": save({"facts": torch.zeros(2)}),
    "nested lists": save({"facts": torch.frombuffer(bytearray(b"[" * 100_000), dtype=torch.uint8)}),
    "a long number": save({"facts": torch.frombuffer(bytearray(b'{"format":' + b"1" * 5000), dtype=torch.uint8)}),
    "a list": save({"facts": torch.frombuffer(bytearray(b"[1]"), dtype=torch.uint8)}),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_is_hostile_is_damaged(name):
    assert_begins_anew(signed(HOSTILE[name]), "it is damaged")
