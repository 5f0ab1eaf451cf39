"""The DeblurGAN-v2 generator: one feature pyramid, several encoders.

Paper: Kupyn, Martyniuk, Wu, Wang: DeblurGAN-v2: Deblurring (Orders-of-Magnitude) Faster and
Better, ICCV 2019 (arXiv 1908.03826). Origin of the structure and of the parameter names:
VITA-Group/DeblurGANv2, BSD-2-Clause. Written anew from its description; published
`fpn_mobilenet.h5` and `fpn_inception.h5` load strictly (see `models.checkpoints`).

`mobilenet`: MobileNetV2 (arXiv 1801.04381). `inception`: Inception-ResNet-v2 (arXiv 1602.07261) of
timm. `se_resnext`: SE-ResNeXt-50 32x4d (arXiv 1709.01507) and `efficientnet_lite0` (arXiv
1905.11946 without squeeze-and-excitation), both of timm (Apache-2.0): encoders that the paper and
its code only try in other decoders, so no published weights exist.

`mobilenet_dsc`, the depthwise-separable variant ("MobileNet-DSC" in the paper), was never published
either. Ours follows the paper's idea, every convolution depthwise + pointwise, with widths of our
own choice.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.backbones import (
    MOBILENET_V2,
    DepthwiseSeparable,
    InvertedResidual,
    Norm,
    Stage,
    adopt_norms,
    mobilenet_v2,
    norm_layers,
)
from models.restorer import Restorer, RestorerOptions

Variant = Literal["mobilenet", "mobilenet_dsc", "inception", "se_resnext", "efficientnet_lite0"]
STRIDE = 32
_MOBILENETS = ("mobilenet", "mobilenet_dsc")
_OF_MOBILENETS: tuple[str, ...] = ("encoder_norm", "stem", "stages", "taps")
_DEPTHS: dict[str, tuple[int, ...]] = {"inception": (10, 20, 9), "se_resnext": (3, 4, 6, 3)}
_TIMM_NAMES = {"se_resnext": "seresnext50_32x4d", "efficientnet_lite0": "efficientnet_lite0"}


@dataclass(frozen=True)
class GeneratorOptions(RestorerOptions):
    """What distinguishes one generator from another; stored in each of our weight files.

    `channels` is the width F of the pyramid (published 128, Inception 256); its heads have F/2.
    `norm` is the decoder's, `encoder_norm` that of a MobileNet (other encoders have batch norm).

    Of MobileNets: `stem`, `stages`, and `taps`, the numbers of the blocks after which the strides
    2, 4, 8, 16, 32 are read; the published network reads the last one within a stage. Of other
    encoders: `depths`, the blocks of each stage; left empty they are the published ones.
    """

    variant: Variant = "mobilenet"
    channels: int = 128
    norm: Norm = "instance"
    encoder_norm: Norm = "batch"
    stem: int = 32
    stages: tuple[Stage, ...] = MOBILENET_V2
    taps: tuple[int, int, int, int, int] = (1, 3, 6, 10, 15)
    depths: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        published = _DEPTHS.get(self.variant, ())
        if len(self.depths) not in (0, len(published)):
            raise ValueError(f"{self.variant} takes {len(published)} depths, got {self.depths}")
        object.__setattr__(self, "depths", self.depths or published)
        strides = [2]
        for _, _, repeats, stride in self.stages:
            strides += [strides[-1] * stride] * repeats
        tapped = tuple(strides[tap] for tap in self.taps if 0 <= tap < len(strides))
        if tapped != (2, 4, 8, 16, 32):
            raise ValueError(
                f"taps must be blocks 0 to {len(strides) - 1} at strides 2, 4, 8, 16, 32, got "
                f"{self.taps} at {tapped}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, of this variant only; `from_dict` reads them back."""
        values = asdict(self)
        others: tuple[str, ...] = () if self.variant in _MOBILENETS else _OF_MOBILENETS
        if not self.depths:
            others += ("depths",)
        return {name: value for name, value in values.items() if name not in others}


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
    """The top-down path on an encoder's feature maps at strides 2, 4, 8, 16, 32.

    `widths` are the channels of these maps. `paddings`, where an encoder trims its maps, complete
    them to the exact fraction of the image: (left, right, top, bottom), mirrored.
    """

    paddings: tuple[tuple[int, int, int, int], ...] = ((0, 0, 0, 0),) * 5

    def __init__(self, options: GeneratorOptions, widths: Sequence[int]) -> None:
        super().__init__()
        width = options.channels
        self.td1 = _smoothing(options, width, width)
        self.td2 = _smoothing(options, width, width)
        self.td3 = _smoothing(options, width, width)
        self.lateral4 = nn.Conv2d(widths[4], width, 1, bias=False)
        self.lateral3 = nn.Conv2d(widths[3], width, 1, bias=False)
        self.lateral2 = nn.Conv2d(widths[2], width, 1, bias=False)
        self.lateral1 = nn.Conv2d(widths[1], width, 1, bias=False)
        self.lateral0 = nn.Conv2d(widths[0], width // 2, 1, bias=False)

    def levels(self, x: Tensor) -> list[Tensor]:
        """The encoder's maps, finest first."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return the lateral map of stride 2 and the pyramid's maps of strides 4 to 32."""
        laterals = (self.lateral0, self.lateral1, self.lateral2, self.lateral3, self.lateral4)
        lateral = [
            functional.pad(conv(level), padding, mode="reflect") if any(padding) else conv(level)
            for conv, level, padding in zip(laterals, self.levels(x), self.paddings, strict=True)
        ]
        map3 = self.td1(lateral[3] + _upsample(lateral[4], 2))
        map2 = self.td2(lateral[2] + _upsample(map3, 2))
        map1 = self.td3(lateral[1] + _upsample(map2, 2))
        return lateral[0], map1, map2, map3, lateral[4]


class MobileNetPyramid(Pyramid):
    """On MobileNetV2, plain or separable; parameters under `features`."""

    def __init__(self, options: GeneratorOptions) -> None:
        features, widths = mobilenet_v2(
            options.stages,
            stem=options.stem,
            norm=options.encoder_norm,
            separable=options.variant == "mobilenet_dsc",
        )
        super().__init__(options, [widths[tap] for tap in options.taps])
        self.taps = options.taps
        self.features = features

    def levels(self, x: Tensor) -> list[Tensor]:
        """The maps behind the taps."""
        levels, start = [], 0
        for tap in self.taps:
            for block in self.features[start : tap + 1]:
                x = block(x)
            levels.append(x)
            start = tap + 1
        return levels


class InceptionPyramid(Pyramid):
    """On Inception-ResNet-v2; parameters under `inception`, named as published.

    Its unpadded convolutions trim the maps. Completing them shifts the levels against each other
    by up to half a pixel of theirs; that is part of the trained function. As published, the layers
    behind stride 32 (`repeat_2` to `last_linear`) are kept and never used.
    """

    paddings = ((0, 1, 0, 1), (1, 1, 1, 1), (1, 2, 1, 2), (1, 1, 1, 1), (1, 1, 1, 1))

    def __init__(self, options: GeneratorOptions) -> None:
        import timm  # Takes seconds, and only these encoders need it.

        super().__init__(options, (32, 64, 192, 1088, 2080))
        encoder = timm.create_model("inception_resnet_v2", pretrained=False)
        for name, depth in zip(("repeat", "repeat_1", "repeat_2"), options.depths, strict=False):
            setattr(encoder, name, getattr(encoder, name)[:depth])
        encoder.last_linear = encoder.classif
        del encoder.classif
        adopt_norms(encoder)
        self.inception = encoder

    def levels(self, x: Tensor) -> list[Tensor]:
        """The maps that the published code taps."""
        encoder = self.inception
        level0 = encoder.conv2d_1a(x)
        level1 = encoder.maxpool_3a(encoder.conv2d_2b(encoder.conv2d_2a(level0)))
        level2 = encoder.maxpool_5a(encoder.conv2d_4a(encoder.conv2d_3b(level1)))
        level3 = encoder.mixed_6a(encoder.repeat(encoder.mixed_5b(level2)))
        level4 = encoder.mixed_7a(encoder.repeat_1(level3))
        return [level0, level1, level2, level3, level4]


class TimmPyramid(Pyramid):
    """On another encoder of timm; parameters under `encoder`, named as in timm."""

    def __init__(self, options: GeneratorOptions) -> None:
        import timm  # Takes seconds, and only these encoders need it.

        changes = {"layers": options.depths} if options.depths else {}
        encoder = timm.create_model(
            _TIMM_NAMES[options.variant], pretrained=False, features_only=True, **changes
        )
        super().__init__(options, encoder.feature_info.channels())
        adopt_norms(encoder)
        self.encoder = encoder

    def levels(self, x: Tensor) -> list[Tensor]:
        """The maps at the ends of the strides."""
        return cast(list[Tensor], self.encoder(x))


def _pyramid(options: GeneratorOptions) -> Pyramid:
    if options.variant in _MOBILENETS:
        return MobileNetPyramid(options)
    return InceptionPyramid(options) if options.variant == "inception" else TimmPyramid(options)


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

    h and w must be multiples of 32. It is made with random weights that leave the input as it is.
    An input pixel reaches outputs at most 283 px away with the published MobileNetV2, 1296 px with
    Inception-ResNet-v2, 527 px with EfficientNet-lite0, and all outputs with SE-ResNeXt.
    """

    architecture: ClassVar[str] = "deblurgan_v2"
    options: GeneratorOptions
    stride = STRIDE

    def __init__(self, options: GeneratorOptions) -> None:
        super().__init__()
        self.options = options
        self.local = options.variant != "se_resnext"
        self.smallest = 128 if options.variant == "inception" else 64
        half = options.channels // 2
        self.fpn = _pyramid(options)
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
