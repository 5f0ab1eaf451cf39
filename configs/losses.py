"""What a deblurrer's training makes small; see `models.losses`."""

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveInt

from configs.base import Section


class PixelLoss(Section):
    """The distance of pixels (Lp)."""

    kind: Literal["l1", "l2", "charbonnier"] = "charbonnier"
    weight: float = Field(default=1.0, ge=0)
    scale: Literal["unit", "imagenet"] = Field(
        default="unit", description="colours from 0 to 1, or in deviations of ImageNet's colours"
    )
    epsilon: float = Field(
        default=0.01, gt=0, description="of Charbonnier: quadratic below, linear above; 1 is white"
    )


class PerceptualLoss(Section):
    """The squared distance of feature maps (Lx)."""

    weight: float = Field(gt=0)
    features: Literal["vgg19", "efficientnet_lite0"] = Field(
        description="the network that makes them; never replaced by another one silently"
    )
    weights: Path | None = Field(
        default=None, description="file of VGG19's weights; by default torchvision's cache"
    )


class AdversarialLoss(Section):
    """The verdict of a critic that is trained alongside (Ladv)."""

    kind: Literal["wgan_gp", "lsgan", "ragan", "ralsgan", "minimax"]
    weight: float = Field(gt=0)
    critic: Literal["patch", "double"] = Field(
        description="70-px patches, or these and patches of 286 px"
    )
    channels: PositiveInt = Field(default=64, description="width of the critic's first layer")
    updates: PositiveInt = Field(default=1, description="of the critic per step, on the same batch")
    learning_rate: float = Field(default=1e-4, gt=0, description="follows the training's schedule")
    betas: tuple[float, float] = Field(default=(0.5, 0.999), description="of the critic's Adam")
    penalty: float = Field(default=10.0, ge=0, description="lambda of the gradient's, in wgan_gp")


class Loss(Section):
    """The weighted sum that the generator is trained with."""

    pixel: PixelLoss = PixelLoss()
    frequency_weight: float = Field(
        default=0.0, ge=0, description="of the L1 distance between spectra"
    )
    perceptual: PerceptualLoss | None = None
    adversarial: AdversarialLoss | None = None
