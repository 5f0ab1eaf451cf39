"""Pictures of a training: reading, pairing, drawing patches; and what is said about bad folders."""

import cv2
import numpy as np
import pytest
import rasterio
from rasterio import Affine

from configs.train_deblurrer import PairGlobs, PicturePairs, SharpPictures
from models.training.deblur_data import draw_batches, load_pictures
from models.training.deblur_loop import pair_sampler
from models.training.deblur_pairs import find_pairs, read_picture
from tests.deblur_trainings import configuration, picture, write_pairs, write_pictures

GOPRO = PairGlobs(blurred="train/*/blur/*.png", sharp="train/*/sharp/*.png")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("data"))


def test_pictures_without_data_and_excluded_ones_are_left_out(data):
    group = SharpPictures(pattern="*.png", exclude=("picture0*",), scales=(1.0, 0.5))
    pictures = load_pictures(data, [group], smallest=64)
    assert (
        sorted(image.shape for image in pictures.sharp) == [(128, 160, 3)] * 2 + [(256, 320, 3)] * 2
    )
    assert pictures.shares.sum() == pytest.approx(1)
    assert sorted(pictures.shares)[-1] == pytest.approx(0.4)


def test_groups_are_drawn_by_their_share(data):
    groups = [
        SharpPictures(pattern="picture0.png", share=3),
        SharpPictures(pattern="picture1.png", share=1),
    ]
    np.testing.assert_allclose(load_pictures(data, groups, smallest=64).shares, [0.75, 0.25])


def test_an_empty_folder_is_an_error(data):
    with pytest.raises(ValueError, match=r"no picture found for 'nothing\*' below"):
        load_pictures(data, [SharpPictures(pattern="nothing*")], smallest=64)


def test_pictures_too_small_for_the_crop_are_an_error(data):
    with pytest.raises(
        ValueError, match=r"1 of 4 have white areas .* at most 256 px .* wanted at least 300"
    ):
        load_pictures(data, [SharpPictures(pattern="*.png")], smallest=300)


def test_pictures_are_read_as_rgb(tmp_path):
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 2] = 255
    for name in ("red.png", "red.tif"):
        cv2.imwrite(str(tmp_path / name), red)
        np.testing.assert_array_equal(read_picture(tmp_path / name)[0, 0], [255, 0, 0])
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ValueError, match="not a picture"):
        read_picture(tmp_path / "text.png")


def write_geotiff(path, bands, dtype="uint8", **profile):
    pixels = np.arange(bands * 64 * 64).reshape(bands, 64, 64).astype(dtype)
    where = {"crs": "EPSG:32633", "transform": Affine(0.1, 0, 5e5, 0, -0.1, 5e6)}
    size = {"driver": "GTiff", "height": 64, "width": 64, "count": bands, "dtype": dtype}
    with rasterio.open(path, "w", **size, **where, **profile) as file:
        file.write(pixels)
    return np.moveaxis(pixels, 0, 2)


@pytest.mark.parametrize(
    "profile", [{}, {"tiled": True, "blockxsize": 32, "blockysize": 32}, {"compress": "deflate"}]
)
def test_a_geotiff_of_three_bytes_is_read_as_it_is(tmp_path, profile):
    wanted = write_geotiff(tmp_path / "scene.tif", 3, **profile)
    np.testing.assert_array_equal(read_picture(tmp_path / "scene.tif"), wanted)


@pytest.mark.parametrize(("bands", "dtype"), [(4, "uint8"), (3, "uint16"), (1, "uint8")])
def test_a_geotiff_of_other_bands_is_refused_with_advice(tmp_path, bands, dtype):
    write_geotiff(tmp_path / "scene.tif", bands, dtype)
    with pytest.raises(
        ValueError, match=f"is read as . bands of {dtype}, wanted RGB, 3 bands of uint8"
    ):
        read_picture(tmp_path / "scene.tif")


def test_a_batch_depends_on_seed_and_step_alone(data, tmp_path):
    pairs = pair_sampler(configuration(data, tmp_path))
    pairs.batch(4, 2)
    for ours, again in zip(pairs.batch(5, 2), pairs.batch(5, 2), strict=True):
        np.testing.assert_array_equal(ours, again)
        assert ours.shape == (2, 64, 64, 3)
        assert ours.dtype == np.uint8
    assert (pairs.batch(6, 2)[1] != pairs.batch(5, 2)[1]).any()


