"""Training a deblurrer with a reconstruction loss: one cosine, averaged weights, exact resume."""

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from configs.train_deblurrer import DeblurrerTraining
from models.deblurgan_v2 import Generator, GeneratorOptions
from models.training.deblur_data import PairSampler, load_pictures
from models.training.deblur_export import export_deblurrer
from models.training.deblur_score import Score, ValidationSet, validation_set
from transforms.functional.blur_sampler import BlurModel
from transforms.functional.camera import Image

Tensors = Sequence[Tensor]

_WARMUP_STEPS = 200
# What an interrupted training may be continued with although it was started with something else.
_MAY_DIFFER = {
    *("steps", "run", "data", "test", "attribution"),
    *("threads", "validate_every", "checkpoint_every"),
}
CHECKPOINT = "checkpoint.pt"
CURVE = "curve.csv"


@dataclass
class TrainingState:
    """All that changes while training; what a checkpoint holds."""

    generator: Generator
    average: AveragedModel
    optimiser: torch.optim.Optimizer
    step: int = 0

    def save(self, path: Path, config: DeblurrerTraining) -> None:
        """Write the checkpoint under a temporary name, then rename it."""
        content = {
            "generator": self.generator.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "config": config.model_dump_json(),
        }
        unfinished = path.with_suffix(".part")
        torch.save(content, unfinished)
        unfinished.replace(path)

    def load(self, path: Path, config: DeblurrerTraining) -> None:
        """Continue from a checkpoint of the same configuration (but for `_MAY_DIFFER`)."""
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        written = DeblurrerTraining.model_validate_json(content["config"])
        if written.model_dump(exclude=_MAY_DIFFER) != config.model_dump(exclude=_MAY_DIFFER):
            raise ValueError(
                f"{path} belongs to another configuration: choose another run folder or delete it"
            )
        self.generator.load_state_dict(content["generator"])
        self.average.load_state_dict(content["average"])
        self.optimiser.load_state_dict(content["optimiser"])
        self.step = content["step"]


def train_deblurrer(config: DeblurrerTraining) -> Path:
    """Train or continue, export the weights with their card, and return the weights' path."""
    return export_deblurrer(config, fit_deblurrer(config))


def fit_deblurrer(config: DeblurrerTraining) -> Generator:
    """Train, or continue, as configured; the averaged generator, in evaluation mode."""
    torch.set_num_threads(config.threads)
    config.run.mkdir(parents=True, exist_ok=True)
    blur = BlurModel(**config.blur.model_dump())
    pictures = load_pictures(config.data, config.train, smallest=config.patch + 2 * blur.reach)
    sampler = PairSampler(pictures, blur, config.patch, config.seed)
    validation = validation_set(
        load_pictures(config.data, config.validation, smallest=config.patch).images
    )
    state = start(config)
    if (config.run / CHECKPOINT).exists():
        state.load(config.run / CHECKPOINT, config)
    _loop(config, state, sampler, validation)
    return averaged(state)


def start(config: DeblurrerTraining) -> TrainingState:
    """A generator with seeded random weights, and its optimiser."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        generator = Generator(GeneratorOptions.from_dict(config.network.model_dump()))
    generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(
        generator.parameters(),
        lr=config.learning_rate,
        betas=(0.9, 0.99),
        weight_decay=config.weight_decay,
        fused=True,
    )
    average = AveragedModel(generator, multi_avg_fn=_averaging(config.ema_decay))
    return TrainingState(generator, average, optimiser)


def _averaging(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    """Exponential averaging that forgets the random start quickly."""

    def average(means: Tensors, values: Tensors, count: Tensor | int) -> None:
        done = int(count)
        torch._foreach_lerp_(list(means), list(values), 1.0 - min(decay, (1 + done) / (10 + done)))

    return average


def averaged(state: TrainingState) -> Generator:
    """The generator of averaged weights, with the latest norm statistics, in evaluation mode."""
    generator = state.average.module
    assert isinstance(generator, Generator)
    for mean, latest in zip(generator.buffers(), state.generator.buffers(), strict=True):
        mean.copy_(latest)
    return generator.eval()


def _loop(
    config: DeblurrerTraining,
    state: TrainingState,
    sampler: PairSampler,
    validation: ValidationSet,
) -> None:
    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    losses: list[float] = []
    with Progress(*columns) as progress:
        bar = progress.add_task("", total=config.steps, completed=state.step)
        while state.step < config.steps:
            losses.append(train_step(config, state, sampler))
            progress.advance(bar)
            if state.step % config.validate_every == 0 or state.step == config.steps:
                score = validation.score(averaged(state))
                _append_to_curve(config.run / CURVE, state.step, float(np.mean(losses)), score)
                progress.update(bar, description=str(score))
                losses.clear()
            if state.step % config.checkpoint_every == 0 or state.step == config.steps:
                state.save(config.run / CHECKPOINT, config)


def train_step(config: DeblurrerTraining, state: TrainingState, sampler: PairSampler) -> float:
    """One step of the optimiser; the loss before it."""
    blurred, sharp = sampler.batch(state.step, config.batch)
    for group in state.optimiser.param_groups:
        group["lr"] = learning_rate(config, state.step)
    state.generator.train()
    if state.step >= config.freeze_norm_from * config.steps:
        _freeze_norm(state.generator)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=config.bfloat16):
        restored = state.generator(to_tensor(blurred))
    target = to_tensor(sharp)
    loss = charbonnier(restored, target, config.epsilon)
    if config.frequency_weight:
        loss = loss + config.frequency_weight * spectral_distance(restored, target)
    state.optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(state.generator.parameters(), 1.0)
    state.optimiser.step()
    state.average.update_parameters(state.generator)
    state.step += 1
    return float(loss.detach())


def learning_rate(config: DeblurrerTraining, step: int) -> float:
    """A short linear warm-up, then one cosine to zero."""
    warmup = min(1.0, (step + 1) / _WARMUP_STEPS)
    return config.learning_rate * warmup * 0.5 * (1.0 + math.cos(math.pi * step / config.steps))


def charbonnier(restored: Tensor, sharp: Tensor, epsilon: float) -> Tensor:
    """The mean of sqrt(d^2 + epsilon^2), d the difference of images on a scale of [0, 1]."""
    difference = (restored - sharp) / 2.0
    return torch.sqrt(difference * difference + epsilon * epsilon).mean()


def spectral_distance(restored: Tensor, sharp: Tensor) -> Tensor:
    """The mean absolute difference of orthonormal spectra, images on a scale of [0, 1].

    From MIMO-UNet (arXiv 2108.05054).
    """
    spectrum = torch.fft.rfft2((restored - sharp) / 2.0, norm="ortho")
    distance: Tensor = (spectrum.real.abs() + spectrum.imag.abs()).mean()
    return distance


def to_tensor(images: Image) -> Tensor:
    """uint8 (n, h, w, 3) to float32 (n, 3, h, w) in [-1, 1], channels last in memory."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1.0


def _freeze_norm(generator: nn.Module) -> None:
    for module in generator.modules():
        if isinstance(module, nn.BatchNorm2d | nn.InstanceNorm2d):
            module.eval()


def _append_to_curve(path: Path, step: int, loss: float, score: Score) -> None:
    row = {"step": step, "loss": f"{loss:.5f}", **score.row()}
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(row))
        if is_new:
            writer.writeheader()
        writer.writerow(row)
