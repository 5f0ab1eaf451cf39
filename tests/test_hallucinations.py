"""The experiment with invented objects plants what it says, and the check catches it."""

import numpy as np
import pytest

from benchmarks.hallucinations import (
    CLEARANCE,
    COUNTS,
    ERRORS,
    GAINED,
    LENGTHS,
    PLANTED,
    RESHAPED,
    CutOut,
    Finding,
    Networks,
    Plant,
    check,
    cut_outs,
    describe,
    experiment,
    new_boxes,
    of,
    paste,
    place,
    plain,
    real_part,
    rendered,
    share,
)
from models.deblurrer import Deblurrer
from models.detector import Detector
from models.shipped import resolve_weights
from transforms.functional.boxes import xyxy_to_corners

GREY = np.full((200, 240, 3), 100, np.uint8)


def cut_out() -> CutOut:
    """A cut-out 20 px long and 10 px wide, with its margin of 4 px."""
    image = GREY.copy()
    image[50:60, 70:90] = (200, 40, 40)
    [found] = cut_outs(image, xyxy_to_corners(np.float32([[70, 50, 90, 60]])))
    return found


def finding(kind: str, verdict: str, *, kernel: str = "exact", length: float = 7.0) -> Finding:
    evidence = {"consistent": 1.0, "undecided": 0.7, "inconsistent": 0.0}[verdict]
    return Finding(kind, length, kernel, evidence, 9.0, verdict)


def test_vehicles_cut_by_the_border_lend_no_cut_out():
    boxes = np.float32([[0, 0, 20, 10], [70, 50, 90, 60], [225, 100, 245, 110]])
    assert len(cut_outs(GREY, xyxy_to_corners(boxes))) == 1


def test_a_plant_has_the_box_of_its_vehicle():
    box = Plant(PLANTED, cut_out(), (30, 40)).box
    np.testing.assert_allclose(box, [44, 34, 64, 44], atol=1)


def test_strength_mixes_vehicle_and_ground():
    assert np.array_equal(paste(GREY, cut_out(), (30, 40), strength=0), GREY)
    middle = [paste(GREY, cut_out(), (30, 40), strength=s)[39, 54, 0] for s in (0.5, 1.0)]
    assert middle == [150, 200]


def test_a_planted_vehicle_is_not_in_the_scene_and_a_reshaped_one_is_there_without_details():
    spotted = CutOut(cut_out().pixels.copy(), cut_out().alpha)
    spotted.pixels[9, 14] = 255
    assert np.array_equal(real_part(GREY, Plant(PLANTED, spotted, (30, 40))), GREY)
    patch = real_part(GREY, Plant(RESHAPED, spotted, (30, 40)))[36:42, 46:62]
    assert len(np.unique(patch.reshape(-1, 3), axis=0)) == 1
    assert (patch[0, 0] != GREY[0, 0]).all()
    assert plain(spotted).alpha is spotted.alpha


def test_plants_keep_clear_of_vehicles_and_of_each_other():
    taken = np.float32([[0, 0, 240, 60]])
    plants = place([cut_out()], taken, (200, 240), np.random.default_rng(1))
    assert 3 < len(plants) <= sum(COUNTS.values())
    boxes = np.stack([plant.box for plant in plants])
    assert (boxes[:, 1] >= 60 + CLEARANCE).all()
    grown = boxes + np.float32([-1, -1, 1, 1]) * (CLEARANCE - 1)
    for index, one in enumerate(grown):
        others = np.delete(boxes, index, axis=0)
        apart = (others[:, :2] >= one[2:]).any(axis=1) | (others[:, 2:] <= one[:2]).any(axis=1)
        assert apart.all()


def test_what_was_seen_before_is_not_new():
    seen = np.float32([[10, 10, 30, 20]])
    found = np.float32([[11, 10, 31, 20], [100, 100, 120, 110]])
    assert np.array_equal(new_boxes(found, seen), found[1:])
    assert len(new_boxes(found, np.zeros((0, 4), np.float32))) == 2


def test_the_page_says_what_share_was_flagged():
    findings = [
        finding(kind, verdict, kernel=kernel, length=length)
        for kind, verdicts in {
            PLANTED: ["inconsistent"] * 3 + ["undecided"],
            GAINED: ["consistent"] * 4,
        }.items()
        for verdict in verdicts
        for kernel in ERRORS
        for length in LENGTHS
    ]
    page = describe(findings, findings, [])
    assert "| planted | 16 | exact | 75.0% | 25.0% | 0.0% | 0.00 |" in page
    assert "| gained | 16 | off | 0.0% | 0.0% | 100.0% | 1.00 |" in page
    assert "| planted | exact | 75.0% | 75.0% | 75.0% | 75.0% |" in page
    assert "| 0.75 | 100.0% | 100.0% | 0.0% | 0.0% |" in page
    assert "Munich" not in page


@pytest.mark.slow
def test_planted_vehicles_are_caught_and_gained_ones_pass():
    """A small edition of docs/results_hallucinations.md: three scenes, one length."""
    networks = Networks(
        Deblurrer.load(resolve_weights("deblur_dsc")),
        Detector.load(resolve_weights("vehicles_yolo")),
    )
    candidates = [
        each
        for seed, (sharp, donor) in enumerate(rendered((207, 208, 209)), start=207)
        for each in experiment(sharp, donor, networks, length=11.0, seed=seed)
    ]
    findings = [found for each in candidates for found in check(each)]
    planted, gained = of(findings, kind=PLANTED), of(findings, kind=GAINED)
    assert min(len(planted), len(gained)) >= 50
    assert share(planted, "inconsistent") >= 0.8
    assert share(gained, "inconsistent") <= 0.05
