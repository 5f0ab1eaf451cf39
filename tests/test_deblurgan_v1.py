"""The first version's generator: published names, sizes and start; never random."""

import pytest
import torch
from torch import nn

from models.backbones import set_normalisation
from models.cost import macs_per_pixel
from models.deblurgan_v1 import ResNetGenerator, ResNetOptions
from models.networks import parameter_count
from tests.restorers import TINY, images, make, reach

# The layers with weights, as numbered in the published latest_net_G.pth: shapes of the weights.
PUBLISHED = {
    "model.1": (64, 3, 7, 7),
    "model.4": (128, 64, 3, 3),
    "model.7": (256, 128, 3, 3),
    **{f"model.{n}.conv_block.{k}": (256, 256, 3, 3) for n in range(10, 19) for k in (1, 6)},
    "model.19": (256, 128, 3, 3),
    "model.22": (128, 64, 3, 3),
    "model.26": (3, 64, 7, 7),
}
NORMS = [f"model.{n}" for n in (2, 5, 8, 20, 23)] + [
    f"model.{n}.conv_block.{k}" for n in range(10, 19) for k in (2, 7)
]


def test_names_and_shapes_are_the_published_ones():
    state = ResNetGenerator(ResNetOptions()).state_dict()
    weights = {key[:-7]: tuple(t.shape) for key, t in state.items() if key.endswith("weight")}
    assert weights == PUBLISHED
    assert {key[:-5] for key in state if key.endswith("bias")} == set(PUBLISHED)
    assert {key[:-13] for key in state if key.endswith("running_mean")} == set(NORMS)


def test_the_published_generator_has_the_published_size_and_cost():
    generator = ResNetGenerator(ResNetOptions())
    assert parameter_count(generator) == 11_378_179
    assert macs_per_pixel(generator, 64) == pytest.approx(756_000, rel=0.001)


def test_without_dropout_the_second_convolution_is_numbered_five():
    state = ResNetGenerator(ResNetOptions(channels=4, blocks=1, dropout=0)).state_dict()
    assert "model.10.conv_block.5.weight" in state


def test_untracked_statistics_leave_no_keys_and_only_run_per_image():
    generator = make(ResNetOptions(channels=4, blocks=1, running_statistics=False))
    assert not [key for key in generator.state_dict() if "running" in key]
    with pytest.raises(ValueError, match="normalisation must be 'per_image', got 'frozen'"):
        set_normalisation(generator, "frozen")
    set_normalisation(generator, "per_image")
    assert generator(images(1)).shape == (1, 3, 64, 96)


def test_weights_start_as_published_and_on_demand_as_identity():
    torch.manual_seed(0)
    generator = ResNetGenerator(ResNetOptions(blocks=1))
    convolution = generator.model[7]
    assert isinstance(convolution, nn.Conv2d)
    assert float(convolution.weight.detach().std()) == pytest.approx(0.02, rel=0.02)
    same = ResNetGenerator(ResNetOptions(channels=4, blocks=1, start_as_identity=True))
    x = images(1)
    torch.testing.assert_close(same.eval()(x), x, rtol=0, atol=1e-6)


def test_dropout_acts_in_training_only():
    generator, x = make(TINY["resnet"]), images(1)
    assert (generator(x) == generator(x)).all()
    generator.train()
    assert (generator(x) != generator(x)).any()


def test_nine_blocks_reach_84_px():
    assert reach(ResNetOptions(channels=2), 256, 16) == 84
