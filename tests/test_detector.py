"""Facts about the detector: what it accepts, what it returns, and what it never does."""

import hashlib
import json
import os
import pickle
import subprocess
import sys
import textwrap
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from models.cards import CheckpointError
from models.detector import Detector, pad
from models.yolo import Yolo, build_network, import_ultralytics, save_network

NAMES = ("vehicle",)


@pytest.fixture(scope="module")
def network():
    """A network with random weights whose heads are set to give many small boxes of any score."""
    torch.manual_seed(7)
    built = build_network("yolov8n.yaml", 1)
    head = built.model[-1]
    for boxes, scores in zip(head.cv2, head.cv3, strict=True):
        boxes[-1].bias.data = -torch.arange(16.0).repeat(4)
        torch.nn.init.normal_(scores[-1].weight, std=100)
        torch.nn.init.constant_(scores[-1].bias, 0)
    return built.eval()


@pytest.fixture(scope="module")
def weights(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_network(network, path, architecture="yolov8n.yaml", names=NAMES)
    return path


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(3).integers(0, 256, (3, 96, 64, 3), np.uint8)


def stub(cells, names=NAMES, *, oriented=False, fixed_size=None, **settings):
    """A detector whose network returns the given raw cells for every image, and records pixels."""
    seen = []

    def forward(pixels):
        seen.append(pixels)
        return [np.array(cells, np.float32)] * len(pixels)

    network = Yolo(forward, names, oriented, fixed_size)
    return Detector(network, **settings), seen


def same(a, b):
    return all(
        np.array_equal(getattr(a, name), getattr(b, name))
        for name in ("corners", "scores", "classes")
    )


def blank(height=64, width=64, count=1):
    return np.zeros((count, height, width, 3), np.uint8)


# What comes out


def test_batch_of_n_equals_n_batches_of_one(weights, images):
    detector = Detector.load(weights)
    together = detector(images)
    alone = [detector(images[index : index + 1])[0] for index in range(len(images))]
    assert sum(map(len, together)) > 30
    assert all(same(a, b) for a, b in zip(together, alone, strict=True))


def test_threads_that_share_a_detector_do_not_disturb_each_other(weights, images):
    """The network's head keeps the grid of the last shape it saw."""
    detector = Detector.load(weights)
    tiles = [images, images[:, :64], images[:, :32, :32]] * 4
    alone = [detector(tile) for tile in tiles]
    with ThreadPoolExecutor(4) as threads:
        shared = list(threads.map(detector, tiles))
    for ours, theirs in zip(alone, shared, strict=True):
        assert all(same(a, b) for a, b in zip(ours, theirs, strict=True))


def test_scores_fall_and_boxes_lie_inside(weights, images):
    for found in Detector.load(weights)(images):
        assert (np.diff(found.scores) <= 0).all()
        assert found.xyxy.min() >= 0
        assert (found.xyxy[:, 2:] <= [64, 96]).all()
        assert (found.xyxy[:, 2:] > found.xyxy[:, :2]).all()


def test_no_images_give_no_detections(weights):
    assert Detector.load(weights)(blank(count=0)) == []


@pytest.mark.parametrize(
    "wrong", [np.zeros((64, 64, 3), np.uint8), np.zeros((1, 64, 64, 3), np.float32)]
)
def test_images_of_another_kind_are_refused(wrong):
    detector, _ = stub(np.zeros((5, 1)))
    with pytest.raises(ValueError, match=r"uint8 \(n, h, w, 3\)"):
        detector(wrong)


def test_values_that_are_not_finite_are_a_failure_not_an_empty_result():
    detector, _ = stub(np.full((5, 4), np.nan))
    with pytest.raises(FloatingPointError):
        detector(blank())


def test_equal_scores_keep_the_order_of_the_cells():
    cells = [[10, 30, 50], [10, 30, 50], [8, 8, 8], [8, 8, 8], [0.5, 0.5, 0.5]]
    detector, _ = stub(cells)
    assert detector(blank())[0].centres[:, 0].tolist() == [10, 30, 50]


def test_boxes_below_the_floor_are_left_out_and_the_best_are_kept():
    centres = np.arange(8) * 20 + 10.0
    cells = np.stack([centres, centres, centres * 0 + 9, centres * 0 + 9, np.arange(8) / 8])
    detector, _ = stub(cells, score_floor=0.25, max_detections=3)
    assert detector(blank(200, 200))[0].scores.tolist() == [0.875, 0.75, 0.625]


def test_only_boxes_of_the_same_class_suppress_each_other():
    cells = [[20, 21, 20], [20, 20, 20], [10, 10, 10], [10, 10, 10], [0.9, 0.8, 0], [0, 0, 0.7]]
    found = stub(cells, ("car", "bus"))[0](blank())[0]
    assert found.classes.tolist() == [0, 1]
    assert found.scores == pytest.approx([0.9, 0.7])


def test_oriented_boxes_come_with_the_corners_that_ultralytics_draws():
    import_ultralytics()
    from ultralytics.utils.ops import xywhr2xyxyxyxy

    boxes = np.array([[30.0, 32.0, 24.0, 8.0, 0.7], [90.0, 40.0, 10.0, 30.0, -1.2]])
    cells = np.column_stack([boxes[:, :4], [0.9, 0.8], boxes[:, 4:]]).T
    found = stub(cells, oriented=True)[0](blank(128, 128))[0]
    theirs = xywhr2xyxyxyxy(torch.from_numpy(boxes)).numpy()
    for ours, wanted in zip(found.corners, theirs, strict=True):
        distance = np.linalg.norm(ours[:, None] - wanted[None], axis=2)
        assert distance.min(axis=1).max() < 1e-4


def test_oriented_boxes_across_each_other_survive():
    """Two crossing vehicles share a horizontal box, but not an oriented one."""
    cells = [[32, 32], [32, 32], [40, 40], [6, 6], [0.9, 0.8], [0.785, -0.785]]
    assert len(stub(cells, oriented=True)[0](blank())[0]) == 2


def test_a_slow_clock_loses_no_detections(monkeypatch):
    """Ultralytics' own suppression gives up after a wall-clock limit and drops later images."""
    clock = iter(range(0, 10**9, 1000))
    monkeypatch.setattr(time, "time", lambda: float(next(clock)))
    detector, _ = stub([[32], [32], [8], [8], [0.9]])
    assert [len(found) for found in detector(blank(count=5))] == [1] * 5


def test_crowded_tiles_are_not_cut_at_300_boxes():
    x, y = (axis.ravel() * 16.0 + 8 for axis in np.meshgrid(np.arange(30), np.arange(30)))
    cells = np.stack([x, y, x * 0 + 12, x * 0 + 12, np.linspace(0.9, 0.1, 900)])
    assert len(stub(cells)[0](blank(480, 480))[0]) == 900


# What goes in


def test_tiles_are_padded_but_never_rescaled():
    detector, seen = stub(np.zeros((5, 1)))
    tile = np.random.default_rng(0).integers(0, 256, (1, 70, 50, 3), np.uint8)
    detector(tile)
    assert seen[0].shape == (1, 96, 64, 3)
    pixels = seen[0][0]
    assert np.array_equal(pixels[:70, :50], tile[0])
    assert (pixels[70:] == 114).all()
    assert (pixels[:, 50:] == 114).all()


def test_image_size_rescales_tiles_and_brings_boxes_back():
    detector, seen = stub([[32], [16], [20], [10], [0.9]], image_size=64)
    found = detector(blank(64, 128))[0]
    assert seen[0].shape == (1, 32, 64, 3)
    assert found.xyxy.tolist() == [[44, 22, 84, 42]]


def test_a_fixed_export_refuses_larger_tiles_and_says_what_to_do():
    assert pad(blank(40, 50), (64, 64)).shape == (1, 64, 64, 3)
    with pytest.raises(ValueError, match="dynamic=True"):
        pad(blank(65, 50), (64, 64))


# Weight files


def test_saved_weights_load_with_their_names(weights, network, images):
    detector = Detector.load(weights, sha256=hashlib.sha256(weights.read_bytes()).hexdigest())
    assert detector.names == NAMES
    pixels = torch.from_numpy(images[:1]).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        expected = network(pixels)[0]
    [got] = detector.network.cells(images[:1])
    assert np.allclose(got, expected[0], rtol=0.02, atol=0.2)  # half precision, fused layers


def test_names_can_be_replaced_but_not_their_number(weights):
    assert Detector.load(weights, names=("car",)).names == ("car",)
    with pytest.raises(CheckpointError, match="classes"):
        Detector.load(weights, names=("car", "bus"))


def test_another_digest_is_refused(weights):
    with pytest.raises(CheckpointError, match="SHA-256"):
        Detector.load(weights, sha256="0" * 64)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.onnx"):
        Detector.load(tmp_path / "none.onnx")


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({}, "no architecture"),
        ({"architecture": "yolov8n.yaml", "names": '["a"]'}, "does not fit"),
        ({"architecture": "../evil.yaml", "names": '["a"]'}, "packaged YAML"),
    ],
)
def test_safetensors_that_are_no_detector_are_refused(tmp_path, header, reason):
    path = tmp_path / "other.safetensors"
    save_file({"x": torch.zeros(1)}, path, metadata=header)
    with pytest.raises(ValueError, match=reason):
        Detector.load(path)