def test_batches_are_the_same_whoever_makes_them(data, tmp_path):
    pairs = pair_sampler(configuration(data, tmp_path))
    ours = list(draw_batches(pairs, 2, range(2, 5)))
    theirs = list(draw_batches(pairs, 2, range(2, 5), workers=1))
    np.testing.assert_array_equal(np.array(ours), np.array(theirs))
    np.testing.assert_array_equal(np.array(ours[0]), np.array(pairs.batch(2, 2)))


def test_about_a_tenth_of_the_pairs_is_sharp(data, tmp_path):
    blurred, sharp = pair_sampler(configuration(data, tmp_path)).batch(0, 200)
    same = (blurred == sharp).all(axis=(1, 2, 3)).mean()
    assert 0.04 <= same <= 0.18


def test_jitter_changes_the_colours_of_both_patches_alike(data, tmp_path):
    blur = {"sharp_share": 1.0}
    blurred, sharp = pair_sampler(
        configuration(data, tmp_path, colour_jitter=0.3, blur=blur)
    ).batch(0, 4)
    np.testing.assert_array_equal(blurred, sharp)
    _, plain = pair_sampler(configuration(data, tmp_path, blur=blur)).batch(0, 1)
    # The first crop is the same but for its colours, which keep their order.
    order = np.argsort(plain[0].ravel(), kind="stable")
    assert (np.diff(sharp[0].ravel()[order].astype(int)) >= 0).all()
    assert (sharp[0] != plain[0]).any()


def test_pairs_are_found_in_gopros_layout(tmp_path):
    pairs = find_pairs(write_pairs(tmp_path), GOPRO, smallest=64)
    assert [pair.blurred.relative_to(tmp_path).as_posix() for pair in pairs] == [
        f"train/place{number}/blur/000{number}.png" for number in range(3)
    ]
    assert all(
        pair.sharp == pair.blurred.parents[1] / "sharp" / pair.blurred.name for pair in pairs
    )
    blurred, sharp = pairs[1].read()
    np.testing.assert_array_equal(sharp, picture(1)[..., ::-1])
    assert blurred.shape == sharp.shape == (256, 320, 3)


def test_patches_of_pairs_show_the_same_place(tmp_path):
    """With blurred and sharp files alike, patches are alike: same crop, same turn."""
    folder = write_pairs(tmp_path)
    group = PicturePairs(pairs=PairGlobs(blurred=GOPRO.sharp, sharp=GOPRO.sharp))
    config = configuration(folder, tmp_path, train=[group], colour_jitter=0.2)
    blurred, sharp = pair_sampler(config).batch(0, 6)
    np.testing.assert_array_equal(blurred, sharp)
    assert blurred.shape == (6, 64, 64, 3)


def test_pairs_and_sharp_pictures_can_be_mixed(tmp_path):
    folder = write_pairs(write_pictures(tmp_path))
    groups = [SharpPictures(pattern="picture0.png", share=3), PicturePairs(pairs=GOPRO)]
    pictures = load_pictures(folder, groups, smallest=64)
    assert (len(pictures.sharp), len(pictures.pairs)) == (1, 3)
    np.testing.assert_allclose(pictures.shares, [0.75, *[0.25 / 3] * 3])


def test_pictures_without_a_counterpart_are_named(tmp_path):
    folder = write_pairs(tmp_path, 6)
    for number in range(4):
        (folder / "train" / f"place{number}" / "sharp" / f"000{number}.png").unlink()
    with pytest.raises(ValueError, match=r"4 pictures below .* have no counterpart: ") as caught:
        find_pairs(folder, GOPRO, smallest=64)
    assert [f"blur/000{number}.png" in str(caught.value) for number in range(4)] == [
        *(True, True, True, False)
    ]


def test_a_folder_without_pairs_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"no picture found for 'train/\*/blur/\*\.png' below"):
        find_pairs(tmp_path, GOPRO, smallest=64)


def test_pairs_of_mixed_sizes_are_an_error(tmp_path):
    folder = write_pairs(tmp_path)
    cv2.imwrite(str(folder / "train/place1/sharp/0001.png"), picture(1)[:200])
    with pytest.raises(ValueError, match=r"1 pairs .* differ in size .*blur/0001\.png"):
        find_pairs(folder, GOPRO, smallest=64)


def test_pairs_too_small_for_the_crop_are_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"3 pairs .* are smaller than the crop of 288 px"):
        find_pairs(write_pairs(tmp_path), GOPRO, smallest=288)


def test_a_pair_that_is_no_picture_is_named(tmp_path):
    folder = write_pairs(tmp_path)
    (folder / "train/place2/blur/0002.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"not a picture: .*blur/0002\.png"):
        find_pairs(folder, GOPRO, smallest=64)
