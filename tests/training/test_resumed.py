"""A training that is interrupted and goes on gives the numbers of one that is not, bit for bit."""

import functools
import hashlib
import json
import math
import warnings

import pytest
import torch
from changing_parts import WAYS
from interrupted import MemoryFile, StopsAfter, Training, assert_same, checkpoint, last_state
from safetensors.torch import save
from small_models import dataset, pair

import vaezoo
from vaezoo import Objective
from vaezoo.objectives.factor import Factor
from vaezoo.training.checkpoint import CheckpointClock, Interrupted, decoded, encoded
from vaezoo.training.loop import make_step
from vaezoo.training.options import TrainingOptions
from vaezoo.training.replay.comparison import ReplayDiffers
from vaezoo.training.replay.recorded_step import RecordedStep
from vaezoo.training.seed_run import Diverged, SeedRun
from vaezoo.training.state import Place, SavedState

OPTIONS = TrainingOptions(epochs=4, batch_size=10, learning_rate=1e-2)
STEPS = 24
"""Of a training with OPTIONS: 4 epochs of 6."""
PLACES = (1, 3, 5, 6, 9, 21, 24)
"""In the warm-up, at the recording, among replays, at the end of an epoch, in the last epoch and at its end."""


class OfOneSeed(Objective):
    """Not finite from a third of training on for a decoder whose first bias is above 0."""

    def forward(self, draws):
        first = draws.model.decoder.net[-2].bias[0].detach()
        bad = (draws.progress > 0.35) & (first > 0.5)
        return draws.log_weight.mean(0) * torch.where(bad, math.nan, 1.0)


class Random(Objective):
    """Draws from torch's own generator."""

    def forward(self, draws):
        return draws.log_weight.mean(0) * (1 + 0.1 * torch.rand(()))


def one_diverges(data, seed):
    model, _ = pair(data, seed=seed)
    with torch.no_grad():
        model.decoder.net[-2].bias[0] = 1.0 if seed == 1 else 0.0
    return model, OfOneSeed()


def with_labels():
    data = dataset()
    labels = torch.nn.functional.one_hot(torch.arange(60) % 3, 3)
    parts = [(split.x, None, labels[: len(split)]) for split in (data.train, data.valid, data.test)]
    return vaezoo.Dataset(*parts, measure="binary")


def plain(data, seed):
    return pair(data, seed=seed)


def random(data, seed):
    torch.manual_seed(seed)
    return pair(data, seed=seed)[0], Random()


