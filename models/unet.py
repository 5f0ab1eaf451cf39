"""A compact residual U-Net without norm layers: today's kind of restorer, to compare with.

After the simplifications of NAFNet (Chen et al.: Simple Baselines for Image Restoration, ECCV 2022,
arXiv 2204.04676) to the U-Net (Ronneberger et al., arXiv 1505.04597): a pixel-unshuffled input,
plain residual blocks, a correction added to the input. NAFNet's layer norm and its global pooling
are left out, so that every output depends on a finite neighbourhood only and tiles agree exactly.
Our own composition; no published weights exist.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, cast

from torch import Tensor, nn
from torch.nn import functional

from models.restorer import Restorer, RestorerOptions


@dataclass(frozen=True)
class UNetOptions(RestorerOptions):
    """Widths at strides 2, 4, 8, ..., and residual blocks at these strides down and up again."""

    widths: tuple[int, ...] = (24, 40, 64)
    blocks: tuple[int, ...] = (1, 2, 4, 2, 1)

    def __post_init__(self) -> None:
        if len(self.blocks) != 2 * len(self.widths) - 1:
            raise ValueError(
                f"a U-Net of {len(self.widths)} widths wants {2 * len(self.widths) - 1} numbers "
                f"of blocks, got {self.blocks}"
            )


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with one slope per channel between, around a shortcut.

    It starts as the identity (Fixup, arXiv 1901.09321), which takes the place of a norm layer.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.act = nn.PReLU(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(cast(Tensor, self.conv2.bias))

    def forward(self, x: Tensor) -> Tensor:
        """Transform (n, c, h, w)."""
        return x + cast(Tensor, self.conv2(self.act(self.conv1(x))))


class UNet(Restorer):
    """Residual U-Net; a new one leaves its input as it is.

    By default 0.47 M parameters and 19.1 kMAC/px; an input pixel reaches outputs at most 115 px
    away.
    """

    architecture: ClassVar[str] = "unet"
    options: UNetOptions

    def __init__(self, options: UNetOptions) -> None:
        super().__init__()
        self.options = options
        widths, blocks = options.widths, options.blocks
        levels = len(widths)
        self.stride = 2**levels
        self.smallest = 2 * self.stride
        steps = list(pairwise(widths))
        self.stem = nn.Conv2d(12, widths[0], 3, padding=1)
        self.encoder = nn.ModuleList(_blocks(w, n) for w, n in zip(widths, blocks, strict=False))
        self.down = nn.ModuleList(nn.Conv2d(w, wider, 2, stride=2) for w, wider in steps)
        self.up = nn.ModuleList(nn.Conv2d(wider, 4 * w, 1) for w, wider in steps[::-1])
        self.decoder = nn.ModuleList(
            _blocks(w, n) for w, n in zip(widths[-2::-1], blocks[levels:], strict=True)
        )
        self.final = nn.Conv2d(widths[0], 12, 3, padding=1)
        nn.init.zeros_(self.final.weight)
        nn.init.zeros_(cast(Tensor, self.final.bias))

    def correction(self, x: Tensor) -> Tensor:
        """What is added to the image, before tanh."""
        x = self.encoder[0](self.stem(functional.pixel_unshuffle(x, 2)))
        kept = []
        for down, blocks in zip(self.down, self.encoder[1:], strict=True):
            kept.append(x)
            x = blocks(down(x))
        for up, blocks in zip(self.up, self.decoder, strict=True):
            x = blocks(functional.pixel_shuffle(up(x), 2) + kept.pop())
        return functional.pixel_shuffle(self.final(x), 2)


def _blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(width) for _ in range(count)))
