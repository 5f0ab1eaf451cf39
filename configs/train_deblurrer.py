"""What can be set when a deblurrer is trained."""

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveInt

from configs.base import Section
from configs.networks import Network


class SharpPictures(Section):
    """A group of sharp pictures to train on."""

    pattern: str = Field(description="glob below the data folder, e.g. 'street/**/*.jpg'")
    exclude: tuple[str, ...] = Field(default=(), description="globs of names to leave out")
    scales: tuple[float, ...] = Field(
        default=(1.0,), description="pictures are shrunk to each of these by area averaging"
    )
    share: float = Field(default=1.0, gt=0, description="how often it is drawn, relative to others")


class BlurSampling(Section):
    """How often each degradation is drawn and how strong it is.

    Lengths in px, shares in [0, 1], ranges inclusive.
    """

    length: tuple[float, float] = Field(default=(0.5, 25.0), description="px, log-uniform")
    vibration: tuple[float, float] = Field(default=(0.0, 2.0), description="amplitude, px")
    defocus: tuple[float, float] = Field(default=(0.3, 1.0), description="Gaussian sigma, px")
    noise: tuple[float, float] = Field(
        default=(0.0, 0.004), description="standard deviation of linear light at 18 % grey"
    )
    jpeg_quality: tuple[int, int] = (75, 97)
    sharp_share: float = Field(default=0.1, ge=0, le=1, description="pairs left untouched")
    shake_share: float = Field(default=0.15, ge=0, le=1, description="hand-shake trajectories")
    vibration_share: float = Field(default=0.4, ge=0, le=1)
    defocus_share: float = Field(default=0.5, ge=0, le=1)
    jpeg_share: float = Field(default=0.5, ge=0, le=1)


class DeblurrerTraining(Section):
    """One training of a deblurrer, start to exported weights."""

    kind: Literal["deblurrer"]
    name: str = Field(pattern=r"^[a-z0-9_]+$", description="names the weight file and its card")
    data: Path = Field(description="folder of the sharp pictures")
    train: tuple[SharpPictures, ...] = Field(min_length=1)
    validation: tuple[SharpPictures, ...] = Field(min_length=1)
    test: tuple[SharpPictures, ...] = Field(
        default=(), description="pictures of places unseen in training, for the card's numbers"
    )
    attribution: tuple[str, ...] = Field(
        default=(), description="licence and owner of each data set, copied into the model card"
    )
    blur: BlurSampling = BlurSampling()
    network: Network
    run: Path = Field(description="folder of checkpoints, curve and exported weights")
    seed: int = 0
    steps: PositiveInt
    batch: PositiveInt = 8
    patch: PositiveInt = Field(default=128, multiple_of=32, description="px")
    learning_rate: float = Field(default=1.5e-3, gt=0)
    weight_decay: float = Field(default=1e-4, ge=0)
    epsilon: float = Field(
        default=0.01, gt=0, description="of Charbonnier: quadratic below, linear above; 1 is white"
    )
    frequency_weight: float = Field(
        default=0.0, ge=0, description="of the L1 distance between spectra beside Charbonnier"
    )
    ema_decay: float = Field(default=0.999, ge=0, lt=1)
    freeze_norm_from: float = Field(
        default=0.8, ge=0, le=1, description="share of the steps after which statistics are frozen"
    )
    bfloat16: bool = Field(default=True, description="mixed precision; fast where AVX-512 has it")
    threads: PositiveInt = 1
    validate_every: PositiveInt = 500
    checkpoint_every: PositiveInt = 500
