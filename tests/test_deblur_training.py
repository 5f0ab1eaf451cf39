"""Training a deblurrer: pairs, schedule, exact resume, export."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from pydantic import ValidationError

from configs.train_deblurrer import DeblurrerTraining, SharpPictures
from models.backbones import BatchNorm
from models.checkpoints import load_generator, read_card, sha256
from models.deblurgan_v2 import Generator
from models.training import deblur_loop
from models.training.deblur_data import PairSampler, load_pictures, read_picture
from models.training.deblur_loop import (
    CHECKPOINT,
    CURVE,
    averaged,
    charbonnier,
    fit_deblurrer,
    learning_rate,
    spectral_distance,
    start,
    to_tensor,
    train_deblurrer,
    train_step,
)
from models.training.deblur_score import measure_halo, psnr, restore, ssim, validation_set
from tests.test_deblurgan_v2 import NORMS, SMALL, make
from transforms.functional.blur_sampler import BlurModel

YAMLS = sorted((Path(__file__).parent.parent / "configs").glob("train_deblurrer*.yaml"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A few seeded pictures of soft squares, one of them half without data."""
    folder = tmp_path_factory.mktemp("data")
    for number in range(4):
        rng = np.random.default_rng(number)
        coarse = rng.integers(0, 250, (16, 20, 3), dtype=np.uint8)
        picture = cv2.resize(coarse, (320, 256), interpolation=cv2.INTER_CUBIC)
        if number == 3:
            picture[:, 160:] = 255
        cv2.imwrite(str(folder / f"picture{number}.png"), picture)
    return folder


def configuration(data: Path, run: Path, **changes: object) -> DeblurrerTraining:
    network = {**SMALL.to_dict(), "stages": SMALL.stages}
    values = {
        "kind": "deblurrer",
        "name": "tiny",
        "data": data,
        "run": run,
        "train": [{"pattern": "picture[0-2].png"}],
        "validation": [{"pattern": "picture1.png"}],
        "attribution": ["pictures: ours"],
        "network": network,
        "seed": 3,
        "steps": 6,
        "batch": 2,
        "patch": 64,
        "blur": {"length": [0.5, 9.0]},
        "bfloat16": False,
        "validate_every": 3,
        "checkpoint_every": 2,
    }
    return DeblurrerTraining.model_validate({**values, **changes})


def sampler(data: Path, config: DeblurrerTraining) -> PairSampler:
    blur = BlurModel(**config.blur.model_dump())
    return PairSampler(load_pictures(data, config.train, smallest=64), blur, 64, config.seed)


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: path.name)
def test_the_shipped_configurations_are_valid(path):
    config = DeblurrerTraining.model_validate(yaml.safe_load(path.read_text()))
    start(config)


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: path.name)
def test_no_place_of_the_test_is_trained_on(path):
    config = DeblurrerTraining.model_validate(yaml.safe_load(path.read_text()))
    if not config.data.exists():
        pytest.skip(f"{config.data} with the real pictures is not here")
    from models.training.deblur_data import _paths

    seen = {file for group in config.train for file in _paths(config.data, group)}
    held_back = {
        file for group in (*config.validation, *config.test) for file in _paths(config.data, group)
    }
    assert seen
    assert held_back
    assert not seen & held_back
    assert not [file for file in seen if "MunichStreet02" in file.name or "0762" in file.name]


@pytest.mark.parametrize("change", [{"patch": 100}, {"colour": 1}, {"name": "a b"}, {"steps": 0}])
def test_a_wrong_setting_is_refused(data, tmp_path, change):
    with pytest.raises(ValidationError):
        configuration(data, tmp_path, **change)


def test_pictures_without_data_and_excluded_ones_are_left_out(data):
    group = SharpPictures(pattern="*.png", exclude=("picture0*",), scales=(1.0, 0.5))
    pictures = load_pictures(data, [group], smallest=64)
    assert (
        sorted(image.shape for image in pictures.images)
        == [(128, 160, 3)] * 2 + [(256, 320, 3)] * 2
    )
    assert pictures.shares.sum() == pytest.approx(1)
    assert sorted(pictures.shares)[-1] == pytest.approx(0.4)


def test_groups_are_drawn_by_their_share(data):
    groups = [
        SharpPictures(pattern="picture0.png", share=3),
        SharpPictures(pattern="picture1.png", share=1),
    ]
    np.testing.assert_allclose(load_pictures(data, groups, smallest=64).shares, [0.75, 0.25])


