"""Do the intervals hold what they promise? A simulation with known truth.

    python -m benchmarks.interval_coverage     writes docs/results_intervals.md; 8 minutes

Every run draws tiles from a world, computes the intervals as the product does, and looks whether
they contain what the world's very many tiles give.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtrit
from scipy.stats import binom

from benchmarks.simulated_tiles import THRESHOLD, Tiles, World, draw_tiles, metrics, sum_tiles
from transforms.functional.bootstrap import (
    LEAST_CLUSTERS,
    expanded_tail,
    interval,
    poisson_weights,
)

CLUSTERS = (8, 12, 20, 30, 60, 120)
WITH_AP = (12, 20, 60)
WORLDS = (World(), World(gain=0.3), World(evenness=0.3))
"""Without a gain, with one, and without one where few tiles hold most of the objects."""

METRICS = ("recall gain", "precision gain", "AP50 gain", "PSNR gain (dB)", "recall")
GAINS = METRICS[:-1]
METHODS = ("expanded percentile", "percentile", "bias-corrected", "t")
RUNS, MANY_RUNS, REPLICATES = 2000, 10_000, 1000
LEVEL = 0.05
SEED = 1
RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results_intervals.md"

Floats = NDArray[np.float64]
Ends = tuple[float, float]
Counts = Counter[tuple[str, str]]


@dataclass(frozen=True)
class Setting:
    """A world and how many of its tiles a run sees."""

    world: World
    clusters: int


def population(world: World, parts: int = 400) -> Mapping[str, float]:
    """Return every metric over very many tiles, 500 to a part; gains are exact where none is."""
    rng = np.random.default_rng(SEED)
    tiles = sum_tiles([sum_tiles([draw_tiles(world, 500, rng)]) for _ in range(parts)])
    one = metrics(tiles, np.ones((1, parts)), with_ap=True)
    still = GAINS if world.gain == 0 else ()
    return {name: 0.0 if name in still else float(value[0]) for name, value in one.items()}


def simulate(setting: Setting, truth: Mapping[str, float], *, runs: int, with_ap: bool) -> Counts:
    """Count over runs what happened, by metric and event."""
    counts: Counts = Counter()
    for run in range(runs):
        rng = np.random.default_rng((SEED, run, setting.clusters, round(10 * setting.world.gain)))
        tiles = draw_tiles(setting.world, setting.clusters, rng)
        values = metrics(tiles, np.ones((1, setting.clusters)), with_ap=with_ap)
        replicates = metrics(tiles, tile_weights(setting.clusters, seed=run), with_ap=with_ap)
        for name, value in values.items():
            # Not +=, which forgets the events that never happened.
            counts.update(
                judge(name, float(value[0]), replicates[name], setting.clusters, truth[name])
            )
        counts["recall gain", "McNemar rejects"] += mcnemar(tiles) <= LEVEL
        low, high = box_interval(tiles, rng)
        counts["recall gain", "boxes exclude 0"] += not low <= 0 <= high
        counts["recall gain", "boxes cover"] += low <= truth["recall gain"] <= high
    return counts


def tile_weights(clusters: int, *, seed: int) -> Floats:
    """Return the weights of tiles named by their number: (REPLICATES, clusters)."""
    names = (str(cluster) for cluster in range(clusters))
    drawn = [poisson_weights(name, replicates=REPLICATES, seed=seed) for name in names]
    return np.stack(drawn, axis=1).astype(float)


def judge(name: str, value: float, replicates: Floats, clusters: int, truth: float) -> Counts:
    """Return what happened in one run of one metric: events that occurred count 1."""
    ends = all_ends(value, replicates, clusters)
    events = {f"{method} covers": low <= truth <= high for method, (low, high) in ends.items()}
    got = interval(value, replicates, clusters=clusters, difference=name in GAINS)
    if got:
        events["covers"] = got.low <= truth <= got.high
        events["excludes 0"] = not got.low <= 0 <= got.high
        events["p rejects"] = got.p is not None and got.p <= LEVEL
        events["detectable (1e-6)"] = round(1e6 * (got.minimum_detectable or 0))
    return Counter({(name, event): int(count) for event, count in events.items()})


def all_ends(value: float, replicates: Floats, clusters: int) -> Mapping[str, Ends]:
    """Return the ends of the interval by every method in question."""
    ours, n = expanded_tail(clusters), clusters
    replicates = replicates[np.isfinite(replicates)]
    shift = 2 * ndtri(np.clip(np.mean(replicates < value), 0.001, 0.999))
    corrected = ndtr(shift + ndtri([ours, 1 - ours]))
    reach = stdtrit(n - 1, 0.975) * replicates.std(ddof=1) * math.sqrt(n / (n - 1))
    shares = [ours, 1 - ours, 0.025, 0.975, *corrected]
    expanded, plain, biased = np.quantile(replicates, shares).reshape(3, 2)
    all_methods = (expanded, plain, biased, (value - reach, value + reach))
    return {name: tuple(ends) for name, ends in zip(METHODS, all_methods, strict=True)}


def mcnemar(tiles: Tiles) -> float:
    """Return the p of McNemar's exact test of objects, as if every object were alone (1947)."""
    gained, lost = int(tiles.gained.sum()), int(tiles.lost.sum())
    return min(1.0, 2 * float(binom.cdf(min(gained, lost), gained + lost, 0.5)))


