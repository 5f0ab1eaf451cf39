"""All that changes while a deblurrer is trained: what a checkpoint holds."""

import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from configs.train_deblurrer import DeblurrerTraining
from models.backbones import Normalisation, set_normalisation
from models.checkpoints import load_generator
from models.critics import Critic
from models.encoders import load_encoder_weights
from models.networks import build, options_from_config
from models.restorer import Restorer
from transforms.functional.camera import Image

Tensors = Sequence[Tensor]

# What an interrupted training may be continued with although it was started with something else.
_MAY_DIFFER = {
    *("steps", "run", "data", "test", "attribution", "licence", "recalibrate"),
    *("threads", "workers", "validate_every", "checkpoint_every", "scored_crops"),
    "normalisation",
}


@dataclass
class TrainingState:
    """The networks that learn, their optimisers, and the losses since the curve's last point."""

    generator: Restorer
    average: AveragedModel
    optimiser: torch.optim.Optimizer
    critic: Critic | None = None
    critic_optimiser: torch.optim.Optimizer | None = None
    step: int = 0
    losses: dict[str, float] = field(default_factory=dict)

    def save(self, path: Path, config: DeblurrerTraining) -> None:
        """Write the checkpoint under a temporary name, then rename it."""
        content = {
            **{name: part.state_dict() for name, part in self._parts().items()},
            "step": self.step,
            "losses": self.losses,
            "config": config.model_dump_json(),
        }
        unfinished = path.with_suffix(".part")
        torch.save(content, unfinished)
        unfinished.replace(path)

    def load(self, path: Path, config: DeblurrerTraining) -> None:
        """Continue from a checkpoint of the same configuration (but for `_MAY_DIFFER`)."""
        try:
            content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
            raise ValueError(f"{path} is damaged: delete it to start anew: {error}") from error
        written = DeblurrerTraining.model_validate_json(content["config"])
        if written.model_dump(exclude=_MAY_DIFFER) != config.model_dump(exclude=_MAY_DIFFER):
            raise ValueError(
                f"{path} belongs to another configuration: choose another run folder or delete it"
            )
        for name, part in self._parts().items():
            part.load_state_dict(content[name])
        self.step = content["step"]
        self.losses = content.get("losses", {})

    def _parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        parts: dict[str, nn.Module | torch.optim.Optimizer | None] = {
            "generator": self.generator,
            "average": self.average,
            "optimiser": self.optimiser,
            "critic": self.critic,
            "critic_optimiser": self.critic_optimiser,
        }
        return {name: part for name, part in parts.items() if part is not None}


def start(config: DeblurrerTraining) -> TrainingState:
    """The networks with seeded random weights, or those to start from, and their optimisers."""
    device = _device(config)
    with seeded(config.seed):
        generator = build(options_from_config(config.network.model_dump()))
        adversarial = config.loss.adversarial
        critic = Critic(adversarial.critic, channels=adversarial.channels) if adversarial else None
    _check_patch(generator, config)
    set_normalisation(generator, config.normalisation)
    _fill(generator, config)
    generator.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = _adam(generator, config.learning_rate, config.betas, config.weight_decay)
    average = AveragedModel(generator, multi_avg_fn=_averaging(config.ema_decay))
    state = TrainingState(generator, average, optimiser)
    if adversarial and critic:
        state.critic = critic.to(device)
        state.critic_optimiser = _adam(critic, adversarial.learning_rate, adversarial.betas, 0.0)
    return state


def _device(config: DeblurrerTraining) -> torch.device:
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device: cuda was asked for, got no usable GPU: repair it or set cpu")
    return torch.device(config.device)


def _check_patch(generator: Restorer, config: DeblurrerTraining) -> None:
    if config.patch < generator.smallest:
        raise ValueError(
            f"patch must be at least {generator.smallest} px for this network, got {config.patch}"
        )


def _fill(generator: Restorer, config: DeblurrerTraining) -> None:
    """Fill in the weights that a training starts from, if it starts from any."""
    if config.start_from is not None:
        parent, info = load_generator(config.start_from)
        if parent.options != generator.options:
            raise ValueError(
                f"start_from: {config.start_from} holds another network: got {info.options}, "
                f"wanted {generator.options}"
            )
        generator.load_state_dict(parent.state_dict())
    if config.encoder_weights is not None:
        load_encoder_weights(generator, config.encoder_weights)
    if config.encoder_frozen_until and encoder_of(generator) is None:
        raise ValueError(
            "encoder_frozen_until: this network has no encoder that could be frozen, got variant "
            f"{config.network.variant}"
        )


def encoder_of(generator: Restorer) -> nn.Module | None:
    """The part of a DeblurGAN-v2 generator that can start from ImageNet; others have none."""
    pyramid = getattr(generator, "fpn", None)
    names = ("features", "inception", "encoder")
    return next((getattr(pyramid, name) for name in names if hasattr(pyramid, name)), None)


def _adam(
    network: nn.Module, rate: float, betas: tuple[float, float], decay: float
) -> torch.optim.Optimizer:
    """AdamW, which without weight decay is Adam."""
    return torch.optim.AdamW(
        network.parameters(), lr=rate, betas=betas, weight_decay=decay, fused=True
    )


def _averaging(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    """Exponential averaging that forgets the random start quickly."""

    def average(means: Tensors, values: Tensors, count: Tensor | int) -> None:
        done = int(count)
        torch._foreach_lerp_(list(means), list(values), 1.0 - min(decay, (1 + done) / (10 + done)))

    return average


@contextmanager
def seeded(*numbers: int) -> Iterator[None]:
    """Torch's global generators seeded by the numbers within, and as before afterwards."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    [seed] = np.random.SeedSequence(numbers).generate_state(1, np.uint64).tolist()
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def averaged(state: TrainingState, normalisation: Normalisation = "frozen") -> Restorer:
    """The generator of averaged weights, with the latest norm statistics, in evaluation mode."""
    generator = state.average.module
    assert isinstance(generator, Restorer)
    for mean, latest in zip(generator.buffers(), state.generator.buffers(), strict=True):
        mean.copy_(latest)
    set_normalisation(generator, normalisation)
    return generator.eval()


def norms(generator: nn.Module) -> list[nn.BatchNorm2d | nn.InstanceNorm2d]:
    """The norm layers that keep running statistics."""
    found = [m for m in generator.modules() if isinstance(m, nn.BatchNorm2d | nn.InstanceNorm2d)]
    return [norm for norm in found if norm.track_running_stats]


def recalibrate(generator: Restorer, batches: Iterable[Image]) -> None:
    """Take the norms' statistics anew from blurred patches, in place.

    Averaged weights have other statistics than the weights they average; these belong to them:
    the plain mean over the batches. Everything but the norms stays in evaluation mode.
    """
    layers = norms(generator)
    momenta = [norm.momentum for norm in layers]
    for norm in layers:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    device = next(generator.parameters()).device
    with torch.no_grad():
        for blurred in batches:
            generator(to_tensor(blurred, device))
    for norm, momentum in zip(layers, momenta, strict=True):
        norm.momentum = momentum
    generator.eval()


def to_tensor(images: Image, device: torch.device | str = "cpu") -> Tensor:
    """uint8 (n, h, w, 3) to float32 (n, 3, h, w) in [-1, 1], channels last in memory."""
    return torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1.0
