"""Train the vehicle detector: Ultralytics' network and loss in a plain loop.

A plain loop instead of Ultralytics' trainer, because a step is then a function of (seed, step): a
run that was stopped goes on with the very crops it would have seen, and nothing is fetched, or
written outside the output folder.
"""

import json
import math
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from configs.train_detector import DetectorTraining
from models.cards import sha256
from models.detector import Detector
from models.shipped import resolve_weights
from models.training.detector_card import write_card
from models.training.detector_crops import Crop, VehicleCrops
from models.training.detector_score import detect_all, operating_threshold, place_images, score
from models.yolo import build_network, load_network, save_network

LOSS_GAINS = {"box": 7.5, "cls": 0.5, "dfl": 1.5}  # Ultralytics' defaults
GRADIENT_LIMIT = 10.0
CHECKPOINT = "last.pt"
LOG = "log.jsonl"


def train_detector(config: DetectorTraining) -> Path:
    """Train or continue, export the weights with their card, and return the weights' path.

    The output folder holds the checkpoint, a log with one line of losses and validation scores per
    checkpoint, the configuration and the rendered scenes. Continuing it with another
    configuration is an error; only `steps` may differ.
    """
    claim_output(config)
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    crops = VehicleCrops(config)
    run = DetectorRun(config)
    run.resume()
    with _progress() as progress:
        task = progress.add_task("training", total=config.steps, loss=math.nan)
        while run.step < config.steps:
            loss = run.advance(crops.batch(run.step))
            progress.update(task, completed=run.step, loss=loss)
            if run.step % config.checkpoint_every == 0 or run.step == config.steps:
                run.checkpoint()
    run.export(config.weights)
    write_card(config, run.step, run.parent)
    return config.weights