def box_interval(tiles: Tiles, rng: np.random.Generator) -> Ends:
    """Return the percentile interval of the recall gain when objects are drawn one by one."""
    labels, gained, lost = (int(each.sum()) for each in (tiles.labels, tiles.gained, tiles.lost))
    shares = np.array([gained, lost, labels - gained - lost]) / labels
    drawn = rng.multinomial(labels, shares, size=REPLICATES)
    low, high = np.quantile((drawn[:, 0] - drawn[:, 1]) / labels, [0.025, 0.975])
    return float(low), float(high)


def describe(
    counts: Mapping[Setting, Counts], many: Counts, truths: Mapping[World, Mapping[str, float]]
) -> str:
    """Return docs/results_intervals.md; `many` counts `MANY_RUNS` of 60 tiles without a gain."""
    zero, gain, uneven = WORLDS
    runs = f"{RUNS} runs of {REPLICATES} replicates a row"
    worst = 100 * math.sqrt(LEVEL * (1 - LEVEL) / RUNS)
    truth = ", ".join(f"{name} {truths[gain][name]:.3f}" for name in METRICS)
    parts = [
        HEAD,
        f"{runs}: a share of 95 % has a Monte-Carlo standard error of {worst:.1f} points.",
        f"In the world with a gain the truth is: {truth}.\n",
        "## Coverage of the 95 % interval (wanted: 93-97 %)\n",
        _table(METRICS, "covers", counts, zero, " (no gain)"),
        _table(METRICS, "covers", counts, gain, " (gain)"),
        f"60 tiles without a gain once more, in {MANY_RUNS} runs (standard error 0.2 points):\n",
        _headline(many),
        "## False alarms where there is no gain (wanted: at most 6 %)\n",
        "The interval excludes 0:\n",
        _table(GAINS, "excludes 0", counts, zero),
        "`p` is at most 5 %:\n",
        _table(GAINS, "p rejects", counts, zero),
        "What ignores that objects of a tile succeed and fail together, for the recall gain:\n",
        _events(("McNemar rejects", "boxes exclude 0", "boxes cover"), counts, zero),
        "## Where few tiles hold most of the objects\n",
        UNEVEN,
        _table(("recall gain", "precision gain", "recall"), "covers", counts, uneven),
        "## Power\n",
        "The recall gain above is found (`p` at most 5 %), and the mean `minimum_detectable`:\n",
        _events(("p rejects",), counts, gain, detectable=True),
        "## Why the expanded percentile\n",
        "Coverage without a gain, by method; below the least number no interval is given.\n",
    ]
    for name in ("recall gain", "precision gain", "PSNR gain (dB)", "recall"):
        parts += [f"{name}:\n", _methods(name, counts, zero)]
    return "\n".join(parts)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _grid(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join([_row(header), "|---" * len(header) + "|", *map(_row, rows), ""])


def _share(counts: Counts, name: str, event: str) -> str:
    return f"{100 * counts[name, event] / RUNS:.1f} %" if (name, event) in counts else ""


def _headline(many: Counts) -> str:
    events = ("covers", "excludes 0", "p rejects")
    rows = [
        [name, *(f"{100 * many[name, event] / MANY_RUNS:.1f} %" for event in events)]
        for name in ("recall gain", "precision gain", "PSNR gain (dB)")
    ]
    return _grid(["metric", "covers the truth", "excludes 0", "p <= 5 %"], rows)


def _table(
    names: Sequence[str], event: str, counts: Mapping[Setting, Counts], world: World, note: str = ""
) -> str:
    sizes = [size for size in CLUSTERS if size >= LEAST_CLUSTERS]
    rows = [
        [str(size), *(_share(counts[Setting(world, size)], name, event) for name in names)]
        for size in sizes
    ]
    return _grid([f"tiles{note}", *names], rows)


def _events(
    events: Sequence[str],
    counts: Mapping[Setting, Counts],
    world: World,
    *,
    detectable: bool = False,
) -> str:
    rows = []
    for size in CLUSTERS:
        seen = counts[Setting(world, size)]
        if size >= LEAST_CLUSTERS:
            rows.append([str(size), *(_share(seen, "recall gain", event) for event in events)])
        if size >= LEAST_CLUSTERS and detectable:
            rows[-1].append(f"{seen['recall gain', 'detectable (1e-6)'] / 1e6 / RUNS:.3f}")
    return _grid(["tiles", *events, *(["minimum detectable"] if detectable else [])], rows)


def _methods(name: str, counts: Mapping[Setting, Counts], world: World) -> str:
    rows = []
    for size in CLUSTERS:
        seen = counts[Setting(world, size)]
        rows.append([str(size), *(_share(seen, name, f"{method} covers") for method in METHODS)])
    return _grid(["tiles", *METHODS], rows)


HEAD = f"""\
# Do the intervals hold what they promise?

Made by `python -m benchmarks.interval_coverage`. Tiles are drawn from a world whose truth is known
(`benchmarks/simulated_tiles.py`): {World.objects:g} objects a tile on average, negative binomial.
From tile to tile vary how easy they are (standard deviation {World.tile_spread:g} of the strength)
and how much the second arm helps ({World.gain_spread:g}). An object's strength correlates by
{World.shared:g} between the arms; a detection counts from score {THRESHOLD:g}. Without a gain the
two arms can change places, so every gain is exactly 0; otherwise the truth is that of 200,000
tiles. A cluster is a tile. AP50 is measured for {", ".join(map(str, WITH_AP))} tiles only, because
it takes longest.
"""
UNEVEN = f"""\
The world without a gain again, with a shape of {WORLDS[2].evenness:g} instead of {World.evenness:g}
of the number of objects: the tenth of the tiles with most objects holds about half of them, so far
fewer tiles carry the result than there are. Coverage:
"""


def main() -> None:
    """Simulate every setting and write the results."""
    truths = {world: population(world) for world in WORLDS}
    counts = {}
    for world in WORLDS:
        for size in CLUSTERS:
            setting = Setting(world, size)
            with_ap = size in WITH_AP and world != WORLDS[2]
            counts[setting] = simulate(setting, truths[world], runs=RUNS, with_ap=with_ap)
            print(f"{size} tiles, gain {world.gain:g}: {dict(counts[setting])}", flush=True)
    sixty = Setting(WORLDS[0], 60)
    many = simulate(sixty, truths[WORLDS[0]], runs=MANY_RUNS, with_ap=False)
    RESULTS.write_text(describe(counts, many, truths), encoding="utf-8")
    print(f"wrote {RESULTS}")


if __name__ == "__main__":
    main()
