"""The page that compares deblurring with a detector that knows blur says what was measured."""

import numpy as np

from benchmarks.blur_trained_detector import ANGLES, ARMS, LENGTHS, blurred, describe, measure
from models.training.detector_score import DetectorScore, LabelledImage
from transforms.functional.boxes import Detections, xyxy_to_corners

BOX = np.float32([[10, 12, 30, 22]])


def picture():
    """A picture of noise with one label."""
    image = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    return LabelledImage(image, BOX, np.zeros(1, np.int32))


def finds_in(wanted):
    """A detector that finds the label in images that `wanted` accepts, and nothing elsewhere."""
    found = Detections(xyxy_to_corners(BOX), np.float32([0.9]), np.zeros(1, np.int32))
    return lambda images: [found if wanted(images[0]) else Detections.empty()]


def test_the_sharp_picture_is_shown_once_and_untouched():
    [only] = blurred([picture()], 0)
    assert np.array_equal(only.image, picture().image)
    assert len(list(blurred([picture(), picture()], 7))) == 2 * len(ANGLES)


def test_only_the_arm_that_deblurs_sees_what_the_deblurrer_gives():
    detectors = {
        "vehicles_yolo": finds_in(lambda image: not image.any()),
        "vehicles_yolo_blur": finds_in(lambda image: image.any()),
    }
    scores = measure([picture()], np.zeros_like, detectors)
    assert {arm.title.split(":")[0]: scores[7, arm].recall for arm in ARMS} == {
        "before": 0.0,
        "after": 1.0,
        "taught": 1.0,
    }


def test_every_arm_has_a_line_in_each_table():
    scores = {
        (length, arm): DetectorScore(40, 0.3, 0.8, length / 100, place / 10)
        for length in LENGTHS
        for place, arm in enumerate(ARMS)
    }
    text = describe(scores, {"net": "abcdef0123456789"})
    lines = [line for line in text.splitlines() if line.startswith(f"| {ARMS[2].title}")]
    assert lines[0].endswith("| 0.000 | 0.040 | 0.070 | 0.110 | 0.150 | 0.210 |")
    assert lines[1].count("0.200") == len(LENGTHS)
    assert "40 labelled vehicles" in text
    assert "net (abcdef012345)" in text
