"""What every restoring network keeps to, built tiny."""

import dataclasses
import subprocess
import sys

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from configs.networks import Network
from models.backbones import BatchNorm, InstanceNorm, set_normalisation
from models.networks import build, options_from_config, options_from_dict
from tests.restorers import TINY, images, make, reach

ALL = sorted(TINY)
UNUSED = {
    "mobilenet": ("fpn.features.7.",),
    "inception": tuple(
        f"fpn.inception.{part}." for part in ("repeat_2", "block8", "conv2d_7b", "last_linear")
    ),
}
"""Parameters that published files carry although no output depends on them."""

REACHES = {"mobilenet": 139, "resnet": 28, "unet": 51}
"""How far an input pixel may influence the output, px."""


def parsed(values):
    return TypeAdapter(Network).validate_python(values)


@pytest.mark.parametrize("name", ALL)
def test_output_has_the_shape_and_range_of_the_input(name):
    network = make(TINY[name])
    y = network(images(2, 128, 160))
    assert y.shape == (2, 3, 128, 160)
    assert y.dtype == torch.float32
    assert y.abs().max() <= 1


@pytest.mark.parametrize("name", [name for name in ALL if not name.startswith("resnet")])
def test_a_new_network_leaves_its_input_as_it_is(name):
    x = images(1, 128, 128)
    torch.testing.assert_close(build(TINY[name]).eval()(x), x, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_building_twice_from_one_seed_gives_the_same_network(name):
    torch.manual_seed(3)
    first = build(TINY[name]).state_dict()
    torch.manual_seed(3)
    for key, tensor in build(TINY[name]).state_dict().items():
        torch.testing.assert_close(tensor, first[key], rtol=0, atol=0)


@pytest.mark.parametrize("mode", ["frozen", "per_image"])
@pytest.mark.parametrize("name", ALL)
def test_output_ignores_batch_mates(name, mode):
    network, batch = make(TINY[name]), images(3, 128, 128)
    set_normalisation(network, mode)
    together = network(batch)
    alone = torch.cat([network(image[None]) for image in batch])
    torch.testing.assert_close(together, alone, rtol=0, atol=3e-5)


@pytest.mark.parametrize("mode", ["frozen", "per_image"])
@pytest.mark.parametrize("name", ALL)
def test_a_result_is_not_random_and_changes_no_buffer(name, mode):
    network, x = make(TINY[name]), images(2, 128, 128)
    set_normalisation(network, mode)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    torch.testing.assert_close(network(x), network(x), rtol=0, atol=0)
    for key, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, before[key], rtol=0, atol=0)


@pytest.mark.parametrize("name", ALL)
def test_gradients_reach_every_parameter_that_is_used(name):
    network = make(TINY[name]).train()
    network(images(2, 128, 128)).square().mean().backward()
    for key, parameter in network.named_parameters():
        if key.startswith(UNUSED.get(name, ("none",))):
            assert parameter.grad is None, key
            continue
        assert parameter.grad is not None, key
        if not _cancelled_by_a_norm(network, key):
            assert parameter.grad.abs().max() > 0, key


def _cancelled_by_a_norm(network: nn.Module, key: str) -> bool:
    """Whether it is the bias of a convolution whose mean the next layer subtracts again."""
    holder, _, kind = key.rpartition(".")
    parent, _, number = holder.rpartition(".")
    if kind != "bias" or not number.isdigit():
        return False
    following = network.get_submodule(parent)[int(number) + 1 :][:1]
    return any(isinstance(module, BatchNorm | InstanceNorm) for module in following)


@pytest.mark.parametrize("name", REACHES)
def test_the_receptive_field_is_the_stated_one(name):
    assert reach(TINY[name], 4 * REACHES[name] // 32 * 32, 32) == REACHES[name]


@pytest.mark.parametrize("name", REACHES)
def test_frozen_tiles_on_the_grid_agree_exactly_beyond_the_reach(name):
    network = make(TINY[name])
    set_normalisation(network, "frozen")
    stride = network.stride
    halo = -(-REACHES[name] // stride) * stride
    side = 2 * halo + 4 * stride
    x = images(1, side, side)
    core = slice(halo + stride, halo + 2 * stride)
    whole = network(x)[:, :, core, core]
    on_grid = network(x[:, :, stride:, stride:])[:, :, halo:, halo:][:, :, :stride, :stride]
    torch.testing.assert_close(on_grid, whole, rtol=0, atol=1e-6)
    shifted = x[:, :, stride - 1 : -1, stride - 1 : -1]
    off_grid = network(shifted)[:, :, halo + 1 :, halo + 1 :][:, :, :stride, :stride]
    assert (off_grid - whole).abs().max() > 1e-4


@pytest.mark.parametrize("name", ALL)
def test_options_survive_json_and_reject_unknown_names(name):
    options, architecture = TINY[name], build(TINY[name]).architecture
    as_lists = {
        key: [list(item) if isinstance(item, tuple) else item for item in value]
        if isinstance(value, tuple)
        else value
        for key, value in options.to_dict().items()
    }
    assert options_from_dict(architecture, as_lists) == options
    with pytest.raises(ValueError, match=r"unknown \w+Options \['chanels'\]"):
        options_from_dict(architecture, {**as_lists, "chanels": 3})


def test_an_unknown_architecture_names_the_known_ones():
    with pytest.raises(ValueError, match="must be one of deblurgan_v2, deblurgan_v1, unet, got 'x"):
        options_from_dict("x", {})


@pytest.mark.parametrize("variant", ["mobilenet", "resnet", "unet"])
def test_what_is_not_configured_is_as_published(variant):
    options = options_from_config(parsed({"variant": variant}).model_dump())
    assert options == type(options)()


def test_every_configured_value_arrives_in_the_options():
    for name, options in TINY.items():
        variant = {"resnet_batch": "resnet"}.get(name, name)
        values = {"variant": variant, **options.to_dict()}
        assert options_from_config(parsed(values).model_dump()) == options


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"variant": "densenet"}, "does not match any of the expected tags"),
        ({"variant": "unet", "channels": 3}, "Extra inputs are not permitted"),
        ({"variant": "unet", "widths": [8, 16]}, "blocks must be 3 numbers for 2 widths, got 5"),
        ({"variant": "mobilenet", "channels": 6}, "multiple of 4"),
        ({"variant": "resnet", "dropout": 1.0}, "less than 1"),
    ],
)
def test_impossible_networks_are_refused(values, message):
    with pytest.raises(ValidationError, match=message):
        parsed(values)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("change", [-1, 1])
def test_sizes_that_a_network_does_not_take_are_an_error(name, change):
    network = make(TINY[name])
    side = network.smallest + change * network.stride // 2
    message = f"multiples of {network.stride} and at least {network.smallest} px, got 256 x {side}"
    with pytest.raises(ValueError, match=message):
        network(images(1, 256, side))
    with pytest.raises(ValueError, match="at least"):
        network(images(1, network.smallest - network.stride, 256))


@pytest.mark.parametrize("name", ALL)
def test_the_smallest_size_works_and_others_follow_the_stride(name):
    network = make(TINY[name])
    set_normalisation(network, "per_image")
    for side in (network.smallest, network.smallest + network.stride):
        assert network(images(1, side, side)).shape == (1, 3, side, side)


def test_networks_without_an_encoder_of_timm_do_not_load_it():
    code = "import sys, models.deblurrer; sys.exit('timm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_options_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TINY["unet"].widths = (1,)