def discriminating(data, seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return pair(data, seed=seed)[0], Factor((2,), width=8, depth=2)


KINDS = {
    **{way: Training(make, dataset(), OPTIONS) for way, make in WAYS.items()},
    "clipped, cosine, warm-up": Training(
        plain,
        dataset(),
        TrainingOptions(4, 10, learning_rate=3e-2, schedule="cosine", kl_warmup=1.5, gradient_clip=0.5),
    ),
    "dynamic": Training(plain, dataset(dynamic=True), OPTIONS),
    "conditional": Training(lambda data, seed: pair(data, "conditional-vae", seed), with_labels(), OPTIONS),
    "discriminator": Training(discriminating, dataset(), TrainingOptions(epochs=3, batch_size=10)),
    "torch's generator": Training(random, dataset(), OPTIONS),
    "packed": Training(WAYS["update"], dataset(), OPTIONS, (3, 1)),
    "packed refit": Training(WAYS["refit"], dataset(), OPTIONS, (3, 1)),
    "packed dropout": Training(WAYS["dropout"], dataset(), OPTIONS, (3, 1)),
    "packed, one diverges": Training(one_diverges, dataset(), OPTIONS, (3, 1)),
    "packed, one ends early": Training(
        plain, dataset(), TrainingOptions(epochs=8, batch_size=10, learning_rate=3e-2, patience=1), (0, 5)
    ),
}
pytestmark = pytest.mark.filterwarnings("ignore:runs eagerly")


@functools.cache
def undisturbed(kind):
    return KINDS[kind].run()


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_interrupted_again_and_again_is_the_same(kind):
    """Every few steps, each time in fresh models; with other states of torch's generator in between."""
    training, files, stops = KINDS[kind], KINDS[kind].files(), 0
    while True:
        torch.manual_seed(stops + 99)
        clock = StopsAfter((5, 2, 7, 1, 4)[stops % 5])
        own = checkpoint(files, clock, seeds=training.seeds)
        try:
            found = training.run(own)
            break
        except Interrupted:
            stops += 1
    assert stops > 1
    assert own.resumed == stops
    assert_same(found, undisturbed(kind))


@pytest.mark.parametrize("steps", PLACES)
@pytest.mark.parametrize("kind", ["progress", "packed"])
def test_it_may_be_interrupted_at_any_step(kind, steps):
    training = KINDS[kind]
    files = training.files()
    reason = training.stopped(files, steps)
    assert reason == f"stopped in epoch {(steps - 1) // 6 + 1}; the same command goes on from there"
    assert_same(training.resumed(files), undisturbed(kind))


@pytest.mark.nightly
@pytest.mark.parametrize("kind", KINDS)
def test_it_may_be_interrupted_at_every_step(kind):
    training, reached = KINDS[kind], 0
    for steps in range(1, 100):
        files = training.files()
        try:
            training.run(checkpoint(files, StopsAfter(steps), seeds=training.seeds))
            break
        except Interrupted:
            reached = steps
        assert_same(training.resumed(files), undisturbed(kind))
    assert reached >= 11


def test_the_seeds_of_the_packs_do_end_early_and_diverge():
    _, [_, message], _ = undisturbed("packed, one diverges")
    assert message.startswith("the objective is nan at step 10 (epoch 2)")
    _, curves, _ = undisturbed("packed, one ends early")
    assert len({len(history) for _, _, history in curves}) == 2


@pytest.mark.parametrize("kind", ["progress", "packed"])
def test_writing_changes_no_number(kind):
    """After every step, and without any interruption."""
    training, files = KINDS[kind], KINDS[kind].files()
    found = training.run(checkpoint(files, CheckpointClock(seconds=0), seeds=training.seeds))
    assert_same(found, undisturbed(kind))


def test_a_short_training_writes_nothing():
    training = KINDS["progress"]
    files = training.files()
    training.run(checkpoint(files, CheckpointClock()))
    assert files[0].content is None


@pytest.mark.parametrize("kind", ["progress", "packed, one diverges"])
def test_after_a_long_training_each_seed_has_its_trained_state(kind):
    """From which nothing is trained: the best weights and the history are there at once, also of one seed alone."""
    training, expected = KINDS[kind], undisturbed(kind)
    files = training.files()
    training.run(checkpoint(files, CheckpointClock(seconds=0), seeds=training.seeds))
    assert_same(training.resumed(files), expected, trained=True)
    for place, seed in enumerate(training.seeds):
        own = checkpoint([files[place]], seeds=(seed,))
        alone = Training(training.make, training.data, training.options, (seed,))
        if isinstance(expected[1][place], str):
            with pytest.raises(Diverged, match=r"^the objective is nan at step 10 \(epoch 2\)$"):
                alone.run(own)
        else:
            found = alone.run(own)
            assert_same(found, ([expected[0][place]], [expected[1][place]]), trained=True)
            assert list(own.seeds) == list(training.seeds)


def test_a_stop_at_the_very_end_keeps_the_trained_state():
    training = KINDS["progress"]
    files, clock = training.files(), CheckpointClock(seconds=1e9)
    training.stopped(files, STEPS)  # the last step, before the last validation
    own = checkpoint(files, clock)
    original = own.keep_trained
    own.keep_trained = lambda runs: (clock.request_stop(), original(runs))
    with pytest.raises(Interrupted, match=r"^stopped after training; the same command goes on with the evaluation$"):
        training.run(own)
    assert_same(training.resumed(files), undisturbed("progress"), trained=True)


def test_the_warnings_of_the_interrupted_part_are_kept_in_their_order():
    training, warned = KINDS["progress"], ["first", "second"]
    files = training.files()
    training.stopped(files, 8, warned=warned)
    now = ["second"]
    training.resumed(files, warned=now)
    assert now == ["second", "first"]


def test_the_seconds_of_both_parts_are_counted():
    training = KINDS["progress"]
    files = training.files()
    training.stopped(files, 14)
    own = checkpoint(files)
    model, objective = training.make(training.data, 3)
    outcome = vaezoo.training.loop.train(model, objective, training.data, OPTIONS, seed=3, checkpoint=own)
    seconds = [each.seconds for each in outcome.history]
    assert seconds == sorted(seconds)
    assert outcome.seconds == seconds[-1] > 0


class Counts(Objective):
    """Keeps a number that no checkpoint holds."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, draws):
        self.calls += 1
        return draws.log_weight.mean(0)


def test_what_is_kept_outside_tensors_is_not_resumed_wrongly():
    training = Training(lambda data, seed: (pair(data, seed=seed)[0], Counts()), dataset(), OPTIONS)
    files = training.files()
    reason = training.stopped(files, 8)
    why = "training changes 'objective.calls', which is no parameter or buffer"
    assert reason == f"stopped in epoch 2; no checkpoint was written: {why}"
    assert files[0].content is None
    with pytest.warns(UserWarning, match=f"^no checkpoint was written: {why}$"):
        training.run(checkpoint(files, CheckpointClock(seconds=0)))
    assert files[0].content is None


def test_a_disk_that_is_full_stops_no_training():
    class Full(MemoryFile):
        def write(self, content):
            raise OSError(28, "No space left on device")

    training = KINDS["progress"]
    with pytest.warns(UserWarning, match=r"^no checkpoint was written: \[Errno 28\] No space left on device$"):
        found = training.run(checkpoint([Full()], CheckpointClock(seconds=0)))
    assert_same(found, undisturbed("progress"))
    with pytest.raises(Interrupted, match=r"^stopped in epoch 1; no checkpoint was written: \[Errno 28\] No space"):
        training.run(checkpoint([Full()], StopsAfter(2)))


# Replays of code from outside


def test_a_checkpoint_is_written_after_a_compared_step_and_the_rest_of_the_epoch_is_compared_anew(monkeypatch):
    training, seen = KINDS["progress"], []
    original = RecordedStep.checked
    monkeypatch.setattr(RecordedStep, "checked", lambda own: (seen.append(own.eager_calls), original(own))[1])
    files = training.files()
    training.stopped(files, 7)
    before = len(seen)
    training.resumed(files)
    assert before >= 2  # one of the first epoch, and the step before the stop
    assert len(seen) - before == 3  # one of each of the epochs that were left


def test_a_training_that_began_again_eagerly_goes_on_eagerly(monkeypatch):
    """The warning of the first attempt is that of the record."""
    training, check, calls = KINDS["progress"], RecordedStep.checked, []

    def differs(step):
        check(step)
        calls.append(step)
        if len(calls) == 2:
            raise ReplayDiffers("told so")

    monkeypatch.setattr(RecordedStep, "checked", differs)
    files = training.files()
    with pytest.warns(vaezoo.VaezooWarning, match="^trained again, eagerly: told so$"):
        training.stopped(files, 20)
    assert len(calls) == 2
    with pytest.warns(vaezoo.VaezooWarning, match="^trained again, eagerly: told so$"):
        found = training.resumed(files)
    assert len(calls) == 2
    assert_same(found, undisturbed("progress"))


def test_replays_that_differ_after_the_interruption_train_again_from_the_beginning(monkeypatch):
    training, check = KINDS["progress"], RecordedStep.checked
    files = training.files()
    training.stopped(files, 8)

    def differs(step):
        check(step)
        raise ReplayDiffers("told so")

    monkeypatch.setattr(RecordedStep, "checked", differs)
    with pytest.warns(vaezoo.VaezooWarning, match="^trained again, eagerly: told so$"):
        found = training.resumed(files)
    assert_same(found, undisturbed("progress"))


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
