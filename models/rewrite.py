"""The FPN generator with fewer multiplications: the same function, up to rounding.

Nearest upsampling repeats pixels, so a 3x3 convolution after it meets only 2 x 2 different values:
the taps that meet the same one are added up beforehand. What a lateral 1x1 convolution adds goes
through the 3x3 convolution as well, and both become one. Of the products of FPN-MobileNet a quarter
goes away, and so do its widest maps.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.backbones import DepthwiseSeparable
from models.deblurgan_v2 import Generator, Pyramid
from models.restorer import Restorer

_TAPS = ((0, 0, 1), (0, 1, 1))
"""Which of two values each of three taps meets: in the first pixel of a pair, and in the second."""


def rewrite(network: Restorer) -> Restorer:
    """Return a faster equal of a network for inference; it shares parameters with the original.

    Networks without upsampling that could be saved come back as they are.
    """
    return _Rewritten(network) if isinstance(network, Generator) else network


class UpsampledConv(nn.Module):
    """A 3x3 convolution, padded with zeros, of a map that is upsampled by 2 (nearest).

    Computed at the corners where four pixels of the small map meet: around each lie four pixels of
    the large map that depend on these alone.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        outputs, inputs = weight.shape[:2]
        summed = torch.zeros((outputs, 2, 2, inputs, 2, 2), dtype=torch.float64)
        for row, rows in enumerate(_TAPS):
            for column, columns in enumerate(_TAPS):
                for y, below in enumerate(rows):
                    for x, right in enumerate(columns):
                        summed[:, row, column, :, below, right] += weight[:, :, y, x].double()
        self.corners = nn.Conv2d(inputs, 4 * outputs, 2, padding=1, bias=bias is not None)
        self.corners.weight.data = summed.reshape(4 * outputs, inputs, 2, 2).to(weight.dtype)
        if bias is not None:
            self.corners.bias.data = bias.detach().repeat_interleave(4)  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        """Transform (n, c, h, w) to (n, outputs, 2h, 2w)."""
        return functional.pixel_shuffle(self.corners(x), 2)[:, :, 1:-1, 1:-1]


class _Merged(nn.Module):
    """A convolution of the sum of a lateral map and an upsampled one, with its norm and ReLU."""

    def __init__(self, smoothing: nn.Sequential, lateral: nn.Conv2d) -> None:
        super().__init__()
        conv = cast(nn.Conv2d, smoothing[0])
        weight = conv.weight.detach()
        self.upsampled = UpsampledConv(weight, conv.bias)
        self.side = nn.Conv2d(lateral.in_channels, len(weight), 3, padding=1, bias=False)
        joined = torch.einsum("omyx,mi->oiyx", weight.double(), lateral.weight[:, :, 0, 0].double())
        self.side.weight.data = joined.to(weight.dtype)
        self.rest = smoothing[1:]

    def forward(self, level: Tensor, small: Tensor) -> Tensor:
        """Take the encoder's map (n, c, 2h, 2w) and the pyramid's (n, F, h, w)."""
        return cast(Tensor, self.rest(self.upsampled(small) + self.side(level)))


class _Added(nn.Module):
    """What `_Merged` does, in the order of the original."""

    def __init__(
        self, smoothing: nn.Sequential, lateral: nn.Conv2d, padding: Sequence[int]
    ) -> None:
        super().__init__()
        self.smoothing, self.lateral, self.padding = smoothing, lateral, tuple(padding)

    def forward(self, level: Tensor, small: Tensor) -> Tensor:
        """Take the encoder's map (n, c, 2h, 2w) and the pyramid's (n, F, h, w)."""
        side = self.lateral(level)
        if any(self.padding):
            side = functional.pad(side, self.padding, mode="reflect")
        return cast(Tensor, self.smoothing(side + _upsample(small, 2)))


