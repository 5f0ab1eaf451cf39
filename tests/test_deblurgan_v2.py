"""The generator: names, sizes, normalisation, and what it promises about its output."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from models.backbones import MOBILENET_V2, DepthwiseSeparable, set_normalisation
from models.deblurgan_v2 import Generator, GeneratorOptions
from models.networks import parameter_count
from tests.restorers import TINY, images, make, reach

# Names and shapes of the published fpn_mobilenet.h5, as listed from the original module.
KEYS = Path(__file__).parent / "golden" / "fpn_mobilenet_keys.tsv"

SMALL, NORMS = TINY["mobilenet_dsc"], TINY["mobilenet"]


def published_keys() -> dict[str, tuple[int, ...]]:
    rows = (line.split("\t") for line in KEYS.read_text().splitlines())
    return {
        row[0]: tuple(int(side) for side in row[1].strip("()").split(",") if side.strip())
        for row in rows
    }


def test_names_and_shapes_are_the_published_ones():
    wanted = {name: shape for name, shape in published_keys().items() if ".enc" not in name}
    with torch.device("meta"):
        ours = {
            name: tuple(t.shape) for name, t in Generator(GeneratorOptions()).state_dict().items()
        }
    assert len(published_keys()) == 622
    assert ours == wanted


def test_the_published_generator_has_the_published_size():
    assert parameter_count(Generator(GeneratorOptions())) == 3_312_707


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


@pytest.mark.slow
def test_the_published_mobilenet_reaches_283_px():
    assert reach(GeneratorOptions(channels=4), 640, 32) == 283
