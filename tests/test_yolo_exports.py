"""Facts about exports of Ultralytics: what they find, and which ones are refused."""

import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import yaml

from models.cards import CheckpointError
from models.detector import Detector
from models.openvino_runtime import read_model
from models.quiet_openvino import openvino
from tests.yolo_networks import NAMES, random_network, save_random_network

FACTS = {"task": "detect", "names": dict(enumerate(NAMES)), "stride": 32, "imgsz": [64, 64]}
FREE = {"images": {0: "n", 2: "h", 3: "w"}, "cells": {0: "n", 2: "cell"}}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_random_network(tmp_path_factory.mktemp("weights") / "random.safetensors")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """ONNX files as Ultralytics' exporter writes them, by kind, without what it says of them."""
    folder = tmp_path_factory.mktemp("exported")
    network = random_network().fuse(verbose=False)
    network.model[-1].export = network.model[-1].dynamic = True
    kinds = {"free": (1, FREE), "fixed": (1, {}), "batch": (3, {})}
    for name, (batch, free) in kinds.items():
        write_onnx(network, folder / f"{name}.onnx", torch.zeros(batch, 3, 64, 64), free)
    write_onnx(network.half(), folder / "half.onnx", torch.zeros(1, 3, 64, 64).half(), FREE)
    return folder


def write_onnx(network, path, example, free):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (example,),
            path,
            opset_version=17,
            dynamo=False,
            input_names=["images"],
            output_names=["cells"],
            dynamic_axes=free,
        )


def as_onnx(source: Path, path: Path, facts=FACTS) -> Path:
    """Copy an ONNX file and let it say something of itself."""
    model = onnx.load(source)
    for name, value in facts.items():
        model.metadata_props.add(key=name, value=str(value))
    onnx.save(model, path)
    return path


def as_openvino(source: Path, path: Path, facts=FACTS) -> Path:
    """Write a folder as Ultralytics does for OpenVINO."""
    openvino.save_model(read_model(source), path / "best.xml", False)
    (path / "metadata.yaml").write_text(yaml.safe_dump(facts))
    return path


def picture(height=64, width=64, seed=3):
    return np.random.default_rng(seed).integers(0, 256, (1, height, width, 3), np.uint8)


def assert_same(detector, witness, pictures):
    """Their cells are equal but for the order of sums, and there is something to be found."""
    [ours], [theirs] = (each.network.cells(pictures) for each in (detector, witness))
    assert ours.shape == theirs.shape
    assert np.abs(ours[:4] - theirs[:4]).max() < 2e-3
    assert np.abs(ours[4:] - theirs[4:]).max() < 1e-3
    assert len(detector(pictures)[0]) > 10


@pytest.mark.parametrize("backend", ["torch", "openvino", "onnxruntime"])
def test_an_onnx_file_finds_the_same_in_every_runtime_and_size(exported, tmp_path, backend):
    path = as_onnx(exported / "free.onnx", tmp_path / "best.onnx")
    witness = Detector.load(as_onnx(exported / "free.onnx", tmp_path / "same.onnx"))
    detector = Detector.load(path, backend=backend)
    assert detector.names == NAMES
    assert detector.network.fixed_size is None
    for size in ((64, 64), (96, 160)):
        assert_same(detector, witness, picture(*size))


def test_an_export_finds_what_its_network_finds(exported, weights, tmp_path):
    """To what half precision leaves of weights as large as these."""
    path = as_onnx(exported / "free.onnx", tmp_path / "best.onnx")
    [ours], [theirs] = (Detector.load(each).network.cells(picture()) for each in (path, weights))
    assert np.allclose(ours, theirs, rtol=0.02, atol=0.2)


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_a_folder_of_openvino_is_the_onnx_file(exported, tmp_path, backend):
    folder = as_openvino(exported / "free.onnx", tmp_path / "best_openvino_model")
    onnx_file = as_onnx(exported / "free.onnx", tmp_path / "best.onnx")
    detector = Detector.load(folder, backend=backend)
    assert detector.names == NAMES
    assert_same(detector, Detector.load(onnx_file), picture())


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("kind", ["fixed", "batch"])
def test_fixed_sizes_and_batches_are_filled(exported, tmp_path, kind, backend):
    free, fixed = (
        Detector.load(
            as_onnx(exported / f"{name}.onnx", tmp_path / f"{name}.onnx"), backend=backend
        )
        for name in ("free", kind)
    )
    assert fixed.network.fixed_size == (64, 64)
    assert_same(fixed, free, picture())
    assert fixed(picture(50, 40))[0].xyxy.max() <= 50
    with pytest.raises(ValueError, match="dynamic=True"):
        fixed(picture(96, 64))


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_exports_of_half_precision_run(exported, tmp_path, backend):
    rough, exact = (
        Detector.load(
            as_onnx(exported / f"{name}.onnx", tmp_path / f"{name}.onnx"), backend=backend
        )
        for name in ("half", "free")
    )
    [ours], [theirs] = (each.network.cells(picture()) for each in (rough, exact))
    assert ours.dtype == np.float32
    assert np.median(np.abs(ours - theirs)[:4]) < 0.1


def test_an_export_that_says_nothing_of_itself_needs_names(exported, tmp_path):
    path = as_onnx(exported / "free.onnx", tmp_path / "best.onnx", {})
    with pytest.raises(CheckpointError, match="no class names"):
        Detector.load(path)
    assert Detector.load(path, names=("a", "b")).names == ("a", "b")


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"args": {"nms": True}}, "cuts crowded tiles"),
        ({"end2end": True}, "cuts crowded tiles"),
        ({"task": "classify"}, "task 'classify'"),
        ({"names": "__import__('os').getcwd()"}, "makes no sense"),
        ({"names": {0: "a", 5: "b"}}, "makes no sense"),
    ],
)
def test_what_an_export_says_of_itself_is_checked(exported, tmp_path, facts, reason):
    path = as_onnx(exported / "free.onnx", tmp_path / "best.onnx", FACTS | facts)
    with pytest.raises(CheckpointError, match=reason):
        Detector.load(path)


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_a_damaged_export_is_refused(exported, tmp_path, backend):
    path = as_onnx(exported / "free.onnx", tmp_path / "best.onnx")
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="damaged"):
        Detector.load(path, backend=backend)


def test_what_takes_no_pictures_is_refused(tmp_path):
    network = torch.nn.Conv2d(4, 8, 3).eval()
    write_onnx(network, tmp_path / "four.onnx", torch.zeros(1, 4, 64, 64), {})
    with pytest.raises(CheckpointError, match="must take floats"):
        Detector.load(tmp_path / "four.onnx", names=NAMES)


def test_a_folder_without_one_network_is_refused(tmp_path):
    (tmp_path / "best_openvino_model").mkdir()
    with pytest.raises(CheckpointError, match=r"one \.xml file, got 0"):
        Detector.load(tmp_path / "best_openvino_model", names=NAMES)


def test_a_backend_runs_only_what_was_exported_for_it(exported, tmp_path):
    folder = as_openvino(exported / "free.onnx", tmp_path / "best_openvino_model")
    with pytest.raises(ValueError, match="onnxruntime does not run"):
        Detector.load(folder, backend="onnxruntime")
    (tmp_path / "best.torchscript").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="openvino does not run"):
        Detector.load(tmp_path / "best.torchscript", trust=True, backend="openvino")
    with pytest.raises(ValueError, match="what it was exported in"):
        Detector.load(tmp_path / "best.torchscript", trust=True, dtype="bfloat16")
