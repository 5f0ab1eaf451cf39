"""The DeblurGAN-v2 generator on MobileNetV2, and its depthwise-separable variant.

Paper: Kupyn, Martyniuk, Wu, Wang: DeblurGAN-v2: Deblurring (Orders-of-Magnitude) Faster and
Better, ICCV 2019 (arXiv 1908.03826). Origin of the structure and of the parameter names:
VITA-Group/DeblurGANv2, BSD-2-Clause. Written anew from its description; a published
`fpn_mobilenet.h5` loads strictly (see `models.checkpoints`).

The depthwise-separable variant ("MobileNet-DSC" in the paper) was never published. Ours follows
the paper's idea, every convolution depthwise + pointwise, with widths of our own choice.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.backbones import (
    MOBILENET_V2,
    DepthwiseSeparable,
    InvertedResidual,
    Norm,
    Stage,
    mobilenet_v2,
    norm_layers,
)
from models.restorer import Restorer, RestorerOptions

Variant = Literal["mobilenet", "mobilenet_dsc"]
STRIDE = 32


@dataclass(frozen=True)
class GeneratorOptions(RestorerOptions):
    """What distinguishes one generator from another; stored in each of our weight files.

    `channels` is the width F of the pyramid (published 128); its heads have F/2. `norm` is the
    decoder's, `encoder_norm` the backbone's. `taps` are the numbers of the blocks after which the
    strides 2, 4, 8, 16, 32 are read; the published network reads the last one within a stage.
    """

    variant: Variant = "mobilenet"
    channels: int = 128
    norm: Norm = "instance"
    encoder_norm: Norm = "batch"
    stem: int = 32
    stages: tuple[Stage, ...] = MOBILENET_V2
    taps: tuple[int, int, int, int, int] = (1, 3, 6, 10, 15)


def _conv3x3(options: GeneratorOptions, inputs: int, outputs: int, *, bias: bool) -> nn.Module:
    if options.variant == "mobilenet_dsc":
        return DepthwiseSeparable(inputs, outputs, bias=True)
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias)


def _smoothing(options: GeneratorOptions, inputs: int, outputs: int) -> nn.Sequential:
    conv = _conv3x3(options, inputs, outputs, bias=True)
    return nn.Sequential(conv, *norm_layers(options.norm, outputs), nn.ReLU())


def _upsample(x: Tensor, scale: int) -> Tensor:
    return functional.interpolate(x, scale_factor=scale, mode="nearest")


class Pyramid(nn.Module):
    """The encoder and the top-down path: feature maps at strides 2, 4, 8, 16, 32."""

    def __init__(self, options: GeneratorOptions) -> None:
        super().__init__()
        self.taps = options.taps
        self.features, widths = mobilenet_v2(
            options.stages,
            stem=options.stem,
            norm=options.encoder_norm,
            separable=options.variant == "mobilenet_dsc",
        )
        width, taps = options.channels, [widths[tap] for tap in options.taps]
        self.td1 = _smoothing(options, width, width)
        self.td2 = _smoothing(options, width, width)
        self.td3 = _smoothing(options, width, width)
        self.lateral4 = nn.Conv2d(taps[4], width, 1, bias=False)
        self.lateral3 = nn.Conv2d(taps[3], width, 1, bias=False)
        self.lateral2 = nn.Conv2d(taps[2], width, 1, bias=False)
        self.lateral1 = nn.Conv2d(taps[1], width, 1, bias=False)
        self.lateral0 = nn.Conv2d(taps[0], width // 2, 1, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return the lateral map of stride 2 and the pyramid's maps of strides 4 to 32."""
        levels, start = [], 0
        for tap in self.taps:
            for block in self.features[start : tap + 1]:
                x = block(x)
            levels.append(x)
            start = tap + 1
        map4 = self.lateral4(levels[4])
        map3 = self.td1(self.lateral3(levels[3]) + _upsample(map4, 2))
        map2 = self.td2(self.lateral2(levels[2]) + _upsample(map3, 2))
        map1 = self.td3(self.lateral1(levels[1]) + _upsample(map2, 2))
        return self.lateral0(levels[0]), map1, map2, map3, map4


class Head(nn.Module):
    """Two 3x3 convolutions on one level of the pyramid."""

    def __init__(self, options: GeneratorOptions) -> None:
        super().__init__()
        width = options.channels
        self.block0 = _conv3x3(options, width, width // 2, bias=False)
        self.block1 = _conv3x3(options, width // 2, width // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Transform (n, F, h, w) to (n, F/2, h, w)."""
        return functional.relu(self.block1(functional.relu(self.block0(x))))


class Generator(Restorer):
    """FPN generator: float (n, 3, h, w) in [-1, 1] to restored images of the same shape and range.

    h and w must be multiples of 32. `x -> clamp(tanh(correction(x)) + x, -1, 1)`; it is made with
    random weights that leave the input as it is.
    """

    architecture: ClassVar[str] = "deblurgan_v2"
    options: GeneratorOptions
    stride = STRIDE
    smallest = 64

    def __init__(self, options: GeneratorOptions) -> None:
        super().__init__()
        self.options = options
        half = options.channels // 2
        self.fpn = Pyramid(options)
        self.head1, self.head2 = Head(options), Head(options)
        self.head3, self.head4 = Head(options), Head(options)
        self.smooth = _smoothing(options, 4 * half, half)
        self.smooth2 = _smoothing(options, half, half // 2)
        self.final = _conv3x3(options, half // 2, 3, bias=True)
        self._initialise()

    def correction(self, x: Tensor) -> Tensor:
        """What is added to the image, before tanh."""
        map0, map1, map2, map3, map4 = self.fpn(x)
        heads = (
            _upsample(self.head4(map4), 8),
            _upsample(self.head3(map3), 4),
            _upsample(self.head2(map2), 2),
            self.head1(map1),
        )
        smoothed = self.smooth(torch.cat(heads, dim=1))
        detail = self.smooth2(_upsample(smoothed, 2) + map0)
        return cast(Tensor, self.final(_upsample(detail, 2)))

    def _initialise(self) -> None:
        """He's initialisation; residual branches and the last layer start at 0 (1901.09321)."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                linear = module.groups > 1
                nonlinearity: Literal["linear", "relu"] = "linear" if linear else "relu"
                nn.init.kaiming_normal_(module.weight, nonlinearity=nonlinearity)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, InvertedResidual) and module.shortcut:
                last = [m for m in module.conv if isinstance(m, nn.Conv2d | nn.BatchNorm2d)][-1]
                nn.init.zeros_(cast(nn.Conv2d, last).weight)
        last_layer = self.final
        if isinstance(last_layer, DepthwiseSeparable):
            last_layer = last_layer.pointwise
        nn.init.zeros_(cast(nn.Conv2d, last_layer).weight)
