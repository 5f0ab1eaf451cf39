"""The DeblurGAN-v2 generator on MobileNetV2, and its depthwise-separable variant.

Paper: Kupyn, Martyniuk, Wu, Wang: DeblurGAN-v2: Deblurring (Orders-of-Magnitude) Faster and
Better, ICCV 2019 (arXiv 1908.03826). Origin of the structure and of the parameter names:
VITA-Group/DeblurGANv2, BSD-2-Clause. Written anew from its description; a published
`fpn_mobilenet.h5` loads strictly (see `models.checkpoints`).

The depthwise-separable variant ("MobileNet-DSC" in the paper) was never published. Ours follows
the paper's idea, every convolution depthwise + pointwise, with widths of our own choice.
"""

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

Variant = Literal["mobilenet", "mobilenet_dsc"]
Norm = Literal["instance", "batch", "none"]
Normalisation = Literal["frozen", "per_image"]

# (expansion, channels, repeats, stride) of the stages behind the stem: MobileNetV2, table 2 of
# arXiv 1801.04381.
Stage = tuple[int, int, int, int]
MOBILENET_V2: tuple[Stage, ...] = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
STRIDE = 32


@dataclass(frozen=True)
class GeneratorOptions:
    """What distinguishes one generator from another; stored in each of our weight files.

    `channels` is the width F of the pyramid (published 128); its heads have F/2. `norm` is the
    decoder's, `encoder_norm` the backbone's. `taps` are the numbers of stages after which the
    strides 2, 4, 8, 16, 32 are read; the published network reads the last within a stage, after
    block 15 of `features`.
    """

    variant: Variant = "mobilenet"
    channels: int = 128
    norm: Norm = "instance"
    encoder_norm: Norm = "batch"
    stem: int = 32
    stages: tuple[Stage, ...] = MOBILENET_V2
    taps: tuple[int, int, int, int, int] = (1, 3, 6, 10, 15)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "GeneratorOptions":
        """Options as read from JSON, where tuples are lists; unknown names are an error."""
        unknown = sorted(set(values) - {field.name for field in fields(cls)})
        if unknown:
            raise ValueError(f"unknown generator options {unknown}")
        read = dict(values)
        if "stages" in read:
            read["stages"] = tuple(tuple(stage) for stage in read["stages"])
        if "taps" in read:
            read["taps"] = tuple(read["taps"])
        return cls(**read)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `from_dict` reads them back."""
        return asdict(self)


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation that at inference uses its running statistics, or each image's own."""

    per_image = False

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (n, c, h, w)."""
        if self.per_image and not self.training:
            return functional.instance_norm(input, weight=self.weight, bias=self.bias, eps=self.eps)
        return super().forward(input)


class InstanceNorm(nn.InstanceNorm2d):
    """Instance normalisation as published: no affine part, but running statistics."""

    per_image = False

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=False, track_running_stats=True)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (n, c, h, w)."""
        if self.per_image and not self.training:
            return functional.instance_norm(input, eps=self.eps)
        return super().forward(input)


def set_normalisation(network: nn.Module, mode: Normalisation) -> None:
    """Choose where all norm layers take their statistics from at inference.

    `frozen`: the running statistics in the weights. `per_image`: the image being restored, as the
    published code does by running in training mode, but image by image, so that a result does not
    depend on batch mates.
    """
    for module in network.modules():
        if isinstance(module, BatchNorm | InstanceNorm):
            module.per_image = mode == "per_image"


def _norm(kind: Norm, channels: int) -> list[nn.Module]:
    if kind == "batch":
        return [BatchNorm(channels)]
    return [InstanceNorm(channels)] if kind == "instance" else []


class Depthwise(nn.Conv2d):
    """A depthwise 3x3 convolution.

    In training a strided one stays in float32: oneDNN's bfloat16 gradient of it is slower by an
    order of magnitude (measured with AVX-512).
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int, bias: bool) -> None:
        super().__init__(inputs, outputs, 3, stride=stride, padding=1, groups=inputs, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve (n, c, h, w)."""
        if self.stride[0] == 1 or not self.training:
            return super().forward(input)
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input.float()).to(input.dtype)


