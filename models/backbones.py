"""Norm layers of all networks, and MobileNetV2 as DeblurGAN-v2 uses it, plain or separable.

Paper: Sandler et al.: MobileNetV2, CVPR 2018 (arXiv 1801.04381). Blocks and layers are numbered as
in the published weights of DeblurGAN-v2.
"""

from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

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


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation that at inference uses its running statistics, or each image's own."""

    per_image = False

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (n, c, h, w)."""
        if self.per_image and not self.training:
            return functional.instance_norm(input, weight=self.weight, bias=self.bias, eps=self.eps)
        return super().forward(input)


class BatchNormAct(BatchNorm):
    """Batch normalisation followed by its activation, as timm joins them."""

    def __init__(self, channels: int, *, eps: float, activation: nn.Module) -> None:
        super().__init__(channels, eps=eps)
        self.act = activation

    def forward(self, input: Tensor) -> Tensor:
        """Normalise and activate (n, c, h, w)."""
        return cast(Tensor, self.act(super().forward(input)))


class InstanceNorm(nn.InstanceNorm2d):
    """Instance normalisation as published: no affine part, but (`tracked`) running statistics."""

    per_image = False

    def __init__(self, channels: int, *, tracked: bool = True) -> None:
        super().__init__(channels, affine=False, track_running_stats=tracked)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (n, c, h, w)."""
        if self.per_image and not self.training:
            return functional.instance_norm(input, eps=self.eps)
        return super().forward(input)


def set_normalisation(network: nn.Module, mode: Normalisation) -> None:
    """Choose where all norm layers take their statistics from at inference.

    `frozen`: the running statistics in the weights. `per_image`: the image being restored, as the
    published code does by running in training mode, but image by image, so that a result does not
    depend on batch mates. Weights without running statistics cannot be `frozen`: a ValueError.
    """
    for module in network.modules():
        if isinstance(module, BatchNorm | InstanceNorm):
            if mode == "frozen" and module.running_mean is None:
                raise ValueError(
                    "these weights carry no running statistics: normalisation must be 'per_image', "
                    "got 'frozen'"
                )
            module.per_image = mode == "per_image"


def describe_norms(network: nn.Module) -> str:
    """The kinds of norm layers in words, and the modes that their statistics allow."""
    norms = [m for m in network.modules() if isinstance(m, BatchNorm | InstanceNorm)]
    if not norms:
        return "no norm layers"
    batch = sum(isinstance(norm, BatchNorm) for norm in norms)
    counts = {"batch": batch, "instance": len(norms) - batch}
    kinds = " and ".join(f"{count} {kind} norms" for kind, count in counts.items() if count)
    if any(norm.running_mean is None for norm in norms):
        return f"{kinds} without running statistics: per_image only"
    return f"{kinds} with running statistics: frozen or per_image"


def norm_layers(kind: Norm, channels: int, *, tracked: bool = True) -> list[nn.Module]:
    """The norm layer of a kind, or none, ready to be spliced into a Sequential.

    `tracked`: whether instance norm has running statistics; batch norm always has.
    """
    if kind == "batch":
        return [BatchNorm(channels)]
    return [InstanceNorm(channels, tracked=tracked)] if kind == "instance" else []


def adopt_norms(encoder: nn.Module) -> None:
    """Replace the batch norms of a timm network by ours, in place; names and values stay."""
    for parent in list(encoder.modules()):
        for name, norm in list(parent.named_children()):
            if isinstance(norm, nn.BatchNorm2d):
                activation = getattr(norm, "act", nn.Identity())
                ours = BatchNormAct(norm.num_features, eps=norm.eps, activation=activation)
                ours.weight, ours.bias = norm.weight, norm.bias
                setattr(parent, name, ours)


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
                *norm_layers(norm, hidden),
                activation(),
            ]
        self.conv = nn.Sequential(
            *expand,
            Depthwise(hidden, hidden, stride=stride, bias=bias),
            *norm_layers(norm, hidden),
            activation(),
            nn.Conv2d(hidden, outputs, 1, bias=bias),
            *norm_layers(norm, outputs),
        )
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Transform (n, c, h, w)."""
        y = cast(Tensor, self.conv(x))
        return x + y if self.shortcut else y


def mobilenet_v2(
    stages: tuple[Stage, ...], *, stem: int, norm: Norm, separable: bool
) -> tuple[nn.Sequential, list[int]]:
    """The blocks of the backbone, numbered as published (0 is the stem), and their widths.

    The separable variant has a depthwise stem and lacks the last 1x1 convolution, which
    DeblurGAN-v2 keeps in its files but never uses.
    """
    activation: type[nn.Module] = nn.ReLU if norm == "none" else nn.ReLU6
    bias = norm == "none"
    # A depthwise stem of one filter per colour would keep 3 of the 12 values under each output
    # pixel: eight keep them all.
    first: nn.Module = (
        DepthwiseSeparable(3, stem, stride=2, multiplier=8, bias=bias)
        if separable
        else nn.Conv2d(3, stem, 3, stride=2, padding=1, bias=bias)
    )
    blocks: list[nn.Module] = [nn.Sequential(first, *norm_layers(norm, stem), activation())]
    widths = [stem]
    for expansion, channels, repeats, stage_stride in stages:
        for repeat in range(repeats):
            block = InvertedResidual(
                widths[-1],
                channels,
                stride=stage_stride if repeat == 0 else 1,
                expansion=expansion,
                norm=norm,
                activation=activation,
            )
            blocks.append(block)
            widths.append(channels)
    if not separable:
        last = nn.Conv2d(widths[-1], 1280, 1, bias=bias)
        blocks.append(nn.Sequential(last, *norm_layers(norm, 1280), activation()))
    return nn.Sequential(*blocks), widths
