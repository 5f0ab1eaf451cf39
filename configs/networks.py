"""The networks that can be trained, told apart by `variant`; see `models.networks`."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

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


Network = MobileNetNetwork
