"""Rows of the table of runs, as a scheduler would collect them: made, not measured."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import numpy as np

from transforms.run_table import RUNS
from transforms.tables import Row

NIGHT = {
    "run_id": "0123456789ab",
    "settings_id": "5e771465abcd",
    "output": "out/night",
    "state": "done",
    "exit_code": 0,
    "engine": "local",
    "workers": 2,
    "device": "cpu",
    "code_version": "0.1.0",
    "weights": [{"name": "deblur_dsc", "sha256": "ab" * 32}],
    "scenes": 20,
    "input_bytes": 400_000_000,
    "planned": 400,
    "measured": 396,
    "empty": 4,
    "rejected": 0,
    "resumed": 0,
    "unmade_mosaics": 0,
    "mpix": 400.0,
    "wall_seconds": 200.0,
    "speed": 2.0,
    "truth": "labels",
    "labels": 2000,
    "recall_before": 0.6,
    "recall_after": 0.68,
    "precision_before": 0.8,
    "precision_after": 0.8,
    "recall_gain": 0.08,
    "recall_gain_low": 0.06,
    "recall_gain_high": 0.10,
    "psnr_gain": 1.5,
    "psnr_gain_low": 1.4,
    "psnr_gain_high": 1.6,
}


def made_run(night: int = 0, **changes: object) -> Row:
    """Return the row of a run of some night: all are alike, but for what is given."""
    start = datetime(2026, 5, 1, 2, tzinfo=UTC) + timedelta(days=night)
    times = {
        "run_id": f"{night:012x}",
        "started": start.isoformat(),
        "finished": (start + timedelta(seconds=200)).isoformat(),
    }
    row = dict.fromkeys(column.name for column in RUNS.columns) | NIGHT | times
    assert changes.keys() <= row.keys()
    return row | changes


def drawn_run(
    rng: np.random.Generator, night: int, *, nights: Mapping[str, float], **changes: object
) -> Row:
    """Return the row of a night whose numbers are drawn.

    Of about `labels` each is found only after deblurring with chance 0.05 + `gain`, and only before
    with 0.05. The true gain differs between nights by `drift`, speed and what there is to read by
    the shares `pace` and `sizes`; a window is rejected with chance `rejects`.
    """
    size = math.exp(nights["sizes"] * rng.standard_normal())
    labels = int(rng.poisson(nights["labels"] * size))
    chance = 0.05 + max(nights["gain"] + nights["drift"] * rng.standard_normal(), 0)
    gained, lost = rng.multinomial(labels, [chance, 0.05, 0.95 - chance])[:2]
    gain = (gained - lost) / labels
    half = 1.96 * math.sqrt(gained + lost - (gained - lost) ** 2 / labels) / labels
    planned = round(400 * size)
    speed = 2 * math.exp(nights["pace"] * rng.standard_normal())
    drawn = {
        "labels": labels,
        "recall_gain": gain,
        "recall_gain_low": gain - half,
        "recall_gain_high": gain + half,
        "psnr_gain": 1.5 + 0.05 * rng.standard_normal(),
        "planned": planned,
        "rejected": int(rng.binomial(planned, nights["rejects"])),
        "scenes": max(round(20 * size), 1),
        "mpix": float(planned),
        "input_bytes": planned * 1_000_000,
        "speed": speed,
    }
    return made_run(night, **(drawn | changes))
