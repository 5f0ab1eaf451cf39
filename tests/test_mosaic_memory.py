"""The memory of a mosaic does not grow with its scene."""

from pathlib import Path

import pytest

from benchmarks.mosaic_memory import measure_apart

ALLOWED_GROWTH = 300
"""MiB that sixteen times the pixels may need more."""


@pytest.mark.slow
def test_sixteen_times_the_pixels_need_no_more_memory(tmp_path: Path) -> None:
    small, large = (measure_apart(side, tmp_path) for side in (3_000, 12_000))
    print(f"peak memory: {small['peak_mib']:.0f} and {large['peak_mib']:.0f} MiB")
    assert large["peak_mib"] - small["peak_mib"] < ALLOWED_GROWTH
    assert large["peak_mib"] > large["before_mib"]
