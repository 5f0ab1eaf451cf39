"""Scores of a deblurrer: fixed crops, halo, agreement with scikit-image."""

import numpy as np
import pytest

from configs.train_deblurrer import PairGlobs, PicturePairs, SharpPictures
from models.training.deblur_data import load_pictures
from models.training.deblur_score import (
    fixed_crops,
    measure_halo,
    psnr,
    restore,
    score_pictures,
    ssim,
)
from tests.deblur_trainings import write_pairs, write_pictures
from tests.restorers import TINY, make

SMALL = TINY["unet"]
PAIRS = PicturePairs(pairs=PairGlobs(blurred="train/*/blur/*.png", sharp="train/*/sharp/*.png"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_pairs(write_pictures(tmp_path_factory.mktemp("data")))


def identity():
    """A network that was just made leaves its input as it is."""
    from models.networks import build

    return build(SMALL).eval()


def test_the_halo_is_enough_and_no_larger_than_needed():
    network = make(SMALL)
    picture = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    assert measure_halo(network, picture, tolerance=1e6) == 0
    assert measure_halo(identity(), picture) == 0
    halo = measure_halo(network, picture)
    assert halo in (32, 64, 96)
    assert measure_halo(network, picture, tolerance=1e-3) >= halo


def test_a_halo_that_does_not_fit_is_none():
    picture = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    assert measure_halo(make(SMALL), picture, tolerance=-1) is None
    with pytest.raises(ValueError, match="multiples of 32"):
        measure_halo(make(SMALL), picture[:80])


def test_scores_agree_with_scikit_image():
    from skimage.metrics import peak_signal_noise_ratio

    rng = np.random.default_rng(0)
    sharp = rng.integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    other = np.clip(sharp + rng.normal(0, 9, sharp.shape), 0, 255).astype(np.uint8)
    assert psnr(sharp, other)[0] == pytest.approx(
        peak_signal_noise_ratio(sharp, other, data_range=255)
    )
    assert psnr(sharp, sharp)[0] == 60
    assert ssim(sharp, sharp) == pytest.approx([1])


def test_the_crops_are_fixed_and_an_identity_gains_nothing(data):
    groups = [SharpPictures(pattern="picture1.png"), PAIRS]
    pictures = load_pictures(data, groups, smallest=64)
    ours, again = fixed_crops(pictures, 2), fixed_crops(pictures, 2)
    assert [case.name for case in ours.cases] == ["4px", "7px", "11px", "15px", "pairs"]
    for case, other in zip(ours.cases, again.cases, strict=True):
        np.testing.assert_array_equal(case.blurred, other.blurred)
        assert case.sharp.shape == case.blurred.shape == (2, 192, 192, 3)
    network = identity()
    np.testing.assert_array_equal(restore(network, ours.cases[0].sharp), ours.cases[0].sharp)
    score = ours.score(network)
    assert score.gain == 0
    assert set(score.gains.values()) == {0}
    assert score.sharp_psnr == 60
    wanted = [psnr(case.sharp, case.blurred) for case in ours.cases]
    assert score.psnr == pytest.approx(np.mean(wanted))
    assert list(score.row())[:3] == ["psnr", "ssim", "gain"]


def test_crops_are_as_large_as_the_smallest_picture_allows(data):
    groups = [SharpPictures(pattern="picture[01].png", scales=(1.0, 0.5))]
    crops = fixed_crops(load_pictures(data, groups, smallest=64), 3)
    assert crops.cases[0].sharp.shape == (3, 128, 128, 3)


def test_the_numbers_of_a_card_tell_pairs_from_synthetic_blur(data):
    pairs = load_pictures(data, [PAIRS], smallest=64)
    numbers = score_pictures(identity(), pairs)
    assert set(numbers) == {"gain_pairs_db", "psnr_pairs_db"}
    assert numbers["gain_pairs_db"] == 0
    assert 20 < numbers["psnr_pairs_db"] < 60
    sharp = load_pictures(data, [SharpPictures(pattern="picture1.png")], smallest=64)
    assert score_pictures(identity(), sharp)["sharp_psnr_db"] == 60
