"""The generator: names, sizes, normalisation, and what it promises about its output."""

import numpy as np
import pytest
import torch
from torch import nn

from models.backbones import MOBILENET_V2, DepthwiseSeparable, set_normalisation
from models.cost import macs_per_pixel
from models.deblurgan_v2 import Generator, GeneratorOptions
from models.networks import parameter_count
from tests.published_files import published_keys
from tests.restorers import TINY, images, make, reach

PUBLISHED = {
    "mobilenet": GeneratorOptions(),
    "inception": GeneratorOptions("inception", 256),
}
SMALL, NORMS = TINY["mobilenet_dsc"], TINY["mobilenet"]


@pytest.mark.parametrize("variant", sorted(PUBLISHED))
def test_names_and_shapes_are_the_published_ones(variant):
    wanted = {name: shape for name, shape in published_keys(variant).items() if ".enc" not in name}
    with torch.device("meta"):
        state = Generator(PUBLISHED[variant]).state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == wanted
    assert len(published_keys(variant)) == {"mobilenet": 622, "inception": 2384}[variant]


@pytest.mark.parametrize(
    ("variant", "parameters", "macs_per_px"),
    [("mobilenet", 3_312_707, 41_300), ("inception", 60_929_291, 267_300)],
)
def test_published_generators_have_their_published_size_and_cost(variant, parameters, macs_per_px):
    with torch.device("meta"):
        generator = Generator(PUBLISHED[variant])
        assert parameter_count(generator) == parameters
        assert macs_per_pixel(generator, 256) == pytest.approx(macs_per_px, rel=0.001)


@pytest.mark.parametrize("options", [SMALL, NORMS, GeneratorOptions()])
def test_a_new_generator_leaves_its_input_as_it_is(options):
    x = images(1)
    torch.testing.assert_close(Generator(options).eval()(x), x, rtol=0, atol=1e-6)


def test_every_spatial_convolution_of_the_separable_variant_is_depthwise():
    for module in Generator(SMALL).modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size != (1, 1):
            assert module.groups == module.in_channels


def test_the_separable_stem_can_tell_all_twelve_values_under_a_pixel_apart():
    stem = make(SMALL).fpn.features[0][0]
    assert isinstance(stem, DepthwiseSeparable)
    # The depthwise part alone: 12 inputs (2 x 2 pixels, 3 colours) must not fall together.
    inputs = torch.eye(12).reshape(12, 3, 2, 2)
    seen = stem.depthwise(nn.functional.pad(inputs, (2, 2, 2, 2))).flatten(1)
    assert torch.linalg.matrix_rank(seen) == 12


@pytest.mark.parametrize("options", [SMALL, NORMS])
def test_taps_lie_at_strides_2_to_32(options):
    generator = make(options)
    maps = generator.fpn(images(1, 64, 128))
    assert [tuple(m.shape[2:]) for m in maps] == [(32, 64), (16, 32), (8, 16), (4, 8), (2, 4)]


def test_per_image_statistics_are_those_of_training_mode_at_batch_one():
    generator, x = make(NORMS), images(1)
    set_normalisation(generator, "per_image")
    restored = generator(x)
    torch.testing.assert_close(restored, generator.train()(x), rtol=0, atol=2e-5)
    assert (restored - generator.eval()(x)).abs().max() < 1


def test_the_two_modes_differ_where_there_are_norms():
    generator, x = make(NORMS), images(1)
    frozen = generator(x)
    set_normalisation(generator, "per_image")
    assert (generator(x) - frozen).abs().max() > 1e-3


def test_tiles_on_the_stride_grid_agree_better_than_tiles_off_it():
    generator = make(SMALL)
    x = images(1, 256, 256)
    moved = generator(x[:, :, 32:, 32:])[:, :, 96:128, 96:128]
    whole = generator(x)[:, :, 128:160, 128:160]
    off_grid = generator(x[:, :, 29:253, 29:253])[:, :, 99:131, 99:131]
    assert (moved - whole).abs().max() < (off_grid - whole).abs().max()


