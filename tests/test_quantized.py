"""The benchmark of 8-bit deblurrers counts what was found after one network and not the other."""

import math

import numpy as np
import pytest

from benchmarks.quantized import (
    FIRST_SEED,
    LADDER,
    Cost,
    describe,
    found_labels,
    judge,
    measure,
    pictures_of,
)
from models.training.detector_score import LabelledImage
from transforms.functional.bootstrap import LEAST_CLUSTERS
from transforms.functional.boxes import Detections, xyxy_to_corners
from transforms.functional.render import render_scene

BOXES = np.float32([[10, 12, 30, 22], [40, 40, 60, 50]])
KNOWN = {"place": "rendered", "deblurrer": "net", "severity": 2}


def picture():
    """A picture of noise with two labels."""
    image = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    return LabelledImage(image, BOXES, np.zeros(2, np.int32))


def detections(boxes, score=0.9):
    count = len(boxes)
    return Detections(
        xyxy_to_corners(boxes), np.full(count, score, np.float32), np.zeros(count, np.int32)
    )


def white(images):
    return np.full_like(images, 255)


def detector(images):
    """Finds both labels in black, the second in white, and nothing elsewhere."""
    image = images[0]
    if not image.any():
        return [detections(BOXES)]
    return [detections(BOXES[1:]) if image.min() == 255 else Detections.empty()]


def pairs(pictures=1, networks=(np.zeros_like, white)):
    return measure([picture() for _ in range(pictures)], networks, detector, severity=2)


def test_a_label_is_found_from_the_threshold_up():
    found = detections(BOXES[:1], score=0.5), picture()
    assert found_labels(found, 0.5).tolist() == [True, False]
    assert found_labels(found, 0.6).tolist() == [False, False]


def test_what_only_one_network_lets_be_found_is_counted():
    cost = judge(pairs(), **KNOWN, independent=True)
    angles = len(LADDER.angles)
    assert (cost.labels, cost.float_only, cost.int8_only) == (2 * angles, angles, 0)
    assert (cost.before, cost.recall, cost.recall_int8) == (0, 1, 0.5)
    assert (cost.matched, cost.matched_int8) == (1, 0.5)
    assert cost.psnr == 0
    assert not cost.kept


def test_equal_networks_cost_nothing():
    cost = judge(pairs(networks=(white, white)), **KNOWN, independent=True)
    assert (cost.float_only, cost.int8_only, cost.psnr) == (0, 0, math.inf)
    assert cost.kept


@pytest.mark.parametrize(
    ("pictures", "independent", "given"),
    [
        (LEAST_CLUSTERS, True, True),
        (LEAST_CLUSTERS - 1, True, False),
        (LEAST_CLUSTERS, False, False),
    ],
)
def test_intervals_are_for_enough_independent_pictures(pictures, independent, given):
    cost = judge(pairs(pictures), **KNOWN, independent=independent)
    assert (cost.low, cost.high) == ((-0.5, -0.5) if given else (None, None))


def test_rendered_pictures_are_those_of_the_seeds():
    [first] = pictures_of("rendered", 1)
    gsd = float(np.random.default_rng(FIRST_SEED).uniform(0.12, 0.15))
    scene = render_scene(seed=FIRST_SEED, height=512, width=512, gsd=gsd)
    np.testing.assert_array_equal(first.image, scene.image)
    assert len(first.boxes) == len(scene.corners)


def test_a_table_of_each_place_and_network():
    bounds = {"low": -0.004, "high": 0.002}
    costs = [
        Cost(**KNOWN, labels=400, psnr=48.2, before=0.5, recall=0.8, recall_int8=recall,
             **bounds, float_only=3, int8_only=2, matched=0.9, matched_int8=0.9)
        for recall in (0.797, 0.79)
    ]  # fmt: skip
    text = describe(costs, {"net": "abcdef0123456789"})
    assert "100 vehicles under each of 4 angles" in text
    assert "abcdef012345)" in text
    rows = [line for line in text.splitlines() if line.startswith("| 2 |")]
    assert "-0.30 (-0.40 to +0.20) | 3 / 2 |" in rows[0]
    assert [row.endswith("| yes |") for row in rows] == [True, False]
