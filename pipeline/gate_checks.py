"""What the gate looks at, and what it finds: one number of a run against those of earlier runs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Literal

from configs.operations import GateConfig
from transforms.functional.robust import Usual, standard_error
from transforms.numbers import metric_prefix
from transforms.records import Truth
from transforms.tables import Row

Outcome = Literal["worse", "better", "in line", "not judged"]

SURE = 2.576
"""A claim is lost only so many standard deviations below the median, of the run's own interval and
of what runs differ by: in one run of 200 by chance."""


@dataclass(frozen=True)
class Check:
    """One number of a run, by `read`, and when a change of it is for the worse.

    `matters` is the smallest change that does, a share of the median if `relative`. Runs are
    compared that agree in the columns `same`. Of a resumed run nobody knows it if `whole`. With
    `interval` the number has a 95 % interval, in the columns `NAME_low` and `NAME_high`. It is
    shown times `scale`, with `digits` and a unit.
    """

    name: str
    read: Callable[[Row], float | None]
    worse: Literal["down", "up", "both"]
    matters: float
    relative: bool = False
    same: tuple[str, ...] = ()
    whole: bool = False
    interval: str = ""
    scale: float = 1
    digits: int = 0
    unit: str = ""

    def show(self, number: float, *, bare: bool = False) -> str:
        """Write a number with its unit; one that has a sign by nature always shows it."""
        sign = "+" if self.interval and not bare else ""
        return f"{self.scale * number:{sign},.{self.digits}f} {self.unit}".strip()


@dataclass(frozen=True)
class Finding:
    """What became of one check: the number, as people read it, and why it is judged so."""

    name: str
    outcome: Outcome
    number: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.number}{self.why}"


def checks(config: GateConfig, truth: Truth) -> tuple[Check, ...]:
    """Return all that is looked at in a run of that truth, what matters most first."""
    gain = partial(Check, worse="down")
    size = partial(Check, worse="both", matters=config.inputs, relative=True)
    return (
        gain(
            f"{metric_prefix(truth)}recall gain".replace("_", " "),
            itemgetter("recall_gain"),
            matters=config.found,
            same=("truth",),
            interval="recall_gain",
            scale=100,
            digits=1,
            unit="points",
        ),
        gain(
            "PSNR gain",
            itemgetter("psnr_gain"),
            matters=config.psnr,
            interval="psnr_gain",
            digits=2,
            unit="dB",
        ),
        Check(
            "share of windows rejected",
            _reject_rate,
            "up",
            config.rejects,
            scale=100,
            digits=2,
            unit="%",
        ),
        Check("scenes without a mosaic", itemgetter("unmade_mosaics"), "up", 0),
        Check(
            "speed",
            itemgetter("speed"),
            "down",
            config.speed,
            relative=True,
            same=("engine", "workers", "device"),
            whole=True,
            digits=3,
            unit="MPix/s",
        ),
        size("scenes", itemgetter("scenes")),
        size("pixels", itemgetter("mpix"), digits=1, unit="MPix"),
        size("input", itemgetter("input_bytes"), scale=1e-6, digits=1, unit="MB"),
        size("labels", itemgetter("labels")),
    )


def judge(row: Row, earlier: Sequence[Row], config: GateConfig) -> list[Finding]:
    """Compare a run with earlier ones of the same settings, given in the order of their start.

    Of what none of them knows, such as a gain without a truth, nothing is said.
    """
    return [
        _judge(check, row, earlier, config)
        for check in checks(config, row["truth"])
        if any(check.read(each) is not None for each in (row, *earlier))
    ]


def _judge(check: Check, row: Row, earlier: Sequence[Row], config: GateConfig) -> Finding:
    number = check.read(row)
    if number is None and check.whole and row["resumed"]:
        return Finding(check.name, "not judged", "is not known of a run that was resumed")
    # What is missing in this run is compared with all that had it.
    same = () if number is None else check.same
    like = [old for old in earlier if all(old[name] == row[name] for name in same)]
    known = [(old, value) for old in like if (value := check.read(old)) is not None]
    known = known[-config.runs :]
    if len(known) < config.least:
        alike = f" with the same {', '.join(same)}" if same else ""
        why = "is not known" if number is None else f"is known in {len(known)} earlier runs{alike}"
        return Finding(check.name, "not judged", why)
    usual = Usual.of([value for _, value in known])
    if number is None:
        why = f"; the median of {len(known)} earlier runs is {check.show(usual.median)}"
        return Finding(check.name, "worse", "is not known", why)
    return _compare(check, number, row, usual=usual, known=[old for old, _ in known], config=config)


def _compare(
    check: Check,
    number: float,
    row: Row,
    *,
    usual: Usual,
    known: Sequence[Row],
    config: GateConfig,
) -> Finding:
    low, high = _interval(check, row)
    error = standard_error(low, high)
    matters = check.matters * (abs(usual.median) if check.relative else 1)
    allowed = max(matters, usual.reach(config.deviations), config.deviations * error)
    change = number - usual.median
    shown = f"{check.show(number)}{_shown(check, low, high)}"
    why = f", median {check.show(usual.median)}"
    if abs(change) > allowed:
        for_worse = check.worse == "both" or (check.worse == "down") == (change < 0)
        outcome: Outcome = "worse" if for_worse else "better"
        limit = check.show(allowed, bare=True)
        return Finding(check.name, outcome, shown, f"{why}: more than {limit} apart")
    noise = max(error, usual.spread)
    if -change > max(matters, SURE * noise) and low is not None and high is not None:
        lost = _lost_claim(low, high, [old[f"{check.interval}_low"] for old in known])
        if lost:
            return Finding(check.name, "worse", shown, f"{why}: {lost}")
    return Finding(check.name, "in line", shown, why)


def _lost_claim(low: float, high: float, lows: Sequence[float | None]) -> str:
    """Say what a gain can no longer claim; empty if it can, or earlier ones could not either.

    `lows` are the lower ends of the intervals of earlier runs.
    """
    if high < 0:
        return "the whole interval is below zero"
    claimed = sum(end is not None and end > 0 for end in lows)
    if low <= 0 and 2 * claimed > len(lows):
        return f"{claimed} of {len(lows)} earlier runs could claim a gain, this one cannot"
    return ""


def _interval(check: Check, row: Row) -> tuple[float | None, float | None]:
    if not check.interval:
        return None, None
    return row[f"{check.interval}_low"], row[f"{check.interval}_high"]


def _shown(check: Check, low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return ""
    ends = [f"{check.scale * end:+.{check.digits}f}" for end in (low, high)]
    return f" (95 %: {ends[0]} to {ends[1]})"


def _reject_rate(row: Row) -> float | None:
    return row["rejected"] / row["planned"] if row["planned"] else None
