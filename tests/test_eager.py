"""The baseline restores as the deblurrer does, the slow way."""

import numpy as np
import pytest
import torch

from models.checkpoints import load_generator, read_tensors, save_generator
from models.deblurgan_v2 import GeneratorOptions
from models.deblurrer import Deblurrer
from models.eager import EagerDeblurrer, save_random_generator
from tests.restorers import TINY, make


@pytest.fixture
def pictures():
    return np.random.default_rng(1).integers(0, 256, (2, 96, 128, 3), np.uint8)


@pytest.mark.parametrize("name", ["mobilenet", "mobilenet_dsc", "unet"])
def test_it_restores_what_the_deblurrer_restores(name, pictures, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_generator(path, make(TINY[name]), halo_px=None, dtype=torch.float32)
    ours = Deblurrer.load(path)(pictures).astype(int)
    by_hand = EagerDeblurrer(path)(pictures)
    assert by_hand.dtype == np.uint8
    assert np.abs(ours - by_hand).max() <= 1
    assert (ours != by_hand).mean() < 1e-3
    assert (by_hand != pictures).mean() > 0.3


def test_sides_that_fit_are_not_padded_and_others_are_completed(pictures, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_generator(path, make(TINY["unet"]), halo_px=None, dtype=torch.float32)
    assert EagerDeblurrer(path)(pictures[:, :90, :100]).shape == (2, 90, 100, 3)


def test_random_weights_are_the_same_every_time_and_change_a_picture(pictures, tmp_path):
    paths = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for path in paths:
        save_random_generator(path, TINY["mobilenet"])
    first, second = map(read_tensors, paths)
    assert all(torch.equal(first[name], tensor) for name, tensor in second.items())
    change = EagerDeblurrer(paths[0])(pictures).astype(int) - pictures
    assert 0.5 < np.abs(change).mean() < 40


def test_random_weights_are_as_wide_as_published(tmp_path):
    path = tmp_path / "published.safetensors"
    save_random_generator(path)
    _, info = load_generator(path)
    assert info.options == GeneratorOptions()