def test_a_damaged_file_is_refused(tmp_path, weights):
    path = tmp_path / "cut.safetensors"
    path.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="damaged"):
        Detector.load(path)


class _Trap:
    """Unpickling this creates a folder."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


@pytest.mark.parametrize("options", [{}, {"sha256": "0" * 64}])
def test_a_pickle_is_not_opened_unless_pinned_or_trusted(tmp_path, options):
    path, marker = tmp_path / "theirs.pt", tmp_path / "executed"
    path.write_bytes(pickle.dumps(_Trap(marker)))
    with pytest.raises(CheckpointError) as refusal:
        Detector.load(path, **options)
    assert hashlib.sha256(path.read_bytes()).hexdigest() in str(refusal.value)
    assert not marker.exists()


@pytest.mark.parametrize("pinned", [True, False])
def test_a_pinned_or_trusted_pickle_detects_like_our_own_file(network, images, tmp_path, pinned):
    path, ours = tmp_path / "theirs.pt", tmp_path / "ours.safetensors"
    network.names, network.task = {0: "vehicle"}, "detect"
    network.half()
    torch.save({"model": network}, path)
    network.float()
    save_network(network, ours, architecture="yolov8n.yaml", names=NAMES)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    options = {"sha256": digest} if pinned else {"trust": True}
    theirs = Detector.load(path, **options)
    assert theirs.names == NAMES
    assert all(same(a, b) for a, b in zip(theirs(images), Detector.load(ours)(images), strict=True))


@pytest.fixture(scope="module")
def traced(network):
    """The trace that Ultralytics' exporter would write, for tiles of 64 x 64."""
    head, blank_tile = network.model[-1], torch.zeros(1, 3, 64, 64)
    head.export, head.format = True, "torchscript"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.jit.trace(network, blank_tile, strict=False, check_trace=False)
    finally:
        head.export, head.format = False, None