class DepthwiseSeparable(nn.Module):
    """A 3x3 convolution split into a depthwise and a pointwise one."""

    def __init__(
        self, inputs: int, outputs: int, *, stride: int = 1, multiplier: int = 1, bias: bool = True
    ) -> None:
        super().__init__()
        hidden = inputs * multiplier
        self.depthwise = Depthwise(inputs, hidden, stride=stride, bias=False)
        self.pointwise = nn.Conv2d(hidden, outputs, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (n, c, h, w)."""
        return cast(Tensor, self.pointwise(self.depthwise(x)))


class InvertedResidual(nn.Module):
    """MobileNetV2's block: expand, depthwise 3x3, project; a shortcut where the shapes allow it."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        stride: int,
        expansion: int,
        norm: Norm,
        activation: type[nn.Module],
    ) -> None:
        super().__init__()
        hidden, bias = inputs * expansion, norm == "none"
        expand: list[nn.Module] = []
        if expansion != 1:
            expand = [
                nn.Conv2d(inputs, hidden, 1, bias=bias),
                *_norm(norm, hidden),
                activation(),
            ]
        self.conv = nn.Sequential(
            *expand,
            Depthwise(hidden, hidden, stride=stride, bias=bias),
            *_norm(norm, hidden),
            activation(),
            nn.Conv2d(hidden, outputs, 1, bias=bias),
            *_norm(norm, outputs),
        )
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Transform (n, c, h, w)."""
        y = cast(Tensor, self.conv(x))
        return x + y if self.shortcut else y


def _encoder(options: GeneratorOptions) -> nn.Sequential:
    """The blocks of the backbone, numbered as published: 0 is the stem."""
    separable = options.variant == "mobilenet_dsc"
    activation: type[nn.Module] = nn.ReLU if options.encoder_norm == "none" else nn.ReLU6
    norm, bias = options.encoder_norm, options.encoder_norm == "none"
    # A depthwise stem of one filter per colour would keep 3 of the 12 values under each output
    # pixel: eight keep them all.
    stem: nn.Module = (
        DepthwiseSeparable(3, options.stem, stride=2, multiplier=8, bias=bias)
        if separable
        else nn.Conv2d(3, options.stem, 3, stride=2, padding=1, bias=bias)
    )
    blocks: list[nn.Module] = [nn.Sequential(stem, *_norm(norm, options.stem), activation())]
    width = options.stem
    for expansion, channels, repeats, stride in options.stages:
        for repeat in range(repeats):
            block = InvertedResidual(
                width,
                channels,
                stride=stride if repeat == 0 else 1,
                expansion=expansion,
                norm=norm,
                activation=activation,
            )
            blocks.append(block)
            width = channels
    if not separable:
        last = nn.Conv2d(width, 1280, 1, bias=bias)
        blocks.append(nn.Sequential(last, *_norm(norm, 1280), activation()))
    return nn.Sequential(*blocks)


def _block_widths(options: GeneratorOptions) -> list[int]:
    widths = [options.stem]
    for _, channels, repeats, _ in options.stages:
        widths += [channels] * repeats
    return widths


def _conv3x3(options: GeneratorOptions, inputs: int, outputs: int, *, bias: bool) -> nn.Module:
    if options.variant == "mobilenet_dsc":
        return DepthwiseSeparable(inputs, outputs, bias=True)
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias)


def _smoothing(options: GeneratorOptions, inputs: int, outputs: int) -> nn.Sequential:
    conv = _conv3x3(options, inputs, outputs, bias=True)
    return nn.Sequential(conv, *_norm(options.norm, outputs), nn.ReLU())


def _upsample(x: Tensor, scale: int) -> Tensor:
    return functional.interpolate(x, scale_factor=scale, mode="nearest")


class Pyramid(nn.Module):
    """The encoder and the top-down path: feature maps at strides 2, 4, 8, 16, 32."""

    def __init__(self, options: GeneratorOptions) -> None:
        super().__init__()
        self.taps = options.taps
        self.features = _encoder(options)
        width, widths = options.channels, _block_widths(options)
        taps = [widths[tap] for tap in options.taps]
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


class Generator(nn.Module):
    """FPN generator: float (n, 3, h, w) in [-1, 1] to restored images of the same shape and range.

    h and w must be multiples of 32. `x -> clamp(tanh(correction(x)) + x, -1, 1)`; it is made with
    random weights that leave the input as it is.
    """

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

    def forward(self, x: Tensor) -> Tensor:
        """Restore images."""
        correction = torch.tanh(self.correction(x).float())
        return torch.clamp(correction + x.float(), -1.0, 1.0)

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


def parameter_count(network: nn.Module) -> int:
    """The number of learned values (buffers not counted)."""
    return sum(parameter.numel() for parameter in network.parameters())