def test_training_and_inference_compute_the_same_without_norms():
    generator, x = make(SMALL), images(2)
    torch.testing.assert_close(generator.train()(x), generator.eval()(x), rtol=0, atol=2e-6)


def test_bfloat16_stays_close_and_returns_float32():
    generator, x = make(SMALL), images(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = generator(x)
    assert y.dtype == torch.float32
    np.testing.assert_allclose(y.detach(), generator(x).detach(), atol=0.03)


def test_the_published_backbone_is_mobilenet_v2():
    assert sum(repeats for _, _, repeats, _ in MOBILENET_V2) == 17


def test_inception_taps_lie_on_the_path_of_the_classifier():
    # What the taps end in, continued by timm's own last layers, is what timm computes.
    pyramid = make(TINY["inception"]).fpn
    encoder, x = pyramid.inception, images(1, 128, 160)
    *_, last = pyramid.levels(x)
    with torch.no_grad():
        features = encoder.conv2d_7b(encoder.block8(encoder.repeat_2(last)))
        torch.testing.assert_close(features, encoder.forward_features(x), rtol=0, atol=0)


@pytest.mark.parametrize("sides", [(128, 160), (256, 128)])
def test_inception_maps_are_completed_to_exact_fractions(sides):
    maps = make(TINY["inception"]).fpn(images(1, *sides))
    wanted = [(sides[0] // stride, sides[1] // stride) for stride in (2, 4, 8, 16, 32)]
    assert [tuple(m.shape[2:]) for m in maps] == wanted


def test_inception_paddings_mirror_the_missing_borders():
    # At 256 px the encoder leaves 127, 62, 29, 14, 6 of 128, 64, 32, 16, 8 positions.
    pyramid = make(TINY["inception"]).fpn
    levels = pyramid.levels(images(1, 256, 256))
    assert [level.shape[2] for level in levels] == [127, 62, 29, 14, 6]
    fine = pyramid(images(1, 256, 256))[0]
    torch.testing.assert_close(fine[:, :, :127, :127], pyramid.lateral0(levels[0]))
    torch.testing.assert_close(fine[:, :, 127], fine[:, :, 125])


def test_squeeze_and_excitation_makes_every_output_depend_on_the_whole_tile():
    network = make(TINY["se_resnext"])
    x = images(1, 64, 1024)
    other = x.clone()
    other[:, :, :, 960:] = 0
    changed = (network(x) - network(other)).abs().amax((0, 1, 2)) > 0
    assert changed[:32].any()
    assert not network.local
    assert make(TINY["efficientnet_lite0"]).local


@pytest.mark.parametrize(
    ("variant", "depths"), [("inception", (1,)), ("se_resnext", (1, 1)), ("mobilenet", (1,))]
)
def test_depths_must_fit_the_encoder(variant, depths):
    with pytest.raises(ValueError, match=f"{variant} takes . depths"):
        GeneratorOptions(variant, depths=depths)


@pytest.mark.parametrize("taps", [(1, 3, 6, 10, 18), (0, 1, 2, 3, 4)])
def test_taps_must_lie_at_the_strides_of_the_pyramid(taps):
    with pytest.raises(ValueError, match="taps must be blocks 0 to 17 at strides 2, 4, 8, 16, 32"):
        GeneratorOptions(taps=taps)


def test_depths_left_out_are_the_published_ones():
    assert GeneratorOptions("inception").depths == (10, 20, 9)
    assert GeneratorOptions("se_resnext").depths == (3, 4, 6, 3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "width", "height", "phases", "px"),
    [
        (GeneratorOptions(channels=4), 640, 32, 32, 283),
        # The farthest lies at phase 6. With the published 10 and 20 blocks instead of one and one
        # it is 9 x 16 (two 3x3 at stride 8) and 19 x 48 (1x7 at stride 16) px more: 1296.
        (TINY["inception"], 640, 128, 7, 240),
    ],
)
def test_an_input_pixel_reaches_no_further_than_stated(options, width, height, phases, px):
    assert reach(options, width, height, phases) == px