class DetectorRun:
    """A training in progress: the network, its running average, the optimiser, the step.

    `parent` is the digest of the weights that it started from; empty where these were random.
    """

    def __init__(self, config: DetectorTraining) -> None:
        self.config = config
        self.step = 0
        self.parent = ""
        self.device = torch.device(config.device)
        self.network = build_network(config.architecture, len(config.names))
        self.network.args = SimpleNamespace(**LOSS_GAINS, epochs=config.steps)
        self.network.to(self.device, memory_format=torch.channels_last).train()
        self.average = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.optimiser = torch.optim.AdamW(parameter_groups(self.network, config.weight_decay))
        self._losses: list[dict[str, float]] = []
        self._since = time.monotonic()

    def advance(self, crops: list[Crop]) -> float:
        """Take one optimisation step and return its loss per crop."""
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.step, self.config)
        batch = collate(crops, self.device)
        images = batch["img"].contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bfloat16):
            cells = self.network(images)
        loss, parts = self.network.loss(batch, in_float32(cells))
        total: Tensor = loss.sum() / len(crops)
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), GRADIENT_LIMIT)
        self.optimiser.step()
        self._update_average()
        self.step += 1
        self._losses.append({name: float(value) for name, value in parts.items()})
        return float(total.detach())

    def checkpoint(self) -> None:
        """Save what a resumed run needs, under a temporary name first; log losses and scores."""
        state = {
            "step": self.step,
            "parent": self.parent,
            "network": self.network.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
        }
        path = self.config.output / CHECKPOINT
        torch.save(state, path.with_suffix(".tmp"))
        path.with_suffix(".tmp").replace(path)
        line = {"step": self.step, "seconds": round(time.monotonic() - self._since, 1)}
        for name in self._losses[0]:
            line[name] = round(float(np.mean([part[name] for part in self._losses])), 4)
        with (self.config.output / LOG).open("a") as log:
            log.write(json.dumps(line | self._validate()) + "\n")
        self._losses.clear()
        self._since = time.monotonic()

    def resume(self) -> None:
        """Load the last checkpoint; where there is none, the weights to start from, if any."""
        path = self.config.output / CHECKPOINT
        if path.exists():
            state = torch.load(path, map_location=self.device, weights_only=True)
            self.network.load_state_dict(state["network"])
            self.average = state["average"]
            self.optimiser.load_state_dict(state["optimiser"])
            self.step = int(state["step"])
            self.parent = state.get("parent", "")
        elif self.config.start_from is not None:
            self._start_from(resolve_weights(self.config.start_from))

    def _start_from(self, weights: Path) -> None:
        """Take the weights of a finished training; the optimiser and the average begin anew."""
        parent = load_network(weights)
        names = tuple(parent.names[index] for index in sorted(parent.names))
        if names != self.config.names:
            raise ValueError(
                f"start_from must have the classes {self.config.names}, got {names} in {weights}"
            )
        try:
            self.network.load_state_dict(parent.state_dict())
        except RuntimeError as error:
            raise ValueError(
                f"start_from must be a {self.config.architecture}, got another in {weights}"
            ) from error
        self.average = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.parent = sha256(weights)

    def export(self, path: Path) -> None:
        """Write the averaged weights in half precision, with the header that `load_yolo` reads."""
        config = self.config
        network = build_network(config.architecture, len(config.names))
        network.load_state_dict(self.average, strict=True)
        facts = {"crop": str(config.crop), "seed": str(config.seed), "steps": str(self.step)}
        if self.parent:
            facts["parent"] = self.parent
        save_network(network, path, architecture=config.architecture, names=config.names, **facts)

    def _validate(self) -> dict[str, float]:
        """Average precision and recall of the averaged weights on the validation pictures."""
        weights = self.config.output / "average.safetensors"
        self.export(weights)
        detector = Detector.load(weights, device=self.config.device)
        scores: dict[str, float] = {}
        for place in self.config.validation:
            found = detect_all(detector, place_images(self.config, place))
            reached = score(found, operating_threshold(found, self.config.target_precision))
            scores[f"{place.name}_ap50"] = round(reached.average_precision, 4)
            scores[f"{place.name}_recall"] = round(reached.recall, 4)
        return scores

    def _update_average(self) -> None:
        keep = min(self.config.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                if value.is_floating_point():
                    self.average[name].lerp_(value, 1 - keep)
                else:
                    self.average[name].copy_(value)


def learning_rate(step: int, config: DetectorTraining) -> float:
    """Return the learning rate of a step: linear warm-up, then one cosine down to 1 %."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    share = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.learning_rate * (0.01 + 0.99 * (1 + math.cos(math.pi * share)) / 2)


def collate(crops: list[Crop], device: torch.device) -> dict[str, Tensor]:
    """Turn crops into the batch that Ultralytics' losses read.

    `img` is float32 (n, 3, s, s) in [0, 1]; `bboxes` (k, 4) is cx cy w h relative to the crop;
    `cls` (k, 1) and `batch_idx` (k,), the number of the crop, are float32 too.
    """
    images = torch.from_numpy(np.stack([crop.image for crop in crops])).to(device)
    boxes = np.concatenate([crop.boxes for crop in crops]) / len(crops[0].image)
    low, high = boxes[:, :2], boxes[:, 2:]
    relative = np.concatenate([(low + high) / 2, high - low], axis=1).astype(np.float32)
    classes = np.concatenate([crop.classes for crop in crops]).astype(np.float32)
    owners = np.repeat(np.arange(len(crops)), [len(crop.boxes) for crop in crops])
    return {
        "img": images.permute(0, 3, 1, 2).float() / 255,
        "bboxes": torch.from_numpy(relative).to(device),
        "cls": torch.from_numpy(classes[:, None]).to(device),
        "batch_idx": torch.from_numpy(owners.astype(np.float32)).to(device),
    }


def in_float32(cells: Any) -> Any:  # noqa: ANN401 - whatever nesting the head returns
    """Cast raw head outputs for the loss: boxes decoded in bfloat16 would be off by pixels."""
    if isinstance(cells, dict):
        return {name: in_float32(value) for name, value in cells.items()}
    if isinstance(cells, list | tuple):
        return [in_float32(value) for value in cells]
    return cells.float()


def parameter_groups(network: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Decay convolution weights only, never biases or normalisation."""
    parameters = list(network.parameters())
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def claim_output(config: DetectorTraining) -> None:
    """Create the output folder, or check that it belongs to this configuration (`steps` aside)."""
    config.output.mkdir(parents=True, exist_ok=True)
    record = config.output / "config.json"
    if record.exists():
        written = DetectorTraining.model_validate_json(record.read_text())
        if written.model_copy(update={"steps": config.steps}) != config:
            raise ValueError(
                f"{config.output} holds a run with another configuration: "
                "choose another output folder, or delete it"
            )
    record.write_text(config.model_dump_json(indent=2))


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.3f}"),
        TimeRemainingColumn(),
    )
