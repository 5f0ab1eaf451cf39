"""The exact halo is what tiles need to agree to the last bit, and no stride more."""

import pytest
import torch

from models.cards import shipped_weights
from models.checkpoints import load_generator
from models.networks import build
from models.receptive import exact_halo
from tests.restorers import TINY, make, reach

SLOW = ("inception", "efficientnet_lite0")
LOCAL = [
    pytest.param(name, marks=pytest.mark.slow if name in SLOW else ())
    for name in TINY
    if name != "se_resnext"
]


@pytest.mark.parametrize("name", LOCAL)
def test_it_is_what_gradients_of_single_pixels_reach(name):
    generator = make(TINY[name])
    halo, stride = exact_halo(generator), generator.stride
    single = reach(TINY[name], 4 * max(halo, 64) // 32 * 32, max(32, generator.smallest))
    # Counted from a border of the stride grid, a pixel beside it sees a little less far.
    assert halo % stride == 0
    assert halo - stride < single <= halo + stride


@pytest.mark.parametrize("name", ["mobilenet", "unet", "resnet_batch"])
def test_what_lies_beyond_it_changes_nothing(name):
    generator = make(TINY[name])
    halo, stride = exact_halo(generator), generator.stride
    side = max(generator.smallest, 64)
    start = -(-halo // 32) * 32
    x = torch.rand((1, 3, side, 2 * start + 64)) * 2 - 1
    near, far = x.clone(), x.clone()
    near[..., start - stride] = 1.0
    far[..., : start - halo] = torch.rand_like(far[..., : start - halo]) * 2 - 1
    with torch.inference_mode():
        whole, changed = generator(x), generator(far)
    assert torch.equal(whole[..., start:], changed[..., start:])
    with torch.inference_mode():
        assert not torch.equal(whole[..., start:], generator(near)[..., start:])


def test_a_network_that_sees_the_whole_tile_has_none():
    with pytest.raises(ValueError, match="looks at the whole tile"):
        exact_halo(build(TINY["se_resnext"]))


@pytest.mark.parametrize(("name", "halo"), [("deblur_dsc", 224), ("deblur_mobilenet", 288)])
def test_shipped_weights(name, halo):
    generator, info = load_generator(shipped_weights()[name])
    before = {key: value.clone() for key, value in generator.state_dict().items()}
    assert exact_halo(generator) == halo
    assert info.halo_px is not None
    assert info.halo_px <= halo
    assert all(torch.equal(value, before[key]) for key, value in generator.state_dict().items())
