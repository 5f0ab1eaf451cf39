"""One step of training a deblurrer: losses, critic, optimisers.

A step is a function of the state, the patches, the seed and its own number alone: whatever it draws
at random (dropout, the interpolation of the gradient penalty) is seeded by them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from configs.losses import AdversarialLoss, Loss
from configs.train_deblurrer import DeblurrerTraining
from models.features import load_features
from models.losses import (
    critic_loss,
    feature_distance,
    generator_loss,
    gradient_penalty,
    pixel_distance,
    spectral_distance,
)
from models.training.deblur_data import Patches
from models.training.deblur_state import TrainingState, encoder_of, norms, seeded, to_tensor

GRADIENT_LIMIT = 1.0


class DivergedError(ValueError):
    """A training whose losses or gradients are no longer finite."""


@dataclass(frozen=True, eq=False)
class Objective:
    """The weighted losses of a generator; `features` where the perceptual one is among them."""

    loss: Loss
    features: nn.Module | None = None

    @classmethod
    def of(cls, config: DeblurrerTraining) -> "Objective":
        """Load what the losses need; weights that are not there are an error."""
        perceptual = config.loss.perceptual
        if perceptual is None:
            return cls(config.loss)
        features = load_features(perceptual.features, perceptual.weights)
        return cls(config.loss, features.to(config.device, memory_format=torch.channels_last))  # type: ignore[call-overload]

    def parts(self, state: TrainingState, restored: Tensor, sharp: Tensor) -> dict[str, Tensor]:
        """Each loss times its weight, float32; their sum is what the generator minimises."""
        loss, pixel = self.loss, self.loss.pixel
        distance = pixel_distance(
            pixel.kind, restored, sharp, scale=pixel.scale, epsilon=pixel.epsilon
        )
        parts = {"pixel": pixel.weight * distance}
        if loss.frequency_weight:
            parts["spectral"] = loss.frequency_weight * spectral_distance(restored, sharp)
        if loss.perceptual and self.features:
            distance = feature_distance(self.features, restored, sharp)
            parts["perceptual"] = loss.perceptual.weight * distance
        if loss.adversarial and state.critic:
            with torch.no_grad():
                real = state.critic(sharp)
            verdict = generator_loss(loss.adversarial.kind, real, state.critic(restored))
            parts["adversarial"] = loss.adversarial.weight * verdict
        return parts


def train_step(
    config: DeblurrerTraining, state: TrainingState, objective: Objective, patches: Patches
) -> dict[str, float]:
    """One step of the critic, if there is one, and of the generator; the losses before it.

    `loss` is the generator's, followed by its weighted parts; `loss_critic` is that of the
    critic's last update. Losses or gradients that are not finite raise DivergedError, and leave
    the generator's weights as they were.
    """
    blurred, sharp = (to_tensor(images, config.device) for images in patches)
    _prepare(config, state)
    mixed = torch.autocast(config.device, dtype=torch.bfloat16, enabled=config.bfloat16)
    with seeded(config.seed, state.step):
        with mixed:
            restored = state.generator(blurred)
        losses = {}
        if config.loss.adversarial:
            losses["loss_critic"] = _train_critic(
                config.loss.adversarial, state, sharp, restored.detach(), mixed
            )
        with mixed:
            parts = objective.parts(state, restored, sharp)
        total = torch.stack(list(parts.values())).sum()
        state.optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
    gradient = nn.utils.clip_grad_norm_(state.generator.parameters(), GRADIENT_LIMIT)
    values = {"loss": float(total.detach())}
    values |= {f"loss_{name}": float(part.detach()) for name, part in parts.items()} | losses
    _check_finite(state.step, {**values, "gradient": float(gradient)})
    state.optimiser.step()
    state.average.update_parameters(state.generator)
    state.step += 1
    return values


def _train_critic(
    settings: AdversarialLoss,
    state: TrainingState,
    sharp: Tensor,
    restored: Tensor,
    mixed: torch.autocast,
) -> float:
    """The critic's updates on one batch; the loss before the last of them."""
    critic, optimiser = state.critic, state.critic_optimiser
    assert critic is not None
    assert optimiser is not None
    critic.requires_grad_(True)
    for _ in range(settings.updates):
        with mixed:
            loss = critic_loss(settings.kind, critic(sharp), critic(restored))
        if settings.kind == "wgan_gp":
            # In float32: the penalty is a gradient of a gradient.
            shares = torch.rand(len(sharp), device=sharp.device)
            loss = loss + settings.penalty * gradient_penalty(critic, sharp, restored, shares)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    critic.requires_grad_(False)
    return float(loss.detach())


def _prepare(config: DeblurrerTraining, state: TrainingState) -> None:
    """Learning rates, modes and what learns, as they are to be at the state's step.

    While the encoder is frozen its norms still follow the pictures, as published. The published
    code then starts a new optimiser and a new schedule, which lags behind by the frozen epochs;
    here one of each serves the whole training, and the encoder merely has no gradients at first.
    """
    share = schedule(config, state.step)
    for group in state.optimiser.param_groups:
        group["lr"] = config.learning_rate * share
    if config.loss.adversarial and state.critic_optimiser:
        for group in state.critic_optimiser.param_groups:
            group["lr"] = config.loss.adversarial.learning_rate * share
    state.generator.train()
    if (encoder := encoder_of(state.generator)) is not None:
        encoder.requires_grad_(state.step >= config.encoder_frozen_until * config.steps)
    if state.step >= config.freeze_norm_from * config.steps:
        for norm in norms(state.generator):
            norm.eval()


def schedule(config: DeblurrerTraining, step: int) -> float:
    """The share of the learning rates at a step: a short linear warm-up, then down to zero.

    The published code of v2 divides its linear decay by the wrong number of epochs, so that it
    ends at a quarter of the rate; this one ends at zero, as both papers say.
    """
    warmup = min(1.0, (step + 1) / max(1, config.warmup_steps))
    if config.schedule == "cosine":
        return warmup * 0.5 * (1.0 + math.cos(math.pi * step / config.steps))
    return warmup * min(1.0, (1.0 - step / config.steps) / (1.0 - config.decay_from))


def _check_finite(step: int, values: Mapping[str, float]) -> None:
    wrong = [f"{name} {value}" for name, value in values.items() if not math.isfinite(value)]
    if wrong:
        raise DivergedError(
            f"training diverged at step {step}: {', '.join(wrong)}; the last checkpoint is kept as "
            "it was. Try a lower learning_rate, or bfloat16: false, in another run folder"
        )
