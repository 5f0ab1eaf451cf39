"""The contenders of a comparison: their trainings within one budget, and their weight files."""

import json
import math
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.console import Console

from configs.comparison import Comparison, Contender
from configs.load import validate
from configs.train_deblurrer import DeblurrerTraining
from models.checkpoints import save_generator
from models.networks import build, options_from_config
from models.shipped import resolve_weights
from models.training.deblur_loop import CURVE, measure_seconds_per_step, train_deblurrer
from transforms.inference import use_one_thread

STEPS = "steps.json"
LOG = "training.log"


@dataclass(frozen=True)
class Steps:
    """How long a contender trains: the processor seconds of a step when measured, and the steps."""

    seconds: float
    count: int


def training_folder(config: Comparison, contender: Contender) -> Path:
    """Return the folder of a contender's checkpoints, curve and weights."""
    return config.output / contender.name / "training"


def training_of(config: Comparison, contender: Contender, steps: int = 1) -> DeblurrerTraining:
    """Return the shared training with what this contender sets; raise ConfigError if it is wrong.

    Sections are merged key by key, but for `network`, which a contender gives whole.
    """
    content = _merged(config.training, contender.training or {})
    folder = training_folder(config, contender)
    filled = {
        "kind": "deblurrer",
        "name": contender.name,
        "run": folder,
        "steps": steps,
        "normalisation": contender.normalisation,
    }
    return validate(DeblurrerTraining, {**content, **filled}, source=contender.name)


def plan_steps(config: Comparison, contender: Contender) -> Steps:
    """Measure how long a step takes and return the steps within the budget.

    Measured once: the result is kept in the contender's folder, so that an interrupted training
    goes on to the same end.
    """
    kept = config.output / contender.name / STEPS
    if kept.exists():
        return Steps(**json.loads(kept.read_text(encoding="utf-8")))
    seconds = round(measure_seconds_per_step(training_of(config, contender)), 6)
    steps = Steps(seconds, max(1, math.floor(config.budget_seconds / seconds)))
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(asdict(steps)), encoding="utf-8")
    return steps


def train_contenders(config: Comparison, console: Console) -> dict[str, Steps]:
    """Train all that are to be trained, `workers` at a time; return the steps of each by name."""
    trained = [one for one in config.contenders if one.training is not None]
    if not trained:
        return {}
    done: dict[str, Steps] = {}
    # A fresh process each: one training's memory and threads are not the next one's.
    with ProcessPoolExecutor(
        config.workers, get_context("spawn"), max_tasks_per_child=1
    ) as processes:
        running = {one.name: processes.submit(_train, config, one) for one in trained}
        for one in trained:
            done[one.name] = running[one.name].result()
            console.print(f"{one.title}: {done[one.name].count} steps", markup=False)
    return done


def curve_of(config: Comparison, contender: Contender) -> Path:
    """Return the file of a contender's training curve, which may not be there."""
    return training_folder(config, contender) / CURVE


def weights_of(config: Comparison, contender: Contender) -> Path:
    """Return the weight file of a contender; that of a bare network is written with random ones."""
    if contender.weights is not None:
        return resolve_weights(contender.weights)
    if contender.training is not None:
        return training_folder(config, contender) / f"{contender.name}.safetensors"
    assert contender.network is not None, "a contender has one of three sources"
    random = config.output / contender.name / "untrained.safetensors"
    if not random.exists():
        random.parent.mkdir(parents=True, exist_ok=True)
        options = options_from_config(contender.network.model_dump())
        save_generator(random, build(options), halo_px=None)
    return random


def _train(config: Comparison, contender: Contender) -> Steps:
    use_one_thread()
    folder = config.output / contender.name
    folder.mkdir(parents=True, exist_ok=True)
    with (
        (folder / LOG).open("a", encoding="utf-8") as log,
        redirect_stdout(log),
        redirect_stderr(log),
    ):
        steps = plan_steps(config, contender)
        if not weights_of(config, contender).exists():
            train_deblurrer(training_of(config, contender, steps.count))
    return steps


def _merged(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(shared)
    for key, value in own.items():
        below = result.get(key, {})
        mergeable = isinstance(below, dict) and isinstance(value, dict) and key != "network"
        result[key] = _merged(below, value) if mergeable else value
    return result
