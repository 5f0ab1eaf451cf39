"""The challenger: small, cheap, local, and without norm layers."""

import pytest
import torch
from torch import nn

from models.cost import macs_per_pixel
from models.networks import parameter_count
from models.unet import UNet, UNetOptions
from tests.restorers import TINY, images, make, reach


def test_it_is_as_small_and_cheap_as_stated():
    network = UNet(UNetOptions())
    assert parameter_count(network) == 465_980
    assert macs_per_pixel(network, 64) == 19_088
    assert network.stride == 8


def test_it_reaches_115_px():
    assert reach(UNetOptions(), 320, 16) == 115


def test_it_has_neither_norms_nor_buffers_nor_pooling():
    network = UNet(UNetOptions())
    assert not list(network.buffers())
    kinds = {type(m) for m in network.modules() if not list(m.children())}
    assert kinds <= {nn.Conv2d, nn.PReLU}


def test_training_and_inference_compute_the_same():
    network, x = make(TINY["unet"]), images(2)
    torch.testing.assert_close(network.train()(x), network.eval()(x), rtol=0, atol=0)


def test_depth_and_width_can_be_chosen():
    network = UNet(UNetOptions((8, 12, 16, 20), (1, 0, 1, 2, 1, 0, 1)))
    assert network.stride == 16
    assert network(images(1, 32, 48)).shape == (1, 3, 32, 48)


def test_blocks_that_do_not_match_the_widths_are_refused():
    with pytest.raises(ValueError, match="of 2 widths wants 3 numbers of blocks"):
        UNetOptions((8, 12), (1, 1))
