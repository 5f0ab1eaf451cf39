"""Facts about detectors in PyTorch: numbers of 16 bits, and what a GPU leaves out of its answer."""

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from models.detector import Detector
from models.torch_cells import DeviceCells
from models.yolo import Yolo
from tests.yolo_networks import save_random_network

SIZE = (120, 200)


def random_cells(seed, classes, oriented):
    """Cells of many boxes that cover each other, some of equal scores, some over the border."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(0, 400))
    boxes = rng.uniform([-5, -5, 0, 0], [205, 125, 40, 40], (count, 4))
    scores = rng.integers(0, 100, (count, classes)) / 100
    angles = rng.uniform(-0.7, 2.3, (count, int(oriented)))
    return np.column_stack([boxes, scores, angles]).T.astype(np.float32)


def detector(cells, classes, oriented, **settings):
    names = tuple(f"class {index}" for index in range(classes))
    network = Yolo(lambda pictures: [cells] * len(pictures), names, oriented)
    return Detector(network, score_floor=0.25, nms_iou=0.45, **settings)


@pytest.mark.parametrize("oriented", [False, True])
@example(seed=136, classes=1, best=5)  # Has slivers whose overlap is nan.
@given(seed=st.integers(0, 10_000), classes=st.integers(1, 4), best=st.sampled_from([5, 1000]))
def test_what_a_gpu_leaves_out_is_what_would_not_be_kept(oriented, seed, classes, best):
    """The code is that of a GPU; here it runs on tensors of the CPU."""
    cells = random_cells(seed, classes, oriented)
    tile = np.zeros((1, *SIZE, 3), np.uint8)
    [expected], [got] = (
        detector(each, classes, oriented, max_detections=best)(tile)
        for each in (cells, DeviceCells(torch.from_numpy(cells)))
    )
    for name in ("corners", "scores", "classes"):
        np.testing.assert_array_equal(getattr(got, name), getattr(expected, name))


def test_only_what_is_kept_comes_down():
    cells = random_cells(3, 2, False)
    kept = DeviceCells(torch.from_numpy(cells)).pruned(
        2, score_floor=0.25, nms_iou=0.45, inside=np.array([200, 120], np.float32)
    )
    [found] = detector(cells, 2, False)(np.zeros((1, *SIZE, 3), np.uint8))
    empty = kept.shape[1] - len(found)  # boxes beyond the border, of which nothing is left
    assert 0 <= empty < 5
    assert kept.shape[1] < (cells[4:6].max(axis=0) >= 0.25).sum()


def test_values_that_are_not_finite_are_a_failure_on_a_gpu_too():
    cells = np.full((5, 4), np.nan, np.float32)
    with pytest.raises(FloatingPointError):
        detector(DeviceCells(torch.from_numpy(cells)), 1, False)(np.zeros((1, 64, 64, 3), np.uint8))


def test_numbers_of_16_bits_do_not_move_boxes_far_from_the_corner(tmp_path):
    """bfloat16 itself knows no pixel between 1000 and 1004."""
    weights = save_random_network(tmp_path / "random.safetensors")
    pictures = np.random.default_rng(3).integers(0, 256, (1, 32, 1280, 3), np.uint8)
    [exact], [rough] = (
        Detector.load(weights, dtype=dtype).network.cells(pictures)
        for dtype in ("float32", "bfloat16")
    )
    assert rough.dtype == np.float32
    apart = np.abs(rough[0] - exact[0])
    assert apart.max() > 0
    assert np.median(apart[exact[0] > 1000]) < 0.1