def export_torchscript(traced, path, **metadata):
    facts = {"task": "detect", "names": {0: "vehicle"}, "imgsz": [64, 64], "stride": 32, "batch": 1}
    traced.save(str(path), _extra_files={"config.txt": json.dumps(facts | metadata)})


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_an_export_detects_like_the_network_it_was_made_from(traced, weights, tmp_path, images):
    path = tmp_path / "fixed.torchscript"
    export_torchscript(traced, path)
    exported = Detector.load(path, trust=True)
    assert exported.names == NAMES
    assert exported.network.fixed_size == (64, 64)
    for ours, theirs in zip(
        Detector.load(weights)(images[:, :64]), exported(images[:, :64]), strict=True
    ):
        assert len(ours) == pytest.approx(len(theirs), abs=3)
        assert ours.scores[:10] == pytest.approx(theirs.scores[:10], abs=0.01)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize(
    ("metadata", "reason"),
    [({"args": {"nms": True}}, "cuts crowded tiles"), ({"task": "classify"}, "task 'classify'")],
)
def test_an_export_whose_cells_are_hidden_is_refused(traced, tmp_path, metadata, reason):
    path = tmp_path / "hidden.torchscript"
    export_torchscript(traced, path, **metadata)
    with pytest.raises(CheckpointError, match=reason):
        Detector.load(path, trust=True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_promised_gpu_that_is_missing_is_an_error(weights):
    with pytest.raises(RuntimeError, match="promised device='cuda'"):
        Detector.load(weights, device="cuda")


# What it never does


def test_nothing_is_written_outside_and_no_connection_is_tried(weights, tmp_path):
    """Ultralytics would write settings below the home folder, and look for fonts and updates."""
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    home.mkdir()
    temporary.mkdir()
    script = f"""
        import socket, sys
        from pathlib import Path
        import numpy as np
        from PIL import Image

        opens = Image.open

        def refuse(*arguments, **keywords):
            raise AssertionError("a connection was tried")

        socket.socket.connect = socket.socket.connect_ex = refuse
        socket.create_connection = socket.getaddrinfo = refuse
        from models.detector import Detector
        assert "ultralytics" not in sys.modules
        found = Detector.load(Path({str(weights)!r}))(np.zeros((1, 64, 64, 3), np.uint8))
        assert len(found) == 1
        assert Image.open is opens
    """
    environment = {name: value for name, value in os.environ.items() if "YOLO" not in name}
    environment |= {"HOME": str(home), "TMPDIR": str(temporary), "PYTHONDONTWRITEBYTECODE": "1"}
    environment["PYTHONPATH"] = os.getcwd()
    before = set(os.listdir())
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], env=environment, check=True, timeout=120
    )
    written = [path for path in home.rglob("*") if path.is_file()]
    assert written == []
    assert list(temporary.iterdir()) == []
    assert set(os.listdir()) == before