class _Smooth(nn.Module):
    """The convolution of all heads; the three coarser ones meet at half its resolution."""

    def __init__(self, smoothing: nn.Sequential) -> None:
        super().__init__()
        conv = cast(nn.Conv2d, smoothing[0])
        weight = conv.weight.detach()
        finest = weight.shape[1] * 3 // 4
        self.upsampled = UpsampledConv(weight[:, :finest], conv.bias)
        self.side = nn.Conv2d(weight.shape[1] - finest, len(weight), 3, padding=1, bias=False)
        self.side.weight.data = weight[:, finest:].contiguous()
        self.rest = smoothing[1:]

    def forward(self, head4: Tensor, head3: Tensor, head2: Tensor, head1: Tensor) -> Tensor:
        """Take the heads at strides 32, 16, 8 and 4."""
        coarse = torch.cat((_upsample(head4, 4), _upsample(head3, 2), head2), dim=1)
        return cast(Tensor, self.rest(self.upsampled(coarse) + self.side(head1)))


class _Concatenated(nn.Module):
    """What `_Smooth` does, in the order of the original."""

    def __init__(self, smoothing: nn.Sequential) -> None:
        super().__init__()
        self.smoothing = smoothing

    def forward(self, head4: Tensor, head3: Tensor, head2: Tensor, head1: Tensor) -> Tensor:
        """Take the heads at strides 32, 16, 8 and 4."""
        heads = (_upsample(head4, 8), _upsample(head3, 4), _upsample(head2, 2), head1)
        return cast(Tensor, self.smoothing(torch.cat(heads, dim=1)))


class _Rewritten(Restorer):
    """`Generator`, computed with fewer products."""

    architecture = Generator.architecture

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.options, self.stride = generator.options, generator.stride
        self.smallest, self.local = generator.smallest, generator.local
        pyramid = generator.fpn
        self.fpn = pyramid
        self.td1 = _top_down(pyramid, pyramid.td1, 3)
        self.td2 = _top_down(pyramid, pyramid.td2, 2)
        self.td3 = _top_down(pyramid, pyramid.td3, 1)
        self.head1, self.head2 = generator.head1, generator.head2
        self.head3, self.head4 = generator.head3, generator.head4
        dense = isinstance(generator.smooth[0], nn.Conv2d)
        self.smooth = (_Smooth if dense else _Concatenated)(generator.smooth)
        self.smooth2 = _top_down(pyramid, generator.smooth2, 0)
        self.final = UpsampledConv(*_dense(generator.final))
        self.train(generator.training)

    def correction(self, x: Tensor) -> Tensor:
        """What is added to the image, before tanh."""
        levels = self.fpn.levels(x)
        map4 = self.fpn.lateral4(levels[4])
        if any(self.fpn.paddings[4]):
            map4 = functional.pad(map4, self.fpn.paddings[4], mode="reflect")
        map3 = self.td1(levels[3], map4)
        map2 = self.td2(levels[2], map3)
        map1 = self.td3(levels[1], map2)
        smoothed = self.smooth(
            self.head4(map4), self.head3(map3), self.head2(map2), self.head1(map1)
        )
        return cast(Tensor, self.final(self.smooth2(levels[0], smoothed)))


def _top_down(pyramid: Pyramid, smoothing: nn.Sequential, level: int) -> nn.Module:
    """Return one step down the pyramid, merged where that saves products."""
    lateral = cast(nn.Conv2d, getattr(pyramid, f"lateral{level}"))
    padding = pyramid.paddings[level]
    # 4 F + 9 E products of an output value instead of 9 F + E, of E channels of the encoder.
    saves = 8 * lateral.in_channels < 5 * lateral.out_channels
    if isinstance(smoothing[0], nn.Conv2d) and saves and not any(padding):
        return _Merged(smoothing, lateral)
    return _Added(smoothing, lateral, padding)


def _dense(conv: nn.Module) -> tuple[Tensor, Tensor | None]:
    """Return weight and bias of a 3x3 convolution; of a separable one as if it were none.

    For the last layer's three outputs one dense convolution costs no more than two.
    """
    if isinstance(conv, DepthwiseSeparable):
        deep, point = conv.depthwise.weight[:, 0].double(), conv.pointwise.weight[:, :, 0, 0]
        joined = torch.einsum("oi,iyx->oiyx", point.double(), deep).to(point.dtype)
        return joined, conv.pointwise.bias
    last = cast(nn.Conv2d, conv)
    return last.weight, last.bias


def _upsample(x: Tensor, scale: int) -> Tensor:
    return functional.interpolate(x, scale_factor=scale, mode="nearest")
