"""Doing the next while the last is looked at: calls in order, in a thread of their own."""

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Semaphore, Thread
from typing import Generic, TypeVar

Input = TypeVar("Input")
Output = TypeVar("Output")


@dataclass(frozen=True)
class _Done(Generic[Output]):
    """How a call ended: with a result, or an error."""

    result: Output | None = None
    error: BaseException | None = None

    def get(self) -> Output:
        if self.error is not None:
            raise self.error
        return self.result  # type: ignore[return-value]  # None may be what was returned


def map_ahead(
    function: Callable[[Input], Output], items: Iterable[Input], *, depth: int
) -> Generator[Output, None, None]:
    """Yield the results of calls one by one, in order, as `map` does.

    While one is looked at, the next are made, until `depth` results wait; 0 makes every call when
    its result is asked for, in the thread that asks. An error is raised in place of its result, and
    is the end: of calls that were made ahead then, or when the iterator is closed, nobody hears.
    All calls come from one other thread, which holds up no process that wants to end.
    """
    if depth == 0:
        yield from map(function, items)
        return
    calls = _Calls(function, items, depth)
    try:
        while (done := calls.next()) is not None:
            yield done.get()
    finally:
        calls.stop()


class _Calls(Generic[Input, Output]):
    """A thread that makes calls, `depth` of them before anybody asks for the first result."""

    def __init__(
        self, function: Callable[[Input], Output], items: Iterable[Input], depth: int
    ) -> None:
        self._function = function
        self._items = items
        self._results: SimpleQueue[_Done[Output] | None] = SimpleQueue()
        self._room = Semaphore(depth)
        self._stopped = False
        # A daemon: a call may wait for a disk or a server for minutes.
        self._thread = Thread(target=self._work, daemon=True)
        self._thread.start()

    def next(self) -> _Done[Output] | None:
        """Return how the next call ended, None after the last."""
        done = self._results.get()
        self._room.release()
        return done

    def stop(self) -> None:
        """Make no more calls, and wait for the one that is being made."""
        self._stopped = True
        self._room.release()
        self._thread.join()

    def _work(self) -> None:
        for item in self._items:
            self._room.acquire()
            if self._stopped:
                return
            self._results.put(self._call(item))
        self._results.put(None)

    def _call(self, item: Input) -> _Done[Output]:
        try:
            return _Done(result=self._function(item))
        except BaseException as error:  # raised where the result is asked for
            return _Done(error=error)