def test_a_group_without_pictures_is_an_error(data):
    with pytest.raises(ValueError, match=r"no usable picture found for 'nothing\*'"):
        load_pictures(data, [SharpPictures(pattern="nothing*")], smallest=64)


def test_pictures_are_read_as_rgb(tmp_path):
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 2] = 255
    cv2.imwrite(str(tmp_path / "red.png"), red)
    np.testing.assert_array_equal(read_picture(tmp_path / "red.png")[0, 0], [255, 0, 0])
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ValueError, match="not a picture"):
        read_picture(tmp_path / "text.png")


def test_a_batch_depends_on_seed_and_step_alone(data, tmp_path):
    pairs = sampler(data, configuration(data, tmp_path))
    pairs.batch(4, 2)
    for ours, again in zip(pairs.batch(5, 2), pairs.batch(5, 2), strict=True):
        np.testing.assert_array_equal(ours, again)
        assert ours.shape == (2, 64, 64, 3)
        assert ours.dtype == np.uint8
    assert (pairs.batch(6, 2)[1] != pairs.batch(5, 2)[1]).any()


def test_about_a_tenth_of_the_pairs_is_sharp(data, tmp_path):
    blurred, sharp = sampler(data, configuration(data, tmp_path)).batch(0, 200)
    same = (blurred == sharp).all(axis=(1, 2, 3)).mean()
    assert 0.04 <= same <= 0.18


def test_the_learning_rate_warms_up_and_ends_at_zero(data, tmp_path):
    config = configuration(data, tmp_path, steps=1000)
    rates = [learning_rate(config, step) for step in range(1001)]
    assert rates[0] < 0.01 * config.learning_rate
    assert max(rates) > 0.85 * config.learning_rate
    assert rates[1000] == pytest.approx(0, abs=1e-12)
    assert rates[200:] == sorted(rates[200:], reverse=True)


def test_charbonnier_is_absolute_for_large_and_flat_for_small_differences():
    x = torch.zeros(1, 3, 4, 4)
    assert charbonnier(x, x, 1e-3).item() == pytest.approx(1e-3)
    assert charbonnier(x + 1.0, x, 1e-3).item() == pytest.approx(0.5, rel=1e-5)


def test_the_spectral_distance_sees_a_wave_where_it_is():
    rows = torch.arange(32).float()
    wave = torch.cos(2 * torch.pi * rows / 4).expand(1, 3, 32, 32)
    assert spectral_distance(wave, wave).item() == 0
    # All energy in one coefficient of 32 x 17: amplitude 1/2 of the scale, times n / 2 = 16.
    assert spectral_distance(wave, 0 * wave).item() == pytest.approx(0.5 * 16 / (32 * 17), rel=1e-4)


def test_pixels_become_tensors_between_minus_one_and_one():
    image = np.array([[[[0, 127, 255]]]], np.uint8)
    torch.testing.assert_close(
        to_tensor(image).flatten(), torch.tensor([-1.0, 127 / 127.5 - 1, 1.0])
    )


def test_a_few_steps_lower_the_loss_on_one_batch(data, tmp_path, monkeypatch):
    config = configuration(data, tmp_path, steps=10_000)
    pairs = sampler(data, config)
    fixed = pairs.batch(0, 4)
    monkeypatch.setattr(PairSampler, "batch", lambda *_: fixed)
    monkeypatch.setattr(deblur_loop, "learning_rate", lambda *_: 3e-3)
    state = start(config)
    losses = [train_step(config, state, pairs) for _ in range(60)]
    assert np.mean(losses[-5:]) < 0.99 * losses[0]


def test_an_interrupted_training_ends_as_an_uninterrupted_one(data, tmp_path, monkeypatch):
    whole = fit_deblurrer(configuration(data, tmp_path / "whole"))
    halves = configuration(data, tmp_path / "halves")
    with monkeypatch.context() as patch:
        patch.setattr(deblur_loop, "train_step", stop_after(4))
        with pytest.raises(KeyboardInterrupt):
            fit_deblurrer(halves)
    resumed = fit_deblurrer(halves)
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], tensor, rtol=0, atol=0)


def stop_after(steps: int):
    def step(config, state, pairs):
        if state.step == steps:
            raise KeyboardInterrupt
        return train_step(config, state, pairs)

    return step


