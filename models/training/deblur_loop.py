"""Training a deblurrer, start to exported weights, with exact resume."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from configs.train_deblurrer import DeblurrerTraining
from models.backbones import Normalisation
from models.restorer import Restorer
from models.training.deblur_curve import CURVE, Curve, Events
from models.training.deblur_data import PairSampler, draw_batches, load_pictures
from models.training.deblur_export import export_deblurrer
from models.training.deblur_score import CropSet, fixed_crops
from models.training.deblur_state import TrainingState, averaged, recalibrate, start
from models.training.deblur_step import Objective, train_step
from transforms.functional.blur_sampler import BlurModel

__all__ = ["CHECKPOINT", "CURVE", "fit_deblurrer", "measure_seconds_per_step", "train_deblurrer"]

CHECKPOINT = "checkpoint.pt"
_UNTIMED_STEPS = 3


def train_deblurrer(config: DeblurrerTraining) -> Path:
    """Train or continue, export the weights with their card, and return the weights' path."""
    return export_deblurrer(config, fit_deblurrer(config))


def fit_deblurrer(config: DeblurrerTraining) -> Restorer:
    """Train, or continue, as configured; the averaged generator, in evaluation mode, on the CPU.

    The run folder holds the checkpoint and the curve (CSV and PNG, and TensorBoard's events where
    that is installed).
    """
    torch.set_num_threads(config.threads)
    # Before the processes that make batches are forked: each is to use one core.
    cv2.setNumThreads(config.threads)
    # All patches are of one size: worth a trial of every algorithm for each convolution.
    torch.backends.cudnn.benchmark = config.device == "cuda"
    sampler = pair_sampler(config)
    scored = _scored(config, sampler)
    objective = Objective.of(config)
    state = start(config)
    config.run.mkdir(parents=True, exist_ok=True)
    if (config.run / CHECKPOINT).exists():
        state.load(config.run / CHECKPOINT, config)
    _loop(config, state, objective, sampler, scored)
    generator = averaged(state, config.normalisation)
    if config.recalibrate:
        steps = range(config.steps, config.steps + config.recalibrate)
        recalibrate(
            generator, (blurred for blurred, _ in draw_batches(sampler, config.batch, steps))
        )
    return generator.to("cpu")


def measure_seconds_per_step(config: DeblurrerTraining, steps: int = 10) -> float:
    """The processor seconds that a step takes, with its data, on average; nothing is written.

    Validations, which the budget of a training does not count, are left out.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    sampler, objective, state = pair_sampler(config), Objective.of(config), start(config)
    begin = time.process_time()
    for number in range(_UNTIMED_STEPS + steps):
        if number == _UNTIMED_STEPS:
            begin = time.process_time()
        train_step(config, state, objective, sampler.batch(state.step, config.batch))
    seconds = (time.process_time() - begin) / steps
    torch.set_num_threads(threads)
    return seconds


def pair_sampler(config: DeblurrerTraining) -> PairSampler:
    """What draws the training patches; pictures too small for them are an error."""
    blur = BlurModel(**config.blur.model_dump())
    pictures = load_pictures(
        config.data,
        config.train,
        smallest=config.patch + 2 * blur.reach,
        smallest_pair=config.patch,
    )
    return PairSampler(pictures, blur, config.patch, config.seed, config.colour_jitter)


@dataclass(frozen=True)
class _Scored:
    """The fixed crops that are scored at each point of the curve, and how they are restored."""

    train: CropSet
    validation: CropSet
    normalisation: Normalisation


def _scored(config: DeblurrerTraining, sampler: PairSampler) -> _Scored:
    validation = load_pictures(config.data, config.validation, smallest=config.patch)
    count = config.scored_crops
    return _Scored(
        fixed_crops(sampler.pictures, max(1, count // 2)),
        fixed_crops(validation, count),
        config.normalisation,
    )


def _loop(
    config: DeblurrerTraining,
    state: TrainingState,
    objective: Objective,
    sampler: PairSampler,
    scored: _Scored,
) -> None:
    curve, events = Curve.resume(config.run, state.step), Events(config.run, state.step)
    steps = range(state.step, config.steps)
    with _progress() as progress:
        bar = progress.add_task("", total=config.steps, completed=state.step, loss="")
        try:
            for patches in draw_batches(sampler, config.batch, steps, workers=config.workers):
                values = train_step(config, state, objective, patches)
                _count(state, values)
                progress.update(bar, completed=state.step, loss=f"loss {values['loss']:.4f}")
                if _is_due(config.validate_every, state.step, config):
                    row = _row(state, scored)
                    curve.add(row)
                    events.add(row)
                    progress.update(bar, description=_summary(row))
                if _is_due(config.checkpoint_every, state.step, config):
                    state.save(config.run / CHECKPOINT, config)
        finally:
            if curve.rows and not curve.draw():
                progress.print("no figure of the curve: matplotlib is not installed")


def _is_due(every: int, step: int, config: DeblurrerTraining) -> bool:
    return step % every == 0 or step == config.steps


def _count(state: TrainingState, values: Mapping[str, float]) -> None:
    for name, value in {**values, "steps": 1.0}.items():
        state.losses[name] = state.losses.get(name, 0.0) + value


def _row(state: TrainingState, scored: _Scored) -> dict[str, str]:
    """A point of the curve; the losses are means over the steps since the last one."""
    steps = state.losses.pop("steps")
    losses = {name: f"{total / steps:.6f}" for name, total in state.losses.items()}
    state.losses.clear()
    generator = averaged(state, scored.normalisation)
    train, validation = scored.train.score(generator), scored.validation.score(generator)
    return {
        "step": str(state.step),
        **losses,
        "train_psnr": f"{train.psnr:.3f}",
        "train_ssim": f"{train.ssim:.4f}",
        **validation.row(),
    }


def _summary(row: Mapping[str, str]) -> str:
    return f"validation {row['psnr']} dB ({float(row['gain']):+.2f}), SSIM {row['ssim']}"


def _progress() -> Progress:
    return Progress(
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[loss]}"),
        TextColumn("{task.description}"),
    )
