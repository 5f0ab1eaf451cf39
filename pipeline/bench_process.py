"""A process of a benchmark: it loads one network and runs it whenever it is told to.

Orders and answers are lines of JSON on its standard input and output (see `bench_team`).
"""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
EAGER = "eager"
"""The backend that is none: the network as one runs it by hand (see `models.eager`)."""


@dataclass(frozen=True)
class Task:
    """Which network a process runs, and how; `weights` is a path."""

    kind: Literal["deblur", "detect"]
    weights: str
    backend: str
    dtype: str = "float32"
    device: str = "cpu"


def load(task: Task) -> Callable[[Images], Any]:
    """Load the network of a task; errors are those of whatever loads it."""
    weights = Path(task.weights)
    if task.kind == "detect":
        from models.detector import Detector

        known: Any = {"backend": task.backend, "dtype": task.dtype}
        return Detector.load(weights, device=task.device, **known)
    if task.backend == EAGER:
        from models.eager import EagerDeblurrer

        return EagerDeblurrer(weights, task.device)
    from models.deblurrer import Deblurrer

    known = {"backend": task.backend, "dtype": task.dtype}
    return Deblurrer.load(weights, device=task.device, **known)


class Runner:
    """A network and the pictures that it was last told to run."""

    def __init__(self, task: Task) -> None:
        """Load the network."""
        self._network = load(task)
        self._pictures: Images = np.zeros((0, 64, 64, 3), np.uint8)

    def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        """Prepare for pictures, or run them; return what is answered."""
        if "pictures" in order:
            return self._prepare(Path(order["pictures"]), order["result"])
        return self._run(order["calls"])

    def _prepare(self, pictures: Path, result: str | None) -> dict[str, Any]:
        """Warm up; keep what became of the pictures; return the seconds of a call."""
        self._pictures = np.load(pictures)
        made = self._network(self._pictures)
        if result is not None:
            np.save(result, made)
        return {"seconds": self._run(1)["wall"]}

    def _run(self, calls: int) -> dict[str, Any]:
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(calls):
            self._network(self._pictures)
        return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def main() -> None:
    """Serve until there are no more orders."""
    # Whatever libraries print must not stand between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(content: dict[str, Any]) -> None:
        print(json.dumps(content), file=answers, flush=True)

    try:
        runner = Runner(Task(**json.loads(sys.argv[1])))
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        answer({"error": str(error)})
        return
    answer({})
    for line in sys.stdin:
        answer(runner.obey(json.loads(line)))


if __name__ == "__main__":
    main()
