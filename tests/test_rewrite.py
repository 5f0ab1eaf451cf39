"""The rewritten generator is the same function with fewer products."""

import pytest
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from models.deblurgan_v2 import GeneratorOptions
from models.networks import build
from models.prepared import fold_norms
from models.rewrite import UpsampledConv, rewrite
from tests.restorers import TINY, images, make


def test_a_convolution_after_upsampling_needs_no_upsampling():
    torch.manual_seed(0)
    weight, bias = torch.randn(5, 4, 3, 3).double(), torch.randn(5).double()
    x = torch.randn(2, 4, 6, 7).double()
    large = functional.interpolate(x, scale_factor=2, mode="nearest")
    expected = functional.conv2d(large, weight, bias, padding=1)
    torch.testing.assert_close(UpsampledConv(weight, bias).double()(x), expected)


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("name", sorted(TINY))
def test_the_function_stays_the_same(name, folded):
    network = make(TINY[name]).double()
    if folded:
        fold_norms(network)
    x = images(2, 160, 192).double()
    with torch.inference_mode():
        torch.testing.assert_close(
            rewrite(network).correction(x), network.correction(x), rtol=1e-9, atol=1e-9
        )


def products(network, side=256):
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, 3, side, side))
    return counter.get_total_flops()


def test_of_the_published_mobilenet_a_quarter_of_the_products_goes_away():
    network = build(GeneratorOptions()).eval()
    fold_norms(network)
    assert products(rewrite(network)) < 0.77 * products(network)


def test_other_architectures_come_back_as_they_are():
    network = make(TINY["unet"])
    assert rewrite(network) is network
