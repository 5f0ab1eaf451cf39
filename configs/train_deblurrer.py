"""What can be set when a deblurrer is trained."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator, model_validator

from configs.base import Section
from configs.losses import Loss
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
    varying_share: float = Field(
        default=0.0, ge=0, le=1, description="cameras that turn too: blur varies over the crop"
    )


class PairGlobs(Section):
    """Where blurred and sharp pictures lie that belong together; below the data folder.

    Two pictures are a pair if all parts of their paths that have wildcards are the same, file
    endings aside.
    """

    blurred: str = Field(description="e.g. 'train/*/blur/*.png' in GoPro's layout")
    sharp: str = Field(description="e.g. 'train/*/sharp/*.png'")

    @field_validator("blurred", "sharp")
    @classmethod
    def _one_level_each(cls, glob: str) -> str:
        if "**" in glob:
            raise ValueError(f"a glob of pairs has one * for each folder, no **; got {glob!r}")
        return glob


class PicturePairs(Section):
    """A group of pictures that were really blurred, each with its sharp counterpart."""

    pairs: PairGlobs
    share: float = Field(default=1.0, gt=0, description="how often it is drawn, relative to others")


PictureGroup = SharpPictures | PicturePairs


class DeblurrerTraining(Section):
    """One training of a deblurrer, start to exported weights."""

    kind: Literal["deblurrer"]
    name: str = Field(pattern=r"^[a-z0-9_]+$", description="names the weight file and its card")
    data: Path = Field(description="folder of the pictures")
    train: tuple[PictureGroup, ...] = Field(min_length=1)
    validation: tuple[PictureGroup, ...] = Field(min_length=1)
    test: tuple[PictureGroup, ...] = Field(
        default=(), description="pictures of places unseen in training, for the card's numbers"
    )
    attribution: tuple[str, ...] = Field(
        default=(), description="licence and owner of each data set, copied into the model card"
    )
    licence: str = Field(
        default="that of the pictures", description="of the weights, copied into the model card"
    )
    blur: BlurSampling = BlurSampling()
    colour_jitter: float = Field(
        default=0.0, ge=0, le=1, description="spread of gamma, contrast and brightness of crops"
    )
    network: Network
    loss: Loss = Loss()
    start_from: Path | None = Field(
        default=None, description="weights of the same network to continue from"
    )
    encoder_weights: str | None = Field(
        default=None, description="a file of weights for the encoder, or imagenet"
    )
    run: Path = Field(description="folder of checkpoints, curve and exported weights")
    seed: int = 0
    steps: PositiveInt
    batch: PositiveInt = 8
    patch: PositiveInt = Field(default=128, multiple_of=32, description="px")
    learning_rate: float = Field(default=1.5e-3, gt=0)
    betas: tuple[float, float] = Field(default=(0.9, 0.99), description="of AdamW")
    weight_decay: float = Field(default=1e-4, ge=0)
    warmup_steps: NonNegativeInt = Field(default=200, description="of the learning rate, linear")
    schedule: Literal["cosine", "linear"] = Field(
        default="cosine", description="one cosine to zero, or constant and then linear to zero"
    )
    decay_from: float = Field(
        default=0.5, ge=0, lt=1, description="share of the steps that `linear` stays constant"
    )
    ema_decay: float = Field(default=0.999, ge=0, lt=1)
    encoder_frozen_until: float = Field(
        default=0.0, ge=0, le=1, description="share of the steps that the encoder is not trained"
    )
    freeze_norm_from: float = Field(
        default=0.8, ge=0, le=1, description="share of the steps after which statistics are frozen"
    )
    recalibrate: NonNegativeInt = Field(
        default=0, description="batches from which norm statistics are taken anew at the end"
    )
    normalisation: Literal["frozen", "per_image"] = Field(
        default="frozen",
        description="how the trained network is meant to restore, and so is validated and measured",
    )
    device: Literal["cpu", "cuda"] = "cpu"
    bfloat16: bool = Field(default=True, description="mixed precision; fast where AVX-512 has it")
    threads: PositiveInt = 1
    workers: NonNegativeInt = Field(
        default=0, description="processes that make batches; the batches stay the same"
    )
    validate_every: PositiveInt = 500
    checkpoint_every: PositiveInt = 500
    scored_crops: PositiveInt = Field(
        default=16, description="of validation pictures, and half as many of training pictures"
    )

    @model_validator(mode="before")
    @classmethod
    def _older_spelling(cls, values: object) -> object:
        """`epsilon` and `frequency_weight` beside `loss` are still read."""
        if not isinstance(values, dict) or not {"epsilon", "frequency_weight"} & set(values):
            return values
        kept = dict(values)
        loss: dict[str, Any] = dict(kept.get("loss") or {})
        if "frequency_weight" in kept:
            loss["frequency_weight"] = kept.pop("frequency_weight")
        if "epsilon" in kept:
            loss["pixel"] = {"epsilon": kept.pop("epsilon"), **loss.get("pixel", {})}
        return {**kept, "loss": loss}