def test_another_configuration_may_not_continue_a_run(data, tmp_path):
    fit_deblurrer(configuration(data, tmp_path))
    with pytest.raises(ValueError, match="another configuration"):
        fit_deblurrer(configuration(data, tmp_path, learning_rate=1e-4))
    fit_deblurrer(configuration(data, tmp_path, steps=7))


def test_the_curve_has_a_row_per_validation(data, tmp_path):
    fit_deblurrer(configuration(data, tmp_path))
    with (tmp_path / CURVE).open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [3, 6]
    assert float(rows[0]["ssim"]) <= 1
    assert (tmp_path / CHECKPOINT).exists()


def test_norm_statistics_stand_still_in_the_last_part(data, tmp_path):
    network = {**NORMS.to_dict(), "norm": "batch"}
    config = configuration(data, tmp_path, network=network, freeze_norm_from=0.5)
    state, pairs = start(config), sampler(data, config)
    statistics = [torch.clone(s) for s in running_means(state.generator)]
    moved = []
    for _ in range(config.steps):
        train_step(config, state, pairs)
        now = [torch.clone(s) for s in running_means(state.generator)]
        moved.append(any((a != b).any() for a, b in zip(now, statistics, strict=True)))
        statistics = now
    assert moved == [True] * 3 + [False] * 3
    for ours, latest in zip(running_means(averaged(state)), statistics, strict=True):
        torch.testing.assert_close(ours, latest, rtol=0, atol=0)


def running_means(generator: Generator) -> list[torch.Tensor]:
    return [m.running_mean for m in generator.modules() if isinstance(m, BatchNorm)]


def test_export_writes_weights_and_a_true_card(data, tmp_path):
    weights = train_deblurrer(configuration(data, tmp_path, steps=2))
    generator, info = load_generator(weights)
    card = read_card(weights)
    assert weights.name == "tiny.safetensors"
    assert card.sha256 == sha256(weights) == info.sha256
    assert card.halo_px == info.halo_px
    assert card.data == ("pictures: ours",)
    assert set(card.numbers) >= {"gain_7_to_15px_db", "sharp_psnr_db"}
    assert generator.options == SMALL


def test_training_draws_from_no_global_generator(data, tmp_path):
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    fit_deblurrer(configuration(data, tmp_path, steps=2))
    torch.testing.assert_close(torch.random.get_rng_state(), before[0], rtol=0, atol=0)
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])


def test_the_halo_is_enough_and_no_larger_than_needed():
    generator = make(SMALL)
    picture = np.random.default_rng(0).integers(0, 256, (384, 384, 3), dtype=np.uint8)
    assert measure_halo(generator, picture, tolerance=1e6) == 0
    assert measure_halo(Generator(SMALL).eval(), picture) == 0
    halo = measure_halo(generator, picture)
    assert halo in (32, 64, 96, 128)
    assert measure_halo(generator, picture, tolerance=1e-3) >= halo


def test_a_halo_that_does_not_fit_is_an_error():
    picture = np.random.default_rng(0).integers(0, 256, (192, 192, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match="is not enough"):
        measure_halo(make(SMALL), picture, tolerance=-1)
    with pytest.raises(ValueError, match="multiples of 32"):
        measure_halo(make(SMALL), picture[:100])


def test_scores_agree_with_scikit_image():
    from skimage.metrics import peak_signal_noise_ratio

    rng = np.random.default_rng(0)
    sharp = rng.integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    other = np.clip(sharp + rng.normal(0, 9, sharp.shape), 0, 255).astype(np.uint8)
    assert psnr(sharp, other)[0] == pytest.approx(
        peak_signal_noise_ratio(sharp, other, data_range=255)
    )
    assert psnr(sharp, sharp)[0] == 60
    assert ssim(sharp, sharp) == pytest.approx(1)


def test_the_validation_set_is_fixed_and_an_identity_gains_nothing(data):
    pictures = [read_picture(data / "picture1.png")]
    ours, again = validation_set(pictures), validation_set(pictures)
    np.testing.assert_array_equal(ours.blurred[2], again.blurred[2])
    identity = Generator(SMALL).eval()
    np.testing.assert_array_equal(restore(identity, ours.sharp[:2]), ours.sharp[:2])
    score = ours.score(identity)
    assert score.gain == 0
    assert score.sharp_psnr == 60
