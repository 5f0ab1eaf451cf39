"""Calls that are made ahead come in order, as many as may wait, and end with whoever asked."""

import threading
import time

import pytest

from transforms.ahead import map_ahead


class Calls:
    """A function that remembers its calls and the threads that made them."""

    def __init__(self):
        self.made, self.threads = [], set()

    def __call__(self, item):
        """Return the item, or raise an error for a bad one."""
        self.made.append(item)
        self.threads.add(threading.get_ident())
        if item == "bad":
            raise ValueError(item)
        return item


def settles(fact, *, seconds=10.0):
    """Say whether a fact comes true in time."""
    end = time.monotonic() + seconds
    while not fact() and time.monotonic() < end:
        time.sleep(0.001)
    return fact()


@pytest.mark.parametrize("depth", [0, 1, 3, 100])
def test_results_come_in_order(depth):
    assert list(map_ahead(str, range(20), depth=depth)) == [str(n) for n in range(20)]
    assert list(map_ahead(str, [], depth=depth)) == []
    assert list(map_ahead(lambda _: None, range(3), depth=depth)) == [None] * 3


def test_the_next_calls_are_made_while_a_result_is_looked_at():
    calls = Calls()
    results = map_ahead(calls, range(10), depth=2)
    assert next(results) == 0
    assert settles(lambda: calls.made == [0, 1, 2])
    time.sleep(0.05)
    assert calls.made == [0, 1, 2]
    assert next(results) == 1
    assert settles(lambda: calls.made == [0, 1, 2, 3])
    results.close()


def test_all_calls_come_from_one_other_thread():
    calls = Calls()
    list(map_ahead(calls, range(10), depth=2))
    assert len(calls.threads) == 1
    assert calls.threads != {threading.get_ident()}


def test_without_depth_a_call_is_made_when_it_is_asked_for_and_here():
    calls = Calls()
    results = map_ahead(calls, range(10), depth=0)
    assert next(results) == 0
    assert calls.made == [0]
    assert calls.threads == {threading.get_ident()}


@pytest.mark.parametrize("depth", [0, 4])
def test_an_error_comes_in_place_of_its_result_and_is_the_end(depth):
    results = map_ahead(Calls(), ["good", "bad", "good"], depth=depth)
    assert next(results) == "good"
    with pytest.raises(ValueError, match="bad"):
        next(results)
    with pytest.raises(StopIteration):
        next(results)


def test_closing_ends_the_thread_after_the_call_that_it_makes():
    before, calls = threading.active_count(), Calls()
    results = map_ahead(calls, range(100), depth=3)
    next(results)
    results.close()
    assert threading.active_count() == before
    assert len(calls.made) <= 5
