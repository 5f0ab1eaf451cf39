"""The generator of DeblurGAN, the first version: residual blocks between two scales.

Paper: Kupyn, Budzan, Mykhailych, Mishkin, Matas: DeblurGAN: Blind Motion Deblurring Using
Conditional Adversarial Networks, CVPR 2018 (arXiv 1711.07064); the network is that of Johnson et
al. (arXiv 1603.08155) with instance norm. Origin of the structure and of the parameter names:
KupynOrest/DeblurGAN, after pytorch-CycleGAN-and-pix2pix (BSD). Written anew from its description;
published weights load strictly (see `models.checkpoints`).

Unlike the published code, which leaves dropout on when it restores, dropout acts in training only:
a result here is never random.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, cast

from torch import Tensor, nn

from models.backbones import norm_layers
from models.restorer import Restorer, RestorerOptions


@dataclass(frozen=True)
class ResNetOptions(RestorerOptions):
    """What distinguishes one first-version generator from another.

    `channels` is the width at full resolution. With `dropout` 0 the blocks have no such layer (and
    number their layers without it, as published). `running_statistics`: whether instance norm
    keeps averages of its statistics; without them the network only runs `per_image`.
    """

    channels: int = 64
    blocks: int = 9
    dropout: float = 0.5
    norm: Literal["instance", "batch"] = "instance"
    running_statistics: bool = True
    start_as_identity: bool = False


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    def __init__(self, options: ResNetOptions, channels: int) -> None:
        super().__init__()
        bias = options.norm == "instance"
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=bias),
            *_norm(options, channels),
            nn.ReLU(),
            *([nn.Dropout(options.dropout)] if options.dropout else []),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=bias),
            *_norm(options, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Transform (n, c, h, w)."""
        return x + cast(Tensor, self.conv_block(x))


class ResNetGenerator(Restorer):
    """DeblurGAN's generator: two strided and two transposed convolutions around residual blocks.

    With nine blocks an input pixel reaches outputs at most 84 px away.
    """

    architecture: ClassVar[str] = "deblurgan_v1"
    options: ResNetOptions
    stride = 4
    smallest = 16

    def __init__(self, options: ResNetOptions) -> None:
        super().__init__()
        self.options = options
        width, bias = options.channels, options.norm == "instance"
        self.model = nn.Sequential(
            nn.ReflectionPad2d(3),
            nn.Conv2d(3, width, 7, bias=bias),
            *_norm(options, width),
            nn.ReLU(),
            *_strided(options, width),
            *_strided(options, 2 * width),
            *(ResidualBlock(options, 4 * width) for _ in range(options.blocks)),
            *_transposed(options, 4 * width),
            *_transposed(options, 2 * width),
            nn.ReflectionPad2d(3),
            nn.Conv2d(width, 3, 7),
        )
        self._initialise()

    def correction(self, x: Tensor) -> Tensor:
        """What is added to the image, before tanh."""
        return cast(Tensor, self.model(x))

    def _initialise(self) -> None:
        """As published: weights from N(0, 0.02), scales of batch norm from N(1, 0.02)."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(module.weight, 0.0, 0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1.0, 0.02)
        if self.options.start_as_identity:
            nn.init.zeros_(cast(nn.Conv2d, self.model[-1]).weight)


def _norm(options: ResNetOptions, channels: int) -> list[nn.Module]:
    return norm_layers(options.norm, channels, tracked=options.running_statistics)


def _strided(options: ResNetOptions, inputs: int) -> list[nn.Module]:
    bias = options.norm == "instance"
    conv = nn.Conv2d(inputs, 2 * inputs, 3, stride=2, padding=1, bias=bias)
    return [conv, *_norm(options, 2 * inputs), nn.ReLU()]


def _transposed(options: ResNetOptions, inputs: int) -> list[nn.Module]:
    bias = options.norm == "instance"
    conv = nn.ConvTranspose2d(
        inputs, inputs // 2, 3, stride=2, padding=1, output_padding=1, bias=bias
    )
    return [conv, *_norm(options, inputs // 2), nn.ReLU()]
