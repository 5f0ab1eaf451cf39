"""How often the 95 % interval of a calibrated threshold holds the true one, by simulation.

    python benchmarks/threshold_coverage.py

Clusters differ in how easy their objects are and in how many false finds they have. The true
threshold is that of very many clusters. Prints a row per target and number of clusters.
"""

import numpy as np
from numpy.typing import NDArray

from transforms.functional.bootstrap import interval, poisson_weights
from transforms.functional.operating_point import (
    Outcomes,
    Ranking,
    Target,
    lowest_threshold,
    resample_thresholds,
)

TARGETS = (Target("precision", 0.8), Target("precision", 0.9), Target("false_per_km2", 2.0))
CLUSTERS = (12, 30, 60)
MANY, RUNS, REPLICATES = 100_000, 500, 300


def draw_outcomes(rng: np.random.Generator, clusters: int) -> Outcomes:
    """Return about 20 found and 23 false detections a cluster, and one square kilometre each."""
    ease = rng.normal(0, 0.7, clusters)
    found = np.repeat(np.arange(clusters), labels := rng.poisson(20, clusters))
    number = rng.poisson(20 * np.exp(rng.normal(0, 0.5, clusters)))
    false = np.repeat(np.arange(clusters), number)
    logits = np.concatenate([1.5 + ease[found], -1.5 + 0.5 * ease[false]])
    noise = rng.normal(0, 1, len(logits))
    scores = (1 / (1 + np.exp(-(logits + noise)))).astype(np.float32)
    is_found = np.arange(len(scores)) < len(found)
    return Outcomes(
        scores=scores,
        found=is_found,
        false=~is_found,
        classes=np.zeros(len(scores), np.int32),
        clusters=np.concatenate([found, false]),
        labels=labels[:, None],
        km2=np.ones(clusters),
    )


def choose(outcomes: Outcomes, target: Target) -> float:
    """Return the threshold of one sample."""
    clusters = len(outcomes.labels)
    points = Ranking.of(outcomes).curve(np.ones(clusters, np.int64))
    return lowest_threshold(points, target, float(clusters))


def coverage(target: Target, clusters: int, truth: float) -> float:
    """Return the share of simulated calibrations whose interval holds the truth."""
    rng, held = np.random.default_rng(clusters), 0
    for run in range(RUNS):
        outcomes = draw_outcomes(rng, clusters)
        replicates = resample_thresholds(outcomes, target, draw_weights(clusters, seed=run))
        value = choose(outcomes, target)
        ends = interval(value, replicates, clusters=clusters, difference=False)
        held += ends is not None and ends.low <= truth <= ends.high
    return held / RUNS


def draw_weights(clusters: int, *, seed: int) -> NDArray[np.uint8]:
    """Return the weights of all clusters: uint8 (r, C)."""
    names = map(str, range(clusters))
    return np.stack(
        [poisson_weights(name, replicates=REPLICATES, seed=seed) for name in names], axis=1
    )


def main() -> None:
    """Print the table."""
    population = draw_outcomes(np.random.default_rng(1), MANY)
    print("| target | true threshold | clusters | held |\n|---|---|---|---|")
    for target in TARGETS:
        truth = choose(population, target)
        for clusters in CLUSTERS:
            held = coverage(target, clusters, truth)
            print(f"| {target.metric} {target.value:g} | {truth:.3f} | {clusters} | {held:.1%} |")


if __name__ == "__main__":
    main()
