"""Fuzz every door of the program, many times, and print a table of what happened.

    python benchmarks/fuzz.py --cases 5000                     5000 cases of every target
    python benchmarks/fuzz.py --cases 20000 --only jpeg vrt    of these
    python benchmarks/fuzz.py --replay coco 4711               one case, with its traceback
    python benchmarks/fuzz.py --keep coco 4711 FOLDER          the files of a case

Cases run in child processes, by their seed: a crash of native code, a hang or a case that wants too
much memory is seen, attributed to its seed, and the next child goes on behind it. What is done is
kept in --state, from which another run continues. Findings stand below the table; a case can be
replayed from its target and seed with the same versions of the program and its libraries.
"""

import argparse
import json
import os
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import IO

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from fuzz_targets import TARGETS  # noqa: E402
from fuzzing import Target, Violation, judge  # noqa: E402

MEMORY = 4 * 2**30
"""Bytes of address space that a child may have beyond what its libraries take."""
BATCH = 2000
"""Cases of a child."""


def seed_of(target: Target, number: int) -> str:
    """Return the seed of a case."""
    return f"{target.name}:{number}"


def child(target: Target, first: int, end: int, place: Path, answers: IO[str]) -> None:
    """Judge cases of one target, and write a line of JSON for the beginning and end of each."""
    warnings.simplefilter("ignore")
    size = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    tempfile.tempdir = str(place)
    for number in range(first, end):
        print(json.dumps({"begin": number}), file=answers, flush=True)
        try:
            ended = judge(target, Random(seed_of(target, number)), place / "sandbox")
            finding = None
        except (Exception, Violation) as error:
            ended, finding = "finding", f"{type(error).__name__}: {error}"[:300]
            finding += f" @ {_place(error)}"
        said = {"end": number, "as": ended, "finding": finding}
        print(json.dumps(said), file=answers, flush=True)


def _place(error: BaseException) -> str:
    """Return the innermost line of ours that an error came through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if f.filename.startswith(str(ROOT)) and "/tests/" not in f.filename]
    ours = [frame for frame in ours if "site-packages" not in frame.filename] or frames[-1:]
    return f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"


def fuzz(target: Target, cases: int, state: dict) -> None:
    """Run a target on to that many cases; `state` is what is known of it, and grows."""
    while state["done"] < cases:
        first, end = state["done"], min(state["done"] + BATCH, cases)
        started, begun = time.monotonic(), None
        for said in _fork(target, first, end):
            if "begin" in said:
                begun = said["begin"]
            elif "end" in said:
                state["done"] = said["end"] + 1
                state["ended"][said["as"]] = state["ended"].get(said["as"], 0) + 1
                if said["finding"]:
                    state["findings"].append([said["end"], said["finding"]])
            elif state["done"] < end:  # it died in the middle of a case
                if begun is None or begun < state["done"]:
                    raise RuntimeError(f"the child for {target.name} ended outside of any case")
                state["findings"].append([begun, f"the process died: {said['status']}"])
                state["ended"]["died"] = state["ended"].get("died", 0) + 1
                state["done"] = begun + 1
        state["seconds"] += time.monotonic() - started


def _fork(target: Target, first: int, end: int) -> Iterator[dict]:
    """Run cases in a child that has all libraries already; yield what it says, and its status."""
    reading, writing = os.pipe()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as place:
        process = os.fork()
        if process == 0:
            os.close(reading)
            with suppress(BaseException), os.fdopen(writing, "w") as answers:
                child(target, first, end, Path(place), answers)
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as answers:
            yield from map(json.loads, answers)
        yield {"status": os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])}


def report(states: dict) -> str:
    """Return the table, and the findings that differ."""
    lines = ["| target | cases | read | rejected or refused | findings | cases/s |",
             "|---|---:|---:|---:|---:|---:|"]  # fmt: skip
    for name, state in states.items():
        ended = Counter(state["ended"])
        bad = ended.pop("finding", 0) + ended.pop("died", 0)
        good = sum(ended.values()) - ended["rejected"] - ended["refused"]
        speed = state["done"] / state["seconds"] if state["seconds"] else 0
        refused = ended["rejected"] + ended["refused"]
        numbers = f"{state['done']:,} | {good:,} | {refused:,} | {bad:,} | {speed:.0f}"
        lines.append(f"| {name} | {numbers} |")
    total = sum(state["done"] for state in states.values())
    lines.append(f"\n{total:,} cases\n")
    for name, state in states.items():
        alike = Counter(finding.split(" @ ")[-1] for _, finding in state["findings"])
        shown: set[str] = set()
        for number, finding in state["findings"]:
            place = finding.split(" @ ")[-1]
            if place not in shown:
                lines.append(f"{name} {number} ({alike[place]} alike): {finding}")
                shown.add(place)
    return "\n".join(lines)


def keep(target: Target, number: int, folder: Path) -> None:
    """Write the files of a case."""
    folder.mkdir(parents=True)
    print(target.make(Random(seed_of(target, number)), folder))


def replay(target: Target, number: int) -> None:
    """Judge one case, and let its traceback through."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as sandbox:
        print(judge(target, Random(seed_of(target, number)), Path(sandbox)))


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=5000, help="of every target")
    parser.add_argument("--only", nargs="+", metavar="TARGET")
    parser.add_argument(
        "--state", type=Path, default=Path(tempfile.gettempdir(), "fuzz_state.json")
    )
    parser.add_argument("--replay", nargs=2, metavar=("TARGET", "SEED"))
    parser.add_argument("--keep", nargs=3, metavar=("TARGET", "SEED", "FOLDER"))
    options = parser.parse_args()
    named = {target.name: target for target in TARGETS}
    if options.replay:
        replay(named[options.replay[0]], int(options.replay[1]))
    elif options.keep:
        keep(named[options.keep[0]], int(options.keep[1]), Path(options.keep[2]))
    else:
        _run(options)


def _run(options: argparse.Namespace) -> None:
    states = json.loads(options.state.read_text()) if options.state.exists() else {}
    for target in TARGETS:
        if options.only and target.name not in options.only:
            continue
        empty = {"done": 0, "seconds": 0.0, "ended": {}, "findings": []}
        state = states.setdefault(target.name, empty)
        fuzz(target, options.cases, state)
        draft = options.state.with_suffix(".draft")
        draft.write_text(json.dumps(states))
        shutil.move(draft, options.state)
        print(f"{target.name}: {state['done']} {state['ended']}", file=sys.stderr, flush=True)
    print(report(states))


if __name__ == "__main__":
    main()
