"""Facts about the suppression of overlaps: it is what torchvision and Ultralytics do."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from models.suppression import BLOCK, horizontal_iou, probabilistic_iou, suppress
from models.yolo import import_ultralytics
from transforms.functional.boxes import iou_matrix

LIMITS = st.sampled_from([0.0, 0.1, 1 / 3, 0.45, 0.5, 0.7, 1.0])


def by_torchvision(boxes, classes, limit):
    """The witness: torchvision's suppression of each class for itself."""
    from torchvision.ops import nms

    kept = []
    for kind in np.unique(classes):
        members = np.flatnonzero(classes == kind)
        falling = torch.arange(len(members), 0, -1.0)
        kept += members[nms(torch.from_numpy(boxes[members]), falling, limit).numpy()].tolist()
    return sorted(kept)


@st.composite
def crowds(draw):
    """Boxes on a coarse grid, many of them equal, nested, touching or empty, of up to 3 classes."""
    count = draw(st.integers(0, 40))
    numbers = st.lists(st.integers(0, 6), min_size=4 * count, max_size=4 * count)
    first, size = np.array(draw(numbers), np.float32).reshape(2, count, 2)
    classes = draw(st.lists(st.integers(0, 2), min_size=count, max_size=count))
    return np.concatenate([first, first + size], axis=1), np.array(classes, np.int64)


@given(crowds(), LIMITS)
def test_ties_are_settled_as_torchvision_does(crowd, limit):
    boxes, classes = crowd
    kept = suppress(boxes, classes, limit, horizontal_iou)
    assert kept.tolist() == by_torchvision(boxes, classes, limit)


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), limit=st.floats(0, 1))
def test_more_boxes_than_a_block_are_suppressed_as_torchvision_does(seed, limit):
    rng = np.random.default_rng(seed)
    first = rng.uniform(0, 300, (2 * BLOCK + 100, 2))
    size = rng.uniform(0, 40, first.shape)
    boxes = np.concatenate([first, first + size], axis=1).astype(np.float32)
    classes = rng.integers(0, 2, len(boxes))
    kept = suppress(boxes, classes, limit, horizontal_iou)
    assert kept.tolist() == by_torchvision(boxes, classes, limit)


def test_an_overlap_that_is_the_limit_itself_stays():
    """A float32 over the limit by what its rounding added is over it, as for torchvision."""
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 1]], np.float32)
    for limit in (0.1, 0.5):
        kept = suppress(boxes, np.zeros(3, int), limit, horizontal_iou)
        assert kept.tolist() == by_torchvision(boxes, np.zeros(3, int), limit)
    assert 1 in suppress(boxes, np.zeros(3, int), 0.5, horizontal_iou)


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), limit=st.floats(0.2, 0.8))
def test_suppression_equals_that_of_ultralytics(seed, limit):
    """But where an overlap is the limit itself: one compares in float32, the other in float64."""
    import_ultralytics()
    from ultralytics.utils.nms import TorchNMS

    rng = np.random.default_rng(seed)
    first = rng.uniform(0, 60, (80, 2))
    boxes = np.concatenate([first, first + rng.uniform(5, 30, (80, 2))], axis=1)
    boxes = boxes.astype(np.float32)
    assume(np.abs(iou_matrix(boxes, boxes) - limit).min() > 1e-6)
    theirs = TorchNMS.nms(torch.from_numpy(boxes), torch.linspace(1, 0.1, 80), limit)
    ours = suppress(boxes, np.zeros(80, int), limit, horizontal_iou)
    assert ours.tolist() == sorted(theirs.tolist())


@given(seed=st.integers(0, 10_000))
def test_probabilistic_overlap_is_that_of_ultralytics(seed):
    import_ultralytics()
    from ultralytics.utils.metrics import batch_probiou

    rng = np.random.default_rng(seed)
    low, high = [0, 0, 4, 4, -np.pi / 4], [60, 60, 40, 40, 3 * np.pi / 4]
    boxes, others = (rng.uniform(low, high, (size, 5)).astype(np.float32) for size in (7, 9))
    others[:3] = boxes[:3]
    theirs = batch_probiou(torch.from_numpy(boxes).double(), torch.from_numpy(others).double())
    assert probabilistic_iou(boxes, others) == pytest.approx(theirs.numpy(), abs=2e-3)
    exact = probabilistic_iou(boxes.astype(np.float64), others.astype(np.float64))
    assert exact == pytest.approx(theirs.numpy(), abs=1e-9)


def test_classes_do_not_suppress_each_other():
    boxes = np.array([[0, 0, 10, 10]] * 4, np.float32)
    assert suppress(boxes, np.array([0, 1, 1, 0]), 0.5, horizontal_iou).tolist() == [0, 1]
