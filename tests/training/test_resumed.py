"""A training that is interrupted and goes on gives the numbers of one that is not, bit for bit."""

import pytest
import torch
from interrupted import MemoryFile, StopsAfter, Training, assert_same, checkpoint
from interrupted_kinds import KINDS, OPTIONS, PLACES, STEPS, undisturbed
from small_models import dataset, pair

import vaezoo
from vaezoo import Objective
from vaezoo.training.checkpoint import CheckpointClock, Interrupted
from vaezoo.training.replay.comparison import ReplayDiffers
from vaezoo.training.replay.recorded_step import RecordedStep
from vaezoo.training.seed_run import Diverged


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
