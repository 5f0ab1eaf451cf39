"""The batch of a GPU: the smallest that is nearly as fast as any within the memory."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from models.batch_size import ROUNDS, SIZES, Trial, choose_batch_size, find_batch_size
from models.buffered_calls import WORTH

GIB = 2**30


class Machine:
    """A GPU that takes `start` seconds for a call and one more for each picture."""

    def __init__(self, start=0.0, memory=GIB, full=None):
        self.start, self.memory, self.full = start, memory, full
        self.tried = []

    def __call__(self, size):
        """Try a size."""
        self.tried.append(size)
        if self.full and size >= self.full:
            raise MemoryError
        return Trial(self.start + size, self.memory * size)


def find(budget=1000 * GIB, **machine):
    tried = Machine(**machine)
    return find_batch_size(tried, budget=budget), tried.tried


def test_where_nothing_is_gained_pictures_go_alone():
    assert find()[0] == 1


@pytest.mark.parametrize(("start", "wanted"), [(0.05, 2), (0.5, 16), (3.0, 32)])
def test_the_smallest_of_nearly_equal_speeds_is_taken(start, wanted):
    assert find(start=start)[0] == wanted


def test_nothing_beyond_the_budget_is_tried():
    assert find(start=3, budget=5 * GIB) == (4, [1, 2, 4])


def test_what_needs_more_than_it_should_does_not_count():
    needs = {1: GIB, 2: 3 * GIB}
    found = find_batch_size(lambda size: Trial(1, needs[size]), budget=2 * GIB)
    assert found == 1


def test_the_search_ends_where_memory_does():
    assert find(start=3, full=8) == (4, [1, 2, 4, 8])
    assert find(full=1) == (1, [1])


def test_the_search_ends_where_larger_is_slower():
    seconds = {1: 1.0, 2: 1.6, 4: 4.0}
    assert find_batch_size(lambda size: Trial(seconds[size], 0), budget=GIB) == 2


class Card:
    """What is asked of `torch.cuda`; every call of a network takes memory for its pictures."""

    OutOfMemoryError = torch.OutOfMemoryError

    def __init__(self, limit=64):
        self.limit, self.used, self.called = limit, 0, []

    def fake(self):
        """Return what stands for `torch.cuda`."""
        return SimpleNamespace(
            get_device_name=lambda device: "NVIDIA L4",
            mem_get_info=lambda device: (24 * GIB - self.used, 24 * GIB),
            empty_cache=self.empty,
        )

    def empty(self):
        """Give back what is cached."""
        self.used = 0

    def load(self):
        """Return a network."""

        def network(pictures):
            self.called.append(pictures.shape)
            if len(pictures) > self.limit:
                raise torch.OutOfMemoryError("CUDA out of memory")
            self.used = len(pictures) * GIB
            return pictures

        return network


def choose(card, **changes):
    settings = {"size": (96, 64), "device": "cuda", **changes}
    return choose_batch_size(card.load, {"weights": "a"}, **settings)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def test_a_machine_remembers_what_it_found(home, monkeypatch):
    card = Card()
    monkeypatch.setattr(torch, "cuda", card.fake())
    found = choose(card)
    assert found in SIZES
    assert card.called[: WORTH + ROUNDS] == [(1, 96, 64, 3)] * (WORTH + ROUNDS)
    assert max(shape[0] for shape in card.called) <= 0.4 * 24
    card.called.clear()
    assert choose(card) == found
    assert card.called == []
    choose(card, size=(64, 64))
    assert card.called


def test_processes_that_share_a_gpu_share_its_memory(home, monkeypatch):
    card = Card()
    monkeypatch.setattr(torch, "cuda", card.fake())
    assert choose(card, sharing=8) == 1
    assert {shape[0] for shape in card.called} == {1}


def test_a_batch_that_does_not_fit_ends_the_search(home, monkeypatch):
    card = Card(limit=1)
    monkeypatch.setattr(torch, "cuda", card.fake())
    assert choose(card) == 1


def test_pictures_of_a_search_are_no_constants(home, monkeypatch):
    """A GPU computes zeros faster than pictures."""
    card, seen = Card(), []
    monkeypatch.setattr(torch, "cuda", card.fake())
    choose_batch_size(
        lambda: lambda pictures: seen.append(pictures.std()), {}, size=(64, 64), device="cuda"
    )
    assert np.min(seen) > 50
