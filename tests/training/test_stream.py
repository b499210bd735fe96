"""Images that stay in a mapped file, or off the device: the same training, bit for bit; the file is read ahead."""

import mmap

import numpy as np
import pytest
import torch
from small_models import dataset, pair

from vaezoo.training import stream
from vaezoo.training.loop import epoch_order, packed_order
from vaezoo.training.module import TrainingModule
from vaezoo.training.options import TrainingOptions
from vaezoo.training.pack import Pack
from vaezoo.training.step import TrainingStep


def trained(data, *, staged=False, seeds=None, epochs=3):
    """The weights after some epochs, and the objectives of the last."""
    options = TrainingOptions(batch_size=20, epochs=epochs)
    if seeds is None:
        module, order = TrainingModule(*pair(data), data.train.dynamic), epoch_order
    else:
        module = Pack([TrainingModule(*pair(data, seed=seed), data.train.dynamic) for seed in seeds])
        order = packed_order
    step = TrainingStep(module, data.train, options, seed=0 if seeds is None else seeds, staged=staged)
    for epoch in range(1, epochs + 1):
        step.start_epoch(order(len(data.train), 20, 0 if seeds is None else seeds, epoch))
        while step.left:
            step()
    return [p.detach().clone() for _, p in module.named_parameters()], step.values.clone()


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("seeds", [None, [0, 1]])
def test_images_that_are_copied_step_by_step_train_the_same_model(dynamic, seeds):
    data = dataset(dynamic=dynamic)
    (weights, values), (others, found) = trained(data, seeds=seeds), trained(data, staged=True, seeds=seeds)
    assert torch.equal(values, found)
    assert all(torch.equal(one, other) for one, other in zip(weights, others, strict=True))


def test_an_epoch_that_goes_on_after_some_steps_has_their_images():
    data = dataset()
    steps = []
    for done in (0, 2):
        step = TrainingStep(TrainingModule(*pair(data)), data.train, TrainingOptions(batch_size=20), staged=True)
        order = epoch_order(60, 20, 0, 1)
        step.start_epoch(order)
        step.go_to(torch.zeros(done))
        assert torch.equal(step.inputs()[0], data.train.x[order[done]])
        steps.append(step)
    assert [step.left for step in steps] == [3, 1]


def test_a_mapped_file_is_read_ahead_and_trains_the_same_model(tmp_path, monkeypatch):
    """The system is told of every page of every image, before the step that reads it."""
    data = dataset()
    expected = trained(data)
    (tmp_path / "x").write_bytes(data.train.x.numpy().tobytes())
    mapped = torch.from_numpy(np.memmap(tmp_path / "x", np.uint8, "c", shape=tuple(data.train.x.shape)))
    asked: list[tuple[int, int, int]] = []
    monkeypatch.setattr(stream, "LARGE", 1)
    monkeypatch.setattr(stream, "AHEAD", 1)
    monkeypatch.setattr(stream, "_madvise", lambda: lambda *words: asked.append(words))
    split = type(data.train)(mapped, None, data.spec)
    options = TrainingOptions(batch_size=20)
    step = TrainingStep(TrainingModule(*pair(data)), split, options)
    assert [advice for *_, advice in asked] == [stream.RANDOM]
    order = epoch_order(60, 20, 0, 1)
    step.start_epoch(order)
    assert len(asked) == 1 + 40
    step()
    assert len(asked) == 1 + 60
    for row, (address, size, advice) in zip(order.reshape(-1).tolist(), asked[1:], strict=True):
        place = mapped.data_ptr() + 9 * row
        assert address % mmap.PAGESIZE == 0
        assert address <= place < place + 9 <= address + size
        assert advice == stream.NEEDED
    monkeypatch.undo()
    monkeypatch.setattr(stream, "LARGE", 1)
    data.train = split
    found = trained(data)
    assert torch.equal(found[1], expected[1])
    assert all(torch.equal(one, other) for one, other in zip(found[0], expected[0], strict=True))


def test_small_sets_are_neither_staged_nor_read_ahead():
    images = stream.ImageStream(dataset().train.x, torch.zeros(3, 20, dtype=torch.int64), torch.device("cpu"))
    assert not images.staged
    assert not images.ahead.active
