"""What is true on a GPU: everything as on a CPU, within stated tolerances. Skipped without one."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from scenes import textured
from small_runs import config_of

from configs.schema import DeblurConfig
from models.buffered_calls import WORTH, CudaRecorder
from models.cards import shipped_weights
from models.deblurrer import Deblurrer
from models.detector import Detector
from models.scene_statistics import freeze_to_scene
from models.training.deblur_loop import CHECKPOINT, fit_deblurrer, train_deblurrer
from models.training.deblur_state import start
from models.training.deblur_step import Objective, train_step
from pipeline import manifest
from pipeline.run import run
from tests.deblur_trainings import NETWORK, SPECTRAL, configuration, critic, write_pictures
from tests.test_deblur import add_null, make_tile, policy
from transforms.deblur import SameNetwork, deblur_tiles, load_deblurrer
from transforms.functional.blur import blur_tile
from transforms.functional.boxes import iou_matrix
from transforms.functional.render import render_scene
from transforms.inference import map_by_shape
from transforms.records import Rejected

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

DEBLURRERS = ("deblur_dsc", "deblur_mobilenet")
# The most grey levels, and the mean of them, by which a picture differs from the CPU's in float32.
LIMITS = {"float32": (1, 0.02), "bfloat16": (3, 0.15), "float16": (2, 0.05)}
BATCH_NORM = {**NETWORK, "norm": "batch", "encoder_norm": "batch"}


@pytest.fixture(scope="module")
def pictures():
    """Four pictures of a rendered scene, blurred: uint8 (4, 256, 320, 3)."""
    image = render_scene(seed=3, height=512, width=640, gsd=0.15).image
    blurred = blur_tile(image, length=9, angle=30, noise=0.001)
    return np.stack([blurred[y : y + 256, x : x + 320] for y in (0, 256) for x in (0, 320)])


def differences(a, b):
    return np.abs(a.astype(int) - b.astype(int))


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize(
    ("name", "normalisation"),
    [("deblur_dsc", "frozen"), ("deblur_dsc", "per_image"), ("deblur_mobilenet", "frozen")],
)
def test_pictures_are_those_of_the_cpu(pictures, name, normalisation, dtype):
    path = shipped_weights()[name]
    on_cpu = Deblurrer.load(path, normalisation=normalisation)(pictures)
    on_gpu = Deblurrer.load(path, normalisation=normalisation, device="cuda", dtype=dtype)(pictures)
    found = differences(on_gpu, on_cpu)
    largest, mean = LIMITS[dtype]
    assert found.max() <= largest
    assert found.mean() <= mean


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize(("gpu", "most"), [("graphs", 1), ("compiled", 2)])
def test_recorded_calls_restore_as_plain_ones(pictures, gpu, most, dtype):
    """Batches that are recorded, smaller ones in the memory of these, and another shape."""
    path = shipped_weights()["deblur_dsc"]
    plain, recorded = (
        Deblurrer.load(path, device="cuda", dtype=dtype, gpu=kind) for kind in ("plain", gpu)
    )
    given = [pictures[::step] for step in (1, -1) for _ in range(WORTH)]
    given += [pictures[1:], pictures[:3], pictures[2:], pictures[:, :, :256]]
    kept = [recorded(images) for images in given]
    for images, restored in zip(given, kept, strict=True):
        assert differences(restored, plain(images)).max() <= most


def test_calls_are_recorded(pictures):
    recorder = CudaRecorder(torch.device("cuda"))
    buffer = torch.from_numpy(pictures).cuda()
    recording = recorder(lambda: (buffer.flip(2), buffer.sum(dtype=torch.float32)))
    for images in (pictures, pictures[::-1].copy()):
        buffer.copy_(torch.from_numpy(images))
        recording.replay()
        np.testing.assert_array_equal(recording.outputs[0].cpu().numpy(), images[:, :, ::-1])


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("name", DEBLURRERS)
def test_weights_answer_as_their_card_says(name, dtype):
    load_deblurrer(DeblurConfig(weights=name, device="cuda", dtype=dtype))


def test_batch_mates_change_a_picture_by_a_level_at_most(pictures):
    network = Deblurrer.load(shipped_weights()["deblur_dsc"], device="cuda")
    alone = np.concatenate([network(picture[None]) for picture in pictures])
    assert differences(network(pictures), alone).max() <= 1


def test_statistics_of_a_scene_are_those_of_the_cpu(pictures):
    path = shipped_weights()["deblur_dsc"]
    by_device = [
        freeze_to_scene(Deblurrer.load(path, normalisation="per_image", device=device), pictures)
        for device in ("cpu", "cuda")
    ]
    on_cpu, on_gpu = (network(pictures[:1]) for network in by_device)
    assert differences(on_gpu, on_cpu).max() <= 1


def test_detections_are_those_of_the_cpu(pictures):
    path = shipped_weights()["vehicles_yolo"]
    found = 0
    both = [Detector.load(path, device=device)(pictures) for device in ("cpu", "cuda")]
    for on_cpu, on_gpu in zip(*both, strict=True):
        clear = np.flatnonzero(on_cpu.scores >= 0.3)
        overlaps = iou_matrix(
            on_cpu.select(clear).xyxy,
            on_gpu.xyxy,
        )
        assert (overlaps.max(axis=1) > 0.98).all()
        twins = on_gpu.scores[overlaps.argmax(axis=1)]
        assert twins == pytest.approx(on_cpu.scores[clear], abs=0.01)
        found += len(clear)
    assert found > 10


@pytest.fixture
def one_gib():
    """Leave this process one GiB of the GPU beyond what it holds."""
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 2**30) / total)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


def test_what_does_not_fit_into_memory_is_halved(one_gib):
    """All tiles at once do not fit, one by one they do, and one alone never does."""
    network = Deblurrer.load(shipped_weights()["deblur_dsc"], device="cuda")
    small = [replace(make_tile(512, 512, 0), before=textured(512, 512, n)) for n in range(16)]
    huge = make_tile(4096, 4096, 90)
    with pytest.raises(torch.OutOfMemoryError):
        network(np.stack([tile.before for tile in small]))
    outcomes = deblur_tiles(
        [*small[:8], huge, *small[8:]], SameNetwork(network), add_null, policy()
    )
    [rejected] = [outcome for outcome in outcomes if isinstance(outcome, Rejected)]
    assert (rejected.stage, rejected.exception) == ("deblur", "OutOfMemoryError")
    assert outcomes.index(rejected) == 8
    restored = [outcome.images["after"] for outcome in outcomes if outcome is not rejected]
    alone = map_by_shape([tile.before for tile in small[:1]], network)
    assert differences(restored[0], alone[0]).max() <= 1


def test_a_worker_whose_gpu_was_taken_away_stops():
    code = (
        "from configs.schema import DeblurConfig, DetectConfig\n"
        "from transforms.deblur import load_deblurrer\n"
        "from transforms.detect import load_detector\n"
        "for load, config in ((load_deblurrer, DeblurConfig), (load_detector, DetectConfig)):\n"
        "    try: load(config(device='cuda'))\n"
        "    except RuntimeError as error: print(error)\n"
    )
    hidden = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=hidden
    )
    assert done.stdout.count("promised device='cuda', got 0 usable CUDA devices") == 2


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_run_measures_what_it_measures_on_a_cpu(finished, tmp_path, dtype):
    config = config_of(finished)
    deblur = config.deblur.model_copy(update={"device": "cuda", "dtype": dtype})
    detect = config.detect.model_copy(update={"device": "cuda"})
    output = type(config.output)(tmp_path / "run")
    assert (
        run(config.model_copy(update={"deblur": deblur, "detect": detect, "output": output})) == 0
    )
    assert manifest.read(output)["counts"] == manifest.read(finished)["counts"]
    for on_cpu, on_gpu in zip(arms_of(finished), arms_of(output), strict=True):
        assert on_gpu["arm"] == on_cpu["arm"]
        assert on_gpu["squared_error"] == pytest.approx(on_cpu["squared_error"], rel=0.01)
        assert on_gpu["ssim_total"] == pytest.approx(on_cpu["ssim_total"], rel=0.001)
        assert on_gpu["detections"] == pytest.approx(on_cpu["detections"], abs=1)
        assert on_gpu["found"] == pytest.approx(on_cpu["found"], abs=1)


def arms_of(output):
    """The sums of every arm of every tile, in the order of the table."""
    rows = pq.read_table(str(next(output.glob("tiles/*.parquet")))).to_pylist()
    return [arm for row in rows for arm in row["arms"]]


CASES = {
    "plain": {"loss": SPECTRAL, "network": BATCH_NORM},
    "plain, bfloat16": {"loss": SPECTRAL, "network": BATCH_NORM, "bfloat16": True, "workers": 1},
    "wgan_gp": {"loss": critic("wgan_gp", updates=2)},
    "ralsgan": {"loss": critic("ralsgan", critic="double"), "recalibrate": 2},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize("case", CASES)
def test_a_training_starts_with_the_losses_of_the_cpu(data, tmp_path, case):
    losses = []
    for device in ("cpu", "cuda"):
        config = configuration(data, tmp_path, device=device, **CASES[case])
        patches = (textured(64, 64, 1)[None], textured(64, 64, 2)[None])
        both = tuple(np.repeat(images, 2, axis=0) for images in patches)
        losses.append(train_step(config, start(config), Objective.of(config), both))
    on_cpu, on_gpu = losses
    assert on_gpu.keys() == on_cpu.keys()
    assert on_gpu["loss_pixel"] == pytest.approx(on_cpu["loss_pixel"], rel=0.02)


@pytest.mark.parametrize("case", CASES)
def test_an_interrupted_training_continues_and_is_written(data, tmp_path, case):
    config = configuration(data, tmp_path / "run", device="cuda", **CASES[case])
    fit_deblurrer(config.model_copy(update={"steps": 2}))
    assert (tmp_path / "run" / CHECKPOINT).exists()
    restored = Deblurrer.load(train_deblurrer(config))(textured(64, 96, 3)[None])
    assert restored.std() > 5
    steps = [line.split(",")[0] for line in (tmp_path / "run/curve.csv").read_text().splitlines()]
    assert steps[-1] == str(config.steps)
