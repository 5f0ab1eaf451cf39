"""Statistics over the samples of a scene: those of training mode, in one frozen network."""

import numpy as np
import pytest
import torch

from models.backbones import BatchNorm, InstanceNorm
from models.checkpoints import save_generator
from models.deblurrer import Deblurrer
from models.scene_statistics import freeze_to_scene
from tests.restorers import TINY, make

WITH_NORMS = ["mobilenet", "inception", "se_resnext", "resnet", "resnet_batch"]


def pictures(n, side=128, seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (n, side // 8, side // 8, 3), dtype=np.uint8)
    return coarse.repeat(8, axis=1).repeat(8, axis=2)


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")

    def load(name, normalisation="per_image"):
        path = folder / f"{name}.safetensors"
        if not path.exists():
            save_generator(path, make(TINY[name]), halo_px=None, dtype=torch.float32)
        return Deblurrer.load(path, normalisation=normalisation)

    return load


@pytest.mark.parametrize("name", ["efficientnet_lite0", "se_resnext", "resnet_batch"])
def test_batch_norms_take_what_training_mode_takes(load, name):
    deblurrer, samples = load(name), pictures(3)
    frozen = freeze_to_scene(deblurrer, samples)
    # The witness: torch's own training mode, over the same pictures as one batch.
    witness = load(name).generator
    for norm in witness.modules():
        if isinstance(norm, BatchNorm):
            norm.per_image = False
            norm.train()
    x = torch.from_numpy(samples).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        levels = ((witness(x) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    wanted = levels.permute(0, 2, 3, 1).numpy()
    difference = np.abs(frozen(samples).astype(int) - wanted)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01


@pytest.mark.parametrize("name", WITH_NORMS)
def test_one_sample_alone_comes_back_as_per_image_restores_it(load, name):
    deblurrer, [sample] = load(name), pictures(1)
    frozen = freeze_to_scene(deblurrer, sample[None])
    difference = np.abs(frozen(sample[None]).astype(int) - deblurrer(sample[None]))
    assert difference.max() <= 1


@pytest.mark.parametrize("name", WITH_NORMS)
def test_a_frozen_network_has_no_norms_left_that_look_at_a_picture(load, name):
    frozen = freeze_to_scene(load(name), pictures(2))
    assert frozen.normalisation == "frozen"
    assert not any(
        isinstance(module, BatchNorm | InstanceNorm) for module in frozen.generator.modules()
    )


def test_the_order_of_the_samples_moves_nothing_but_last_bits(load):
    samples = pictures(4)
    one, other = (freeze_to_scene(load("mobilenet"), each) for each in (samples, samples[::-1]))
    assert np.abs(one(samples).astype(int) - other(samples)).max() <= 1


def test_the_same_samples_give_the_same_bits_and_leave_the_weights_alone(load):
    deblurrer, samples = load("mobilenet"), pictures(2)
    before = {name: value.clone() for name, value in deblurrer.generator.state_dict().items()}
    first, second = (freeze_to_scene(deblurrer, samples) for _ in range(2))
    for name, value in first.generator.state_dict().items():
        assert torch.equal(value, second.generator.state_dict()[name])
    for name, value in deblurrer.generator.state_dict().items():
        assert torch.equal(value, before[name])


def test_weights_without_norms_stay_what_they_are(load):
    samples = pictures(2)
    frozen = freeze_to_scene(load("unet"), samples)
    np.testing.assert_array_equal(frozen(samples), load("unet", "frozen")(samples))


def test_frozen_weights_and_no_samples_are_refused(load):
    with pytest.raises(ValueError, match="per_image weights only, got frozen"):
        freeze_to_scene(load("mobilenet", "frozen"), pictures(1))
    with pytest.raises(ValueError, match="at least one picture"):
        freeze_to_scene(load("mobilenet"), pictures(0))
