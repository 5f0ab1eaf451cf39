"""OpenVINO and ONNX Runtime compute what PyTorch does."""

import os
import subprocess
import sys

import numpy as np
import pytest
from scenes import textured

from models.cards import CheckpointError, shipped_weights
from models.checkpoints import save_generator
from models.deblurrer import Deblurrer
from models.openvino_runtime import SHAPES, has_bfloat16
from models.user_cache import cache_folder
from tests.restorers import TINY, make
from transforms.functional.blur import blur_tile
from transforms.functional.render import render_scene

OTHERS = ("openvino", "onnxruntime")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """A cache of our own, shared by the tests of this file."""
    folder = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights of every kind of network by name."""
    folder = tmp_path_factory.mktemp("weights")
    for name, options in TINY.items():
        save_generator(folder / f"{name}.safetensors", make(options), halo_px=None)
    return folder


def picture(height=160, width=192, seed=3):
    return textured(height, width, seed)[None]


def difference(a, b):
    return np.abs(a.astype(int) - b)


@pytest.mark.parametrize("backend", OTHERS)
@pytest.mark.parametrize("name", sorted(TINY))
def test_every_network_is_the_same_function(weights, name, backend):
    path = weights / f"{name}.safetensors"
    batch = np.concatenate([picture(seed=1), picture(seed=2)])
    expected, got = (Deblurrer.load(path, backend=each)(batch) for each in ("torch", backend))
    assert difference(got, expected).max() <= 1
    assert (got != expected).mean() < 1e-3
    assert (got != batch).any()


@pytest.mark.parametrize("backend", OTHERS)
@pytest.mark.parametrize("name", ["deblur_dsc", "deblur_mobilenet"])
def test_shipped_weights_are_the_same_on_real_work(name, backend):
    image = blur_tile(
        render_scene(seed=3, height=256, width=288, gsd=0.15).image, length=9, angle=30
    )
    path = shipped_weights()[name]
    expected, got = (Deblurrer.load(path, backend=each)(image[None]) for each in ("torch", backend))
    assert difference(got, expected).max() <= 1
    assert (got != expected).mean() < 1e-4
    assert difference(expected, image[None]).mean() > 1


@pytest.mark.parametrize("backend", OTHERS)
def test_a_result_depends_neither_on_mates_nor_on_what_was_computed_before(weights, backend):
    path = weights / "mobilenet.safetensors"
    used, fresh = (Deblurrer.load(path, backend=backend) for _ in range(2))
    batch = np.concatenate([picture(seed=seed) for seed in range(3)])
    used(picture(96, 128))
    np.testing.assert_array_equal(used(batch)[1:2], fresh(batch[1:2]))


def test_shapes_that_were_forgotten_are_compiled_again(weights):
    deblurrer = Deblurrer.load(weights / "unet.safetensors", backend="openvino")
    first = deblurrer(picture(64, 64))
    for step in range(SHAPES + 1):
        deblurrer(picture(64, 96 + 32 * step))
    np.testing.assert_array_equal(deblurrer(picture(64, 64)), first)


def test_bfloat16_is_refused_or_changes_few_levels():
    path = shipped_weights()["deblur_dsc"]
    image = blur_tile(
        render_scene(seed=4, height=256, width=256, gsd=0.15).image, length=9, angle=60
    )
    if not has_bfloat16():
        with pytest.raises(RuntimeError, match="bfloat16 needs a processor that has it"):
            Deblurrer.load(path, backend="openvino", dtype="bfloat16")
        return
    expected = Deblurrer.load(path)(image[None])
    got = Deblurrer.load(path, backend="openvino", dtype="bfloat16")(image[None])
    error = difference(got, expected)
    assert 10 * np.log10(255**2 / (error**2).mean()) > 55
    assert (got != expected).any()


def converted_files():
    return {path: path.stat().st_mtime_ns for path in cache_folder().rglob("model.bin")}


def test_a_conversion_is_kept_and_made_again_if_it_is_damaged(weights, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = weights / "unet.safetensors"
    expected = Deblurrer.load(path, backend="openvino")(picture())
    kept = converted_files()
    assert len(kept) == 1
    Deblurrer.load(path, backend="openvino")
    assert converted_files() == kept
    (damaged,) = kept
    damaged.write_bytes(damaged.read_bytes()[:-8])
    np.testing.assert_array_equal(Deblurrer.load(path, backend="openvino")(picture()), expected)
    assert converted_files() != kept


def test_without_a_place_to_keep_it_a_conversion_works(weights, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert Deblurrer.load(weights / "unet.safetensors", backend="openvino")(picture()).any()


def test_a_missing_8_bit_network_says_how_it_is_made(weights):
    with pytest.raises(FileNotFoundError, match=r"aerial-deblur quantize .*unet.safetensors"):
        Deblurrer.load(weights / "unet.safetensors", backend="openvino", dtype="int8")


@pytest.mark.parametrize("backend", OTHERS)
def test_an_8_bit_network_of_other_weights_is_refused(weights, backend, tmp_path):
    from models.cpu_runtimes import QUANTIZED, traceable
    from models.onnx_runtime import convert_module

    path = tmp_path / "unet.safetensors"
    path.write_bytes((weights / "unet.safetensors").read_bytes())
    path.with_suffix(QUANTIZED).write_bytes(convert_module(*traceable(make(TINY["unet"]))))
    with pytest.raises(CheckpointError, match="was made of other weights"):
        Deblurrer.load(path, backend=backend, dtype="int8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"backend": "openvino", "dtype": "float16"},
            "openvino computes in float32, bfloat16, int8",
        ),
        ({"backend": "onnxruntime", "dtype": "bfloat16"}, "onnxruntime computes in float32, int8"),
        ({"backend": "torch", "dtype": "int8"}, "torch computes in"),
        ({"backend": "openvino", "normalisation": "per_image"}, "takes frozen norms only"),
    ],
)
def test_what_a_backend_cannot_do_is_refused(weights, arguments, message):
    with pytest.raises(ValueError, match=message):
        Deblurrer.load(weights / "unet.safetensors", **arguments)


def test_nothing_is_reported_and_nothing_written_at_home(tmp_path):
    program = """
import sys, torch
from models.converted import convert_module
class Network(torch.nn.Module):
    def forward(self, x):
        return x.float() * 2
convert_module(Network().eval(), torch.zeros((1, 8, 8, 3), dtype=torch.uint8))
assert sys.modules["openvino_telemetry"] is None
"""
    environment = {**os.environ, "HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], env=environment, check=True)
    assert not list(tmp_path.iterdir())


def test_signals_are_handled_after_networks_ended_out_of_order(weights):
    """OpenVINO once left a signal's stack behind that had been given back."""
    program = """
import signal, sys
from pathlib import Path
import numpy as np
from models.deblurrer import Deblurrer
def opened():
    deblurrer = Deblurrer.load(Path(sys.argv[1]), backend="openvino")
    deblurrer(np.zeros((1, 64, 64, 3), np.uint8))
    return deblurrer
first, second = opened(), opened()
del first
del second
signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
signal.raise_signal(signal.SIGUSR1)
"""
    path = weights / "unet.safetensors"
    command = [sys.executable, "-c", program, path]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr
