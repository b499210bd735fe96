"""Random words are those of SplitMix64, and a compiled loop gives the very words of torch's operators."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from vaezoo.core import compiled, noise, words
from vaezoo.training.replay.recording import record

MASK = (1 << 64) - 1


def split_mix(state, count):
    """The generator of Steele et al. (2014) as its authors publish it, in Python's whole numbers."""
    found = []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        found.append(z ^ (z >> 31))
    return found


@pytest.fixture
def loop(monkeypatch):
    """The numbers that each run of this loop got."""
    if compiled.loop(words.LOOP) is None:
        pytest.skip("there is no loop")
    seen, find = [], compiled.loop

    def noted(*numbers):
        seen.append(numbers)
        find(words.LOOP)(*numbers)

    monkeypatch.setattr(compiled, "loop", lambda module: noted if module == words.LOOP else find(module))
    return seen


@pytest.mark.parametrize("state", [0, 1234567, -1, -(1 << 63), (1 << 63) - 1])
@pytest.mark.parametrize("many", [True, False])
def test_the_words_are_those_of_splitmix64(loop, state, many):
    rows, length = (words.MANY // 5 + 1, 5) if many else (3, 5)
    start = state + words.GOLDEN * torch.arange(1, length + 1)
    found = words.counted(start, rows, length).flatten().tolist()
    assert [word & MASK for word in found] == split_mix(state & MASK, rows * length)
    assert len(loop) == many


@pytest.mark.parametrize("shape", [(100, 10), (1, 7), (3, 2, 5), (1,)])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_loop_s_words_are_those_of_the_operators(loop, monkeypatch, shape, threads):
    start = torch.randint(-(1 << 63), (1 << 63) - 1, (*shape, 2)).movedim(-1, 0)[0]  # strided
    rows, before = words.MANY // start.numel() + 1, torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        found = words.counted(start, rows, 11)
    finally:
        torch.set_num_threads(before)
    assert len(loop) == 1
    monkeypatch.setattr(words, "MANY", 1 << 62)
    assert torch.equal(found, words.counted(start, rows, 11))
    assert len(loop) == 1


def draws(samples):
    with noise.stream(5, index=torch.tensor([3, 1, 4]), first=7):
        return noise.normal(samples, 3, 5), noise.uniform(samples, 3, 2, 2)


def test_draws_are_the_same_with_and_without_the_loop_and_in_any_blocks(loop, monkeypatch):
    many = words.MANY
    with_loop = draws(many)
    assert len(loop) == 2
    monkeypatch.setattr(words, "MANY", 1 << 62)
    for one, other in zip(with_loop, draws(many), strict=True):
        assert torch.equal(one, other)
    for one, other in zip(with_loop, draws(2), strict=True):
        assert torch.equal(one[:2], other)
    assert len(loop) == 2


def test_a_map_over_keys_uses_the_operators(loop):
    keys = torch.tensor([1, 2])
    mapped = torch.vmap(lambda key: words.counted(key + torch.arange(words.MANY), 2, 3))(keys)
    assert loop == []
    for key, found in zip(keys, mapped, strict=True):
        assert torch.equal(words.counted(key + torch.arange(words.MANY), 2, 3), found)
    assert len(loop) == 2


def test_a_compiler_and_tensors_of_other_kinds_get_the_operators(loop, monkeypatch):
    """int32 counters, which the loop would misread, and tensors that only have a shape."""
    assert words.counted(torch.arange(5, dtype=torch.int32), words.MANY, 5).shape == (words.MANY, 5)
    with FakeTensorMode():
        assert words.counted(torch.arange(5), words.MANY, 5).shape == (words.MANY, 5)
    assert words.counted(torch.arange(5, device="meta"), words.MANY, 5).shape == (words.MANY, 5)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    words.counted(torch.arange(5), words.MANY, 5)
    assert loop == []
    with pytest.raises(AssertionError):
        torch.ops.vaezoo.words(torch.arange(5, dtype=torch.int32), words.MANY, 5)


def test_a_recorded_step_replays_the_loop(loop):
    key, kept = torch.tensor(5), torch.zeros(words.MANY, 2, dtype=torch.int64)

    def step():
        kept.copy_(words.counted(key + torch.arange(2), words.MANY, 2))

    recording = record(step)
    first = kept.clone()
    key.add_(9)
    recording()
    replayed = kept.clone()
    step()
    assert torch.equal(kept, replayed)
    assert not torch.equal(first, replayed)
    assert len(loop) == 3
