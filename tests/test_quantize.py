"""8-bit deblurrers: made of weights, bound to them, and close to them."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.cards import CheckpointError, read_card, sha256, shipped_weights
from models.checkpoints import save_generator
from models.deblurrer import Deblurrer
from models.probe import check_fingerprint
from pipeline import quantize as command
from pipeline.cli import main
from tests.restorers import TINY, make
from transforms.functional.blur import blur_tile
from transforms.functional.render import render_scene

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("deblur_dsc", "deblur_mobilenet")


def blurred(seed=5, side=256, length=11):
    image = render_scene(seed=seed, height=side, width=side, gsd=0.15).image
    return blur_tile(image, length=length, angle=30, noise=0.001)[None]


def psnr(a, b):
    return 10 * np.log10(255**2 / np.square(a.astype(float) - b).mean())


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("name", NAMES)
def test_shipped_8_bit_networks_are_close_to_their_weights(name, backend):
    path = shipped_weights()[name]
    coarse = Deblurrer.load(path, backend=backend, dtype="int8")
    check_fingerprint(coarse)
    picture = blurred()
    answer = coarse(picture)
    assert psnr(answer, Deblurrer.load(path)(picture)) > 44
    np.testing.assert_array_equal(coarse(picture), answer)


@pytest.mark.slow
def test_an_8_bit_network_that_is_kept_is_the_same_and_needs_no_torch(tmp_path):
    path, picture = shipped_weights()["deblur_dsc"], blurred(side=128)
    program = f"""
import pathlib, sys, numpy
from models.deblurrer import Deblurrer
coarse = Deblurrer.load(pathlib.Path({str(path)!r}), backend="openvino", dtype="int8")
numpy.save("answer.npy", coarse(numpy.load("picture.npy")))
print("torch" in sys.modules, coarse.halo, coarse.stride, coarse.smallest)
"""
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    np.save(tmp_path / "picture.npy", picture)
    said, answers = [], []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program],
            env=environment, cwd=tmp_path, check=True, capture_output=True, text=True,
        )  # fmt: skip
        said.append(done.stdout.strip())
        answers.append(np.load(tmp_path / "answer.npy"))
    assert said == ["True 160 32 64", "False 160 32 64"]
    np.testing.assert_array_equal(*answers)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_processor_without_8_bit_sums_gives_the_same(name, tmp_path):
    path, picture = shipped_weights()[name], blurred(length=21)
    np.save(tmp_path / "picture.npy", picture)
    program = f"""
import pathlib, numpy
from models.deblurrer import Deblurrer
coarse = Deblurrer.load(pathlib.Path({str(path)!r}), backend="openvino", dtype="int8")
numpy.save("answer.npy", coarse(numpy.load("picture.npy")))
"""
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore", "-c", program]
    subprocess.run(command, env=environment, cwd=tmp_path, check=True)
    answer = np.load(tmp_path / "answer.npy")
    assert psnr(answer, Deblurrer.load(path)(picture)) > 44
    here = Deblurrer.load(path, backend="openvino", dtype="int8")(picture)
    assert (answer != here).mean() < 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_cards_name_the_shipped_8_bit_network(name):
    path = shipped_weights()[name]
    assert read_card(path).int8_sha256 == sha256(path.with_suffix(".int8.onnx"))


def test_another_network_than_the_cards_is_refused(tmp_path):
    source = shipped_weights()["deblur_dsc"]
    for ending in (".safetensors", ".md", ".int8.onnx"):
        content = source.with_suffix(ending).read_bytes()
        tmp_path.joinpath(source.stem + ending).write_bytes(content)
    path = tmp_path / source.name
    Deblurrer.load(path, backend="openvino", dtype="int8")
    quantized = path.with_suffix(".int8.onnx")
    quantized.write_bytes(quantized.read_bytes() + b"\0")
    with pytest.raises(CheckpointError, match=r"SHA-256 of .* differs"):
        Deblurrer.load(path, backend="openvino", dtype="int8")


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "tiny.safetensors"
    save_generator(path, make(TINY["mobilenet"]), halo_px=None)
    return path


@pytest.mark.slow
def test_the_command_writes_a_network_and_says_what_it_costs(tiny, capsys, monkeypatch):
    monkeypatch.setattr(command, "SIDE", 64)
    assert main(["quantize", str(tiny), "--crops", "3"]) == 0
    assert "PSNR to float" in capsys.readouterr().out
    first = tiny.with_suffix(".int8.onnx").read_bytes()
    _, rungs = command.quantize(str(tiny), pictures=None, crops=3)
    assert tiny.with_suffix(".int8.onnx").read_bytes() == first
    assert [rung.severity for rung in rungs] == [0, 1, 2, 3, 4, 5]
    assert all(rung.psnr > 25 for rung in rungs)
    assert Deblurrer.load(tiny, backend="openvino", dtype="int8")(blurred()).shape[1:3] == (
        256,
        256,
    )


@pytest.mark.slow
def test_it_can_be_calibrated_on_pictures_of_the_user(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("street.png", blurred(side=320)[0])
    command.quantize(str(tiny), pictures="*.png", crops=4)
    assert tiny.with_suffix(".int8.onnx").exists()


@pytest.mark.parametrize(
    ("pictures", "message"),
    [("*.jpg", "no pictures match"), ("small.png", "at least 256 x 256"), ("text.png", "8-bit")],
)
def test_pictures_that_cannot_be_used_are_an_error(tiny, tmp_path, monkeypatch, pictures, message):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("small.png", blurred()[0][:100])
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ValueError, match=message):
        command.quantize(str(tiny), pictures=pictures, crops=1)


def test_weights_without_statistics_cannot_be_quantised(tmp_path, capsys):
    from models.deblurgan_v1 import ResNetOptions

    path = tmp_path / "untracked.safetensors"
    save_generator(
        path, make(ResNetOptions(channels=4, blocks=1, running_statistics=False)), halo_px=None
    )
    assert main(["quantize", str(path), "--crops", "1"]) == 2
    assert "running statistics" in capsys.readouterr().err


def test_without_nncf_the_extra_is_named(tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(ValueError, match=r"pip install 'aerial-deblur\[quantize\]'"):
        command.quantize(str(tiny), pictures=None, crops=1)


@pytest.mark.slow
def test_nothing_is_reported_and_nothing_written_at_home(tiny, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    program = f"""
import pathlib, socket, sys
def refuse(*arguments):
    raise AssertionError(f"connects to {{arguments[1:]}}")
socket.socket.connect = refuse
import numpy as np
from models.quantize import quantize_generator
picture = np.zeros((64, 64, 3), np.uint8)
quantize_generator(pathlib.Path({str(tiny)!r}), [picture])
"""
    environment = {**os.environ, "HOME": str(home)}
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], env=environment, check=True)
    assert not list(home.rglob("*"))


@pytest.mark.slow
def test_a_network_that_a_card_names_is_not_replaced(tmp_path):
    source = shipped_weights()["deblur_dsc"]
    for ending in (".safetensors", ".md", ".int8.onnx"):
        (tmp_path / (source.stem + ending)).write_bytes(source.with_suffix(ending).read_bytes())
    before = (tmp_path / "deblur_dsc.int8.onnx").read_bytes()
    with pytest.raises(ValueError, match="is not replaced"):
        command.quantize(str(tmp_path / source.name), pictures=None, crops=1)
    assert (tmp_path / "deblur_dsc.int8.onnx").read_bytes() == before
