"""Processes of a benchmark that run one network at the same time."""

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.bench_process import Task
from pipeline.rounds import Lap

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Team:
    """`processes` that run one network, each with so many threads, on the same pictures.

    Each is started afresh and keeps its network between laps. Raises ValueError, saying why, where
    the network cannot be loaded.
    """

    def __init__(self, task: Task, processes: int, threads: int) -> None:
        """Start the processes and load the network in each."""
        self.task, self.processes, self.threads = task, processes, threads
        self._calls, self._mpix = 1, 0.0
        command = [sys.executable, "-m", "pipeline.bench_process", json.dumps(asdict(task))]
        environment = {**os.environ, **dict.fromkeys(_THREADS, str(threads))}
        self._members = [
            subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment,
            )
            for _ in range(processes)
        ]
        try:
            self._answers()
        except (RuntimeError, ValueError):
            self.close()
            raise

    def prepare(
        self, pictures: Path, *, mpix: float, seconds: float, result: Path | None = None
    ) -> None:
        """Warm up with the pictures of a file, uint8 (n, h, w, 3), of so many MPix together.

        A lap is then as many calls as take about `seconds`. `result` gets what the first process
        makes of the pictures.
        """
        order: dict[str, Any] = {"pictures": str(pictures), "result": None}
        named = order | {"result": None if result is None else str(result)}
        answers = self._order([named] + [order] * (self.processes - 1))
        slowest = max(answer["seconds"] for answer in answers)
        self._calls, self._mpix = max(1, math.ceil(seconds / slowest)), mpix

    def lap(self) -> Lap:
        """Let all processes start together, and return what they did until the last one ended."""
        start = time.perf_counter()
        answers = self._order([{"calls": self._calls}] * self.processes)
        wall = time.perf_counter() - start
        cpu = sum(answer["cpu"] for answer in answers)
        return Lap(self._mpix * self._calls * self.processes, wall, cpu)

    def close(self) -> None:
        """End the processes."""
        for member in self._members:
            assert member.stdin is not None
            assert member.stdout is not None
            member.stdin.close()
            member.stdout.close()
        for member in self._members:
            member.wait()

    def _order(self, orders: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        for member, order in zip(self._members, orders, strict=True):
            assert member.stdin is not None
            member.stdin.write(json.dumps(order) + "\n")
            member.stdin.flush()
        return self._answers()

    def _answers(self) -> list[dict[str, Any]]:
        return [self._answer(member) for member in self._members]

    def _answer(self, member: subprocess.Popen[str]) -> dict[str, Any]:
        assert member.stdout is not None
        line = member.stdout.readline()
        if not line:
            raise RuntimeError(f"a process with {self.task} ended with {member.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ValueError(f"{self.task.weights}, {self.task.backend}: {answer['error']}")
        return answer
