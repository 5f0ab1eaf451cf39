"""The deblurrer: uint8 in, uint8 out, each image for itself."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.cards import CheckpointError, read_card, shipped_weights
from models.checkpoints import save_generator
from models.deblurgan_v1 import ResNetOptions
from models.deblurgan_v2 import Generator
from models.deblurrer import Deblurrer
from models.prepared import fold_norms
from tests.restorers import TINY, images, make
from tests.test_deblurgan_v2 import NORMS, SMALL
from transforms.functional.blur import blur_tile


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    save_generator(folder / "small.safetensors", make(SMALL), halo_px=96)
    save_generator(folder / "norms.safetensors", make(NORMS), halo_px=32)
    save_generator(folder / "identity.safetensors", Generator(SMALL), halo_px=0)
    return folder


@pytest.fixture(scope="module")
def small(weights):
    return Deblurrer.load(weights / "small.safetensors")


@pytest.fixture(scope="module")
def identity(weights):
    return Deblurrer.load(weights / "identity.safetensors")


def pictures(n: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, height, width, 3), dtype=np.uint8)


@given(st.integers(64, 130), st.integers(64, 130))
@settings(max_examples=12, deadline=None)
def test_any_size_from_64_px_comes_back_in_its_size(small, height, width):
    restored = small(pictures(1, height, width))
    assert restored.shape == (1, height, width, 3)
    assert restored.dtype == np.uint8


@given(st.integers(64, 130), st.integers(64, 130))
@settings(max_examples=8, deadline=None)
def test_what_the_network_leaves_alone_comes_back_bit_for_bit(identity, height, width):
    batch = pictures(2, height, width)
    np.testing.assert_array_equal(identity(batch), batch)


@pytest.mark.parametrize("name", ["small", "norms"])
@pytest.mark.parametrize("normalisation", ["frozen", "per_image"])
def test_a_batch_equals_its_images_one_by_one(weights, name, normalisation):
    deblurrer = Deblurrer.load(weights / f"{name}.safetensors", normalisation=normalisation)
    batch = pictures(3, 80, 96)
    alone = np.concatenate([deblurrer(image[None]) for image in batch])
    np.testing.assert_array_equal(deblurrer(batch), alone)
    np.testing.assert_array_equal(deblurrer(batch[::-1]), alone[::-1])


def test_the_input_is_not_changed_and_may_be_a_view(small):
    batch = pictures(2, 64, 140)
    view = batch[:, :, 3:70]
    before = view.copy()
    np.testing.assert_array_equal(small(view), small(before))
    np.testing.assert_array_equal(view, before)


def test_no_images_give_no_images(small):
    assert small(pictures(0, 64, 64)).shape == (0, 64, 64, 3)


def test_padding_is_added_only_where_it_is_missing(small):
    batch = pictures(1, 96, 96)
    seen = []
    watched = replace(small, runtime=lambda images: seen.append(images.shape[1:3]) or images)
    watched(batch)
    watched(batch[:, :65])
    assert seen == [(96, 96), (96, 96)]


def test_levels_are_rounded_not_truncated(small):
    batch = pictures(1, 64, 64)
    x = torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 127.5 - 1
    levels = (small.generator(x) + 1) * 127.5
    expected = np.rint(levels.permute(0, 2, 3, 1).numpy()).clip(0, 255)
    np.testing.assert_array_equal(small(batch), expected)


@pytest.mark.parametrize("name", sorted(TINY))
def test_folding_the_norms_keeps_the_function(name):
    folded, x = make(TINY[name]), images(2, 128, 160)
    fold_norms(folded)
    kept = {
        key
        for key, module in folded.named_modules()
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.InstanceNorm2d)
    }
    assert not kept
    torch.testing.assert_close(folded(x), make(TINY[name])(x), rtol=0, atol=5e-5)


@pytest.mark.parametrize("name", sorted(TINY))
@pytest.mark.parametrize("normalisation", ["frozen", "per_image"])
def test_every_network_restores_any_image_without_looking_at_its_mates(
    tmp_path, name, normalisation
):
    path = tmp_path / "weights.safetensors"
    save_generator(path, make(TINY[name]), halo_px=None)
    deblurrer = Deblurrer.load(path, normalisation=normalisation)
    batch = pictures(2, 71, 133)
    restored = deblurrer(batch)
    assert restored.shape == batch.shape
    np.testing.assert_array_equal(restored[1:], deblurrer(batch[1:]))
    assert (restored != batch).any()


def test_weights_without_statistics_are_only_restored_per_image(tmp_path):
    path = tmp_path / "weights.safetensors"
    options = ResNetOptions(channels=4, blocks=1, running_statistics=False)
    save_generator(path, make(options), halo_px=None)
    with pytest.raises(ValueError, match="must be 'per_image', got 'frozen'"):
        Deblurrer.load(path)
    deblurrer = Deblurrer.load(path, normalisation="per_image")
    assert (deblurrer.stride, deblurrer.smallest, deblurrer.halo) == (4, 16, None)


def test_images_below_the_networks_size_are_mirrored_up(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_generator(path, make(TINY["inception"]), halo_px=None)
    deblurrer = Deblurrer.load(path)
    small = pictures(1, 64, 64)
    mirrored = np.pad(small, ((0, 0), (0, 63), (0, 63), (0, 0)), mode="reflect")
    larger = deblurrer(np.pad(mirrored, ((0, 0), (0, 1), (0, 1), (0, 0)), mode="reflect"))
    assert deblurrer.smallest == 128
    np.testing.assert_array_equal(deblurrer(small), larger[:, :64, :64])


def test_bfloat16_changes_few_levels(weights, small):
    half = Deblurrer.load(weights / "small.safetensors", dtype="bfloat16")
    batch = pictures(1, 64, 96)
    assert np.abs(half(batch).astype(int) - small(batch)).max() <= 4


@pytest.mark.parametrize("backend", ["torch", "openvino", "onnxruntime"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_an_output_that_is_not_finite_is_an_error_and_not_black(tmp_path, value, backend):
    broken = make(SMALL)
    broken.final.pointwise.bias.data[1] = value
    save_generator(tmp_path / "broken.safetensors", broken, halo_px=None)
    deblurrer = Deblurrer.load(tmp_path / "broken.safetensors", backend=backend)
    with pytest.raises(ValueError, match=r"output is not finite .*dtype=float32"):
        deblurrer(pictures(1, 64, 64))


def test_stride_and_halo_are_those_of_the_weights(small, identity):
    assert (small.stride, small.halo, identity.halo) == (32, 96, 0)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((1, 64, 64, 3), np.float32), "must be uint8"),
        (np.zeros((64, 64, 3), np.uint8), r"must be uint8 \(n, h, w, 3\)"),
        (np.zeros((1, 64, 64, 4), np.uint8), r"must be uint8 \(n, h, w, 3\)"),
        (np.zeros((1, 63, 64, 3), np.uint8), "at least 64 px"),
    ],
)
def test_other_arrays_are_refused(small, bad, message):
    with pytest.raises(ValueError, match=message):
        small(bad)


@pytest.mark.skipif(torch.cuda.is_available(), reason="tests what happens without a GPU")
def test_a_promised_gpu_that_is_missing_is_an_error(weights):
    with pytest.raises(RuntimeError, match="promised device='cuda', got 0 usable"):
        Deblurrer.load(weights / "small.safetensors", device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_and_cpu_agree_to_a_level(weights, small):
    batch = pictures(3, 80, 96)
    on_gpu = Deblurrer.load(weights / "small.safetensors", device="cuda")(batch)
    assert np.abs(on_gpu.astype(int) - small(batch)).max() <= 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"device": "mps"}, "device must be"), ({"dtype": "float16"}, "float16 needs a GPU")],
)
def test_impossible_devices_and_dtypes_are_refused(weights, arguments, message):
    with pytest.raises(ValueError, match=message):
        Deblurrer.load(weights / "small.safetensors", **arguments)


def test_weights_with_another_digest_are_refused(weights):
    with pytest.raises(CheckpointError, match="SHA-256"):
        Deblurrer.load(weights / "small.safetensors", sha256="f" * 64)


def test_the_shipped_deblurrer_sharpens_a_blurred_edge_and_leaves_sharp_ones():
    path = shipped_weights()["deblur_dsc"]
    deblurrer = Deblurrer.load(path, sha256=read_card(path).sha256)
    sharp = np.full((128, 128, 3), 60, np.uint8)
    sharp[32:96, 40:88] = (200, 180, 90)
    blurred = blur_tile(sharp, length=9, angle=15)
    restored = deblurrer(np.stack([blurred, sharp]))
    error = [((image.astype(float) - sharp) ** 2).mean() for image in (blurred, *restored)]
    assert error[1] < 0.7 * error[0]
    assert error[2] < 0.05 * error[0]
