"""OpenVINO and ONNX Runtime find what PyTorch finds."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from models.cards import shipped_weights
from models.detector import Detector
from models.openvino_runtime import has_bfloat16
from models.yolo import import_ultralytics
from tests.yolo_networks import NAMES, oriented_network, save_random_network
from transforms.functional.blur import blur_tile
from transforms.functional.render import render_scene

OTHERS = ("openvino", "onnxruntime")
SCORES, PIXELS = 1e-4, 0.05
"""What a backend may change at most; measured are a hundredth of it."""


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """A cache of our own, shared by the tests of this file."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_random_network(tmp_path_factory.mktemp("weights") / "random.safetensors")


@pytest.fixture(scope="module")
def pickled(tmp_path_factory):
    """A network of Ultralytics with oriented boxes, as its training writes it."""
    import_ultralytics()
    path = tmp_path_factory.mktemp("pickled") / "oriented.pt"
    torch.save({"model": oriented_network()}, path)
    return path


def noise(height=96, width=160, count=1, seed=3):
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), np.uint8)


def rendered(seed):
    """A rendered scene, sharp and blurred: what a run shows to a detector."""
    sharp = render_scene(seed=seed, height=360, width=420, gsd=0.15).image
    return np.stack([sharp, blur_tile(sharp, length=7, angle=30)])


def same(a, b):
    return all(
        np.array_equal(getattr(a, name), getattr(b, name))
        for name in ("corners", "scores", "classes")
    )


@pytest.mark.parametrize("backend", OTHERS)
def test_cells_are_the_same_whatever_the_size(weights, backend):
    """Sizes other than that of the example which the network was converted with."""
    expected, got = (Detector.load(weights, backend=each) for each in ("torch", backend))
    for height, width in ((64, 96), (32, 32), (128, 64), (96, 256)):
        pictures = noise(height, width, seed=height)
        [theirs], [ours] = (each.network.cells(pictures) for each in (expected, got))
        assert ours.shape == theirs.shape == (6, height * width // 64 * 21 // 16)
        assert np.abs(ours[:4] - theirs[:4]).max() < 2e-3
        assert np.abs(ours[4:] - theirs[4:]).max() < SCORES


@pytest.mark.parametrize("backend", OTHERS)
@pytest.mark.parametrize("name", ["vehicles_yolo", "vehicles_yolo_blur"])
def test_shipped_detectors_find_the_same_objects(name, backend):
    path = shipped_weights()[name]
    pictures = rendered(1)
    theirs, ours = (Detector.load(path, backend=each)(pictures) for each in ("torch", backend))
    assert sum(map(len, theirs)) > 40
    for expected, got in zip(theirs, ours, strict=True):
        assert len(got) == len(expected)
        assert np.abs(got.corners - expected.corners).max() < PIXELS
        assert np.abs(got.scores - expected.scores).max() < SCORES
        assert np.array_equal(got.classes, expected.classes)


@pytest.mark.parametrize("backend", OTHERS)
def test_a_result_depends_neither_on_mates_nor_on_what_was_computed_before(weights, backend):
    used, fresh = (Detector.load(weights, backend=backend) for _ in range(2))
    used(noise(64, 224))
    batch = noise(count=3)
    found, alone = used(batch), fresh(batch[1:2])
    assert len(alone[0]) > 20
    assert same(found[1], alone[0])


@pytest.mark.parametrize("backend", OTHERS)
def test_oriented_networks_can_be_converted(pickled, backend):
    expected, got = (
        Detector.load(pickled, trust=True, backend=each, score_floor=0)
        for each in ("torch", backend)
    )
    assert got.names == NAMES
    assert got.network.oriented
    [theirs], [ours] = (each.network.cells(noise(64, 64)) for each in (expected, got))
    assert ours.shape == theirs.shape == (7, 84)
    assert np.abs(ours - theirs).max() < 2e-3
    assert len(got(noise(64, 64))[0]) > 0


def test_bfloat16_finds_nearly_the_same_or_is_refused():
    path, pictures = shipped_weights()["vehicles_yolo"], rendered(1)
    if not has_bfloat16():
        with pytest.raises(RuntimeError, match="bfloat16 needs a processor"):
            Detector.load(path, backend="openvino", dtype="bfloat16")
        return
    expected = Detector.load(path, score_floor=0.6)(pictures)
    got = Detector.load(path, score_floor=0.5, backend="openvino", dtype="bfloat16")(pictures)
    for theirs, ours in zip(expected, got, strict=True):
        apart = np.abs(theirs.centres[:, None] - ours.centres).max(axis=2).min(axis=1)
        assert len(theirs) > 5
        assert apart.max() < 4


def test_what_was_converted_before_needs_neither_torch_nor_ultralytics(weights):
    Detector.load(weights, backend="openvino")
    program = f"""
import sys
from pathlib import Path
import numpy as np
from models.detector import Detector
Detector.load(Path({str(weights)!r}), backend="openvino")(np.zeros((1, 64, 64, 3), np.uint8))
print([name for name in ("torch", "torchvision", "ultralytics") if name in sys.modules])
"""
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_other_weights_are_converted_anew(weights, tmp_path):
    other = save_random_network(tmp_path / "other.safetensors", seed=8)
    first, second = (Detector.load(each, backend="openvino") for each in (weights, other))
    assert not np.array_equal(first.network.cells(noise())[0], second.network.cells(noise())[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backend": "openvino", "dtype": "float16"}, "openvino detects in float32, bfloat16"),
        ({"backend": "onnxruntime", "dtype": "bfloat16"}, "onnxruntime detects in float32"),
        ({"backend": "openvino", "dtype": "int8"}, "openvino detects in float32, bfloat16"),
        ({"backend": "torch", "dtype": "float16"}, "float16 needs a GPU"),
        ({"device": "tpu"}, "device must be"),
    ],
)
def test_what_a_backend_cannot_do_is_refused(weights, arguments, message):
    with pytest.raises(ValueError, match=message):
        Detector.load(weights, **arguments)
