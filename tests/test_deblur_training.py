"""Training a deblurrer: schedule, losses, exact resume, export."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from pydantic import ValidationError

from configs.train_deblurrer import DeblurrerTraining, SharpPictures
from models.backbones import BatchNorm
from models.cards import read_card, sha256
from models.checkpoints import load_generator, save_generator
from models.critics import Critic
from models.networks import build, options_from_config
from models.restorer import Restorer
from models.training import deblur_loop, deblur_state
from models.training.deblur_data import picture_paths
from models.training.deblur_loop import (
    CHECKPOINT,
    CURVE,
    fit_deblurrer,
    measure_seconds_per_step,
    pair_sampler,
    train_deblurrer,
)
from models.training.deblur_state import averaged, norms, recalibrate, seeded, start, to_tensor
from models.training.deblur_step import DivergedError, Objective, schedule, train_step
from tests.deblur_trainings import (
    NETWORK,
    RESNET,
    SPECTRAL,
    UNET,
    configuration,
    critic,
    write_pictures,
)

ROOT = Path(__file__).parent.parent
YAMLS = sorted((ROOT / "configs").glob("train_deblur*.yaml"))
BATCH_NORM = {**NETWORK, "norm": "batch", "encoder_norm": "batch"}
# Every adversarial kind once, and what else draws at random or keeps a state.
CASES = {
    "plain": {"loss": SPECTRAL},
    "wgan_gp": {"loss": critic("wgan_gp", updates=5), "network": RESNET},
    "wgan_gp, bfloat16": {"loss": critic("wgan_gp", updates=2), "bfloat16": True},
    "lsgan": {"loss": critic("lsgan"), "network": UNET, "schedule": "linear"},
    "ragan": {"loss": critic("ragan"), "network": BATCH_NORM, "workers": 1},
    "ralsgan": {"loss": critic("ralsgan", critic="double", updates=2), "colour_jitter": 0.1},
    "minimax": {"loss": critic("minimax"), "bfloat16": True},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("data"))


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """Figures take longer than these trainings; that of a curve is tested beside it."""
    monkeypatch.setattr(deblur_loop.Curve, "draw", lambda _: True)


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: path.name)
def test_the_shipped_configurations_are_valid(path):
    config = read_yaml(path)
    with seeded(0):
        network = build(options_from_config(config.network.model_dump()))
    assert config.patch >= network.smallest


def read_yaml(path: Path) -> DeblurrerTraining:
    return DeblurrerTraining.model_validate(yaml.safe_load(path.read_text()))


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: path.name)
def test_no_place_of_the_test_is_trained_on(path):
    config = read_yaml(path)
    if not config.data.exists():
        pytest.skip(f"{config.data} with the real pictures is not here")

    def files(*groups: SharpPictures) -> set[Path]:
        return {file for group in groups for file in picture_paths(config.data, group)}

    seen, held_back = files(*config.train), files(*config.validation, *config.test)
    assert seen
    assert held_back
    assert not seen & held_back
    assert not [file for file in seen if "MunichStreet02" in file.name or "0762" in file.name]


@pytest.mark.parametrize(
    "change",
    [
        {"patch": 100},
        {"colour": 1},
        {"name": "a b"},
        {"steps": 0},
        {"loss": {"adversarial": {"kind": "gan", "weight": 1, "critic": "patch"}}},
        {"loss": {"perceptual": {"weight": 1}}},
        {"train": [{"pairs": {"blurred": "**/blur/*.png", "sharp": "**/sharp/*.png"}}]},
    ],
)
def test_a_wrong_setting_is_refused(data, tmp_path, change):
    with pytest.raises(ValidationError):
        configuration(data, tmp_path, **change)


def test_the_older_spelling_of_two_settings_is_read(data, tmp_path):
    older = configuration(data, tmp_path, epsilon=0.02, frequency_weight=0.3)
    newer = {"pixel": {"epsilon": 0.02}, "frequency_weight": 0.3}
    assert older == configuration(data, tmp_path, loss=newer)


def test_the_learning_rate_warms_up_and_ends_at_zero(data, tmp_path):
    config = configuration(data, tmp_path, steps=1000)
    shares = [schedule(config, step) for step in range(1001)]
    assert shares[0] < 0.01
    assert max(shares) > 0.85
    assert shares[1000] == pytest.approx(0, abs=1e-12)
    assert shares[200:] == sorted(shares[200:], reverse=True)


def test_the_linear_schedule_is_constant_and_then_falls_to_zero(data, tmp_path):
    config = configuration(
        data, tmp_path, steps=100, schedule="linear", decay_from=0.5, warmup_steps=0
    )
    shares = [schedule(config, step) for step in range(101)]
    assert shares[:51] == [1.0] * 51
    np.testing.assert_allclose(shares[50:], np.linspace(1, 0, 51), atol=1e-12)


def test_the_parts_add_up_to_the_loss(data, tmp_path):
    loss = {**SPECTRAL, **critic("ralsgan")}
    config = configuration(data, tmp_path, loss=loss)
    values = train_step(
        config, start(config), Objective.of(config), pair_sampler(config).batch(0, 2)
    )
    assert set(values) == {
        *("loss", "loss_pixel", "loss_spectral", "loss_adversarial", "loss_critic")
    }
    parts = values["loss_pixel"] + values["loss_spectral"] + values["loss_adversarial"]
    assert values["loss"] == pytest.approx(parts, rel=1e-6)


def test_a_perceptual_loss_without_weights_says_so_before_the_training(data, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "nothing"))
    loss = {"perceptual": {"weight": 0.006, "features": "vgg19"}}
    with pytest.raises(FileNotFoundError, match="features: efficientnet_lite0"):
        fit_deblurrer(configuration(data, tmp_path / "run", loss=loss))
    assert not (tmp_path / "run").exists()


def test_a_few_steps_lower_the_loss_on_one_batch(data, tmp_path):
    config = configuration(data, tmp_path, steps=10_000, warmup_steps=0, learning_rate=3e-3)
    state, objective, fixed = start(config), Objective.of(config), pair_sampler(config).batch(0, 4)
    losses = [train_step(config, state, objective, fixed)["loss"] for _ in range(40)]
    assert np.mean(losses[-5:]) < 0.99 * losses[0]


def test_the_critic_learns_to_tell_sharp_from_restored(data, tmp_path):
    config = configuration(
        data, tmp_path, steps=10_000, warmup_steps=0, loss=critic("lsgan", learning_rate=1e-3)
    )
    state, objective, fixed = start(config), Objective.of(config), pair_sampler(config).batch(0, 4)
    losses = [train_step(config, state, objective, fixed)["loss_critic"] for _ in range(40)]
    assert np.mean(losses[-5:]) < 0.9 * losses[0]


def test_the_generator_s_step_leaves_the_critic_alone(data, tmp_path):
    config = configuration(data, tmp_path, loss=critic("lsgan", learning_rate=1e-30))
    state = start(config)
    assert isinstance(state.critic, Critic)
    before = [parameter.clone() for parameter in state.critic.parameters()]
    train_step(config, state, Objective.of(config), pair_sampler(config).batch(0, 2))
    for ours, wanted in zip(state.critic.parameters(), before, strict=True):
        torch.testing.assert_close(ours, wanted, rtol=0, atol=1e-20)


@pytest.mark.parametrize("case", CASES)
def test_an_interrupted_training_ends_as_an_uninterrupted_one(data, tmp_path, monkeypatch, case):
    config = configuration(data, tmp_path / "whole", **CASES[case])
    whole = fit_deblurrer(config)
    halves = config.model_copy(update={"run": tmp_path / "halves"})
    with monkeypatch.context() as patch:
        patch.setattr(deblur_loop, "train_step", stop_after(5))
        with pytest.raises(KeyboardInterrupt):
            fit_deblurrer(halves)
    assert_same_weights(fit_deblurrer(halves), whole)
    assert (tmp_path / "halves" / CURVE).read_text() == (tmp_path / "whole" / CURVE).read_text()


def stop_after(steps: int):
    def step(config, state, objective, patches):
        if state.step == steps:
            raise KeyboardInterrupt
        return train_step(config, state, objective, patches)

    return step


def assert_same_weights(ours: Restorer, wanted: Restorer) -> None:
    for name, tensor in wanted.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], tensor, rtol=0, atol=0)


@pytest.mark.slow
def test_a_killed_training_ends_as_one_that_was_not(data, tmp_path):
    """Killed with SIGKILL wherever it happens to be, then left to finish."""
    loss = critic("wgan_gp", updates=5)
    config = configuration(
        data, tmp_path / "killed", steps=40, checkpoint_every=3, loss=loss, network=RESNET
    )
    step = _killed_after(config, float(np.random.default_rng().uniform(0.2, 2.0)))
    assert _run(config).wait(timeout=300) == 0
    whole = fit_deblurrer(config.model_copy(update={"run": tmp_path / "whole"}))
    killed, state = start(config), start(config)
    killed.load(config.run / CHECKPOINT, config)
    state.load(tmp_path / "whole" / CHECKPOINT, config)
    assert killed.step == 40 > step
    assert_same_weights(averaged(killed), whole)
    assert_same_weights(killed.generator, state.generator)
    for ours, wanted in zip(killed.critic.parameters(), state.critic.parameters(), strict=True):
        torch.testing.assert_close(ours, wanted, rtol=0, atol=0)


def _run(config: DeblurrerTraining) -> subprocess.Popen[bytes]:
    code = (
        "import sys; from configs.train_deblurrer import DeblurrerTraining as Training\n"
        "from models.training.deblur_loop import fit_deblurrer\n"
        "fit_deblurrer(Training.model_validate_json(sys.argv[1]))"
    )
    command = [sys.executable, "-c", code, config.model_dump_json()]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)


def _killed_after(config: DeblurrerTraining, delay: float) -> int:
    """Start a training, let it write a checkpoint, and kill it `delay` seconds later."""
    checkpoint = config.run / CHECKPOINT
    process = _run(config)
    while not checkpoint.exists():
        assert process.poll() is None
        time.sleep(0.02)
    time.sleep(delay)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return int(torch.load(checkpoint, weights_only=True)["step"])


def test_another_configuration_may_not_continue_a_run(data, tmp_path):
    fit_deblurrer(configuration(data, tmp_path))
    for change in ({"learning_rate": 1e-4}, {"loss": critic("lsgan")}):
        with pytest.raises(ValueError, match="another configuration"):
            fit_deblurrer(configuration(data, tmp_path, **change))
    fit_deblurrer(configuration(data, tmp_path, steps=7))


def test_a_damaged_checkpoint_is_named(data, tmp_path):
    (tmp_path / CHECKPOINT).write_bytes(b"nothing")
    with pytest.raises(ValueError, match="is damaged: delete it to start anew"):
        fit_deblurrer(configuration(data, tmp_path))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_diverged_training_stops_and_keeps_the_last_good_checkpoint(
    data, tmp_path, monkeypatch, value
):
    config = configuration(data, tmp_path)

    def poisoned(config, state, objective, patches):
        if state.step == 5:
            next(state.generator.parameters()).data.fill_(value)
        return train_step(config, state, objective, patches)

    monkeypatch.setattr(deblur_loop, "train_step", poisoned)
    with pytest.raises(DivergedError, match=r"diverged at step 5: .*(nan|inf)"):
        fit_deblurrer(config)
    state = start(config)
    state.load(tmp_path / CHECKPOINT, config)
    assert state.step == 4
    assert all(parameter.isfinite().all() for parameter in state.generator.parameters())


def test_a_critic_that_diverges_stops_the_training(data, tmp_path):
    config = configuration(data, tmp_path, loss=critic("lsgan"))
    state = start(config)
    next(state.critic.parameters()).data.fill_(float("nan"))
    before = [parameter.clone() for parameter in state.generator.parameters()]
    with pytest.raises(DivergedError, match="loss_critic nan"):
        train_step(config, state, Objective.of(config), pair_sampler(config).batch(0, 2))
    assert all(map(torch.equal, state.generator.parameters(), before))


def test_a_gpu_that_is_not_there_is_an_error(data, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="device: cuda was asked for, got no usable GPU"):
        start(configuration(data, tmp_path, device="cuda"))


def test_a_patch_that_the_network_cannot_take_is_refused(data, tmp_path, monkeypatch):
    network = start(configuration(data, tmp_path)).generator
    network.smallest = 64
    monkeypatch.setattr(deblur_state, "build", lambda _: network)
    config = configuration(data, tmp_path, patch=32)
    with pytest.raises(ValueError, match="patch must be at least 64 px for this network, got 32"):
        start(config)


def test_the_curve_has_a_row_per_validation(data, tmp_path):
    fit_deblurrer(configuration(data, tmp_path))
    with (tmp_path / CURVE).open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [3, 6]
    assert set(rows[0]) >= {"loss", "train_psnr", "train_ssim", "psnr", "ssim", "gain", "gain_4px"}
    assert float(rows[0]["ssim"]) <= 1
    assert (tmp_path / CHECKPOINT).exists()


def test_norm_statistics_stand_still_in_the_last_part(data, tmp_path):
    config = configuration(data, tmp_path, network=BATCH_NORM, freeze_norm_from=0.5)
    state, pairs, objective = start(config), pair_sampler(config), Objective.of(config)
    statistics = [torch.clone(s) for s in running_means(state.generator)]
    moved = []
    for step in range(config.steps):
        train_step(config, state, objective, pairs.batch(step, 2))
        now = [torch.clone(s) for s in running_means(state.generator)]
        moved.append(any((a != b).any() for a, b in zip(now, statistics, strict=True)))
        statistics = now
    assert moved == [True] * 3 + [False] * 3
    for ours, latest in zip(running_means(averaged(state)), statistics, strict=True):
        torch.testing.assert_close(ours, latest, rtol=0, atol=0)


def running_means(generator: Restorer) -> list[torch.Tensor]:
    return [m.running_mean for m in generator.modules() if isinstance(m, BatchNorm)]


def test_recalibrated_statistics_are_those_of_the_batches(data, tmp_path):
    config = configuration(data, tmp_path, network=BATCH_NORM)
    generator = averaged(start(config))
    first = norms(generator)[0]
    inputs = []
    first.register_forward_hook(lambda _, arguments, output: inputs.append(arguments[0]))
    batches = [pair_sampler(config).batch(step, 2)[0] for step in range(3)]
    recalibrate(generator, batches)
    assert not any(module.training for module in generator.modules())
    assert first.momentum == 0.1
    torch.testing.assert_close(
        first.running_mean, torch.stack([x.mean(dim=(0, 2, 3)) for x in inputs]).mean(dim=0)
    )
    torch.testing.assert_close(
        first.running_var, torch.stack([x.var(dim=(0, 2, 3)) for x in inputs]).mean(dim=0)
    )


def test_training_can_end_with_recalibrated_statistics(data, tmp_path):
    plain = configuration(data, tmp_path, network=BATCH_NORM)
    before = [mean.clone() for mean in running_means(fit_deblurrer(plain))]
    after = running_means(fit_deblurrer(plain.model_copy(update={"recalibrate": 2})))
    assert any((a != b).any() for a, b in zip(after, before, strict=True))


def test_export_writes_weights_and_a_true_card(data, tmp_path):
    config = configuration(data, tmp_path, steps=2, loss=critic("ralsgan"))
    weights = train_deblurrer(config)
    generator, info = load_generator(weights)
    card = read_card(weights)
    assert weights.name == "tiny.safetensors"
    assert card.sha256 == sha256(weights) == info.sha256
    assert card.halo_px == info.halo_px
    assert card.data == ("pictures: ours",)
    assert set(card.numbers) >= {"gain_7_to_15px_db", "sharp_psnr_db", "cpu_seconds_per_mpix"}
    assert generator.options == start(config).generator.options
    assert "Trained against a critic (ralsgan, patch)" in weights.with_suffix(".md").read_text()


@pytest.mark.parametrize("network", [RESNET, UNET], ids=["resnet", "unet"])
def test_every_architecture_is_trained_and_exported(data, tmp_path, network):
    card = read_card(train_deblurrer(configuration(data, tmp_path, steps=1, network=network)))
    assert card.architecture.endswith(f" {network['variant']}")


def test_a_training_starts_from_given_weights_and_its_card_says_so(data, tmp_path):
    parent = tmp_path / "parent.safetensors"
    config = configuration(data, tmp_path / "run", start_from=parent, steps=1, learning_rate=1e-9)
    with seeded(5):
        other = start(configuration(data, tmp_path, seed=5)).generator
    save_generator(parent, other, halo_px=0, dtype=torch.float32)
    assert_same_weights(start(config).generator, other)
    text = train_deblurrer(config).with_suffix(".md").read_text()
    assert f"Continued from `parent.safetensors` (SHA-256 {sha256(parent)})." in text
    with pytest.raises(ValueError, match="holds another network"):
        start(configuration(data, tmp_path, start_from=parent, network=UNET))


def test_the_encoder_is_frozen_at_first_and_learns_afterwards(data, tmp_path):
    config = configuration(data, tmp_path, encoder_frozen_until=0.5)
    state, pairs, objective = start(config), pair_sampler(config), Objective.of(config)
    moved = []
    for step in range(config.steps):
        before = [p.clone() for p in state.generator.fpn.features.parameters()]
        train_step(config, state, objective, pairs.batch(step, 2))
        after = state.generator.fpn.features.parameters()
        moved.append(any((a != b).any() for a, b in zip(after, before, strict=True)))
    assert moved == [False] * 3 + [True] * 3


def test_a_network_without_an_encoder_cannot_freeze_it(data, tmp_path):
    config = configuration(data, tmp_path, encoder_frozen_until=0.5, network=UNET)
    with pytest.raises(ValueError, match="no encoder that could be frozen, got variant unet"):
        start(config)


def test_training_draws_from_no_global_generator(data, tmp_path):
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    fit_deblurrer(configuration(data, tmp_path, steps=2, **CASES["wgan_gp"]))
    torch.testing.assert_close(torch.random.get_rng_state(), before[0], rtol=0, atol=0)
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])


def test_measuring_a_step_writes_nothing(data, tmp_path):
    config = configuration(data, tmp_path / "run", loss=critic("lsgan"))
    assert measure_seconds_per_step(config, steps=2) > 0
    assert not (tmp_path / "run").exists()


def test_pixels_become_tensors_between_minus_one_and_one():
    image = np.array([[[[0, 127, 255]]]], np.uint8)
    torch.testing.assert_close(
        to_tensor(image).flatten(), torch.tensor([-1.0, 127 / 127.5 - 1, 1.0])
    )


def test_validation_and_card_restore_as_the_network_is_meant_to(data, tmp_path):
    network = {"variant": "resnet", "channels": 4, "blocks": 1, "running_statistics": False}
    with pytest.raises(ValueError, match="normalisation must be 'per_image'"):
        start(configuration(data, tmp_path / "frozen", network=network))
    config = configuration(data, tmp_path / "own", network=network, normalisation="per_image")
    card = read_card(train_deblurrer(config))
    assert card.halo_px is None
    assert "`per_image`" in (config.run / "tiny.md").read_text()
    kept = configuration(data, tmp_path / "kept", network={**network, "running_statistics": True})
    train_deblurrer(kept)
    scores = [last_row(one.run)["psnr"] for one in (config, kept)]
    assert scores[0] != scores[1], "running statistics and those of the picture restore alike"


def last_row(run: Path) -> dict[str, str]:
    with (run / CURVE).open(newline="") as file:
        return list(csv.DictReader(file))[-1]
