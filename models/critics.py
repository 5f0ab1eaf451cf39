"""The critics that a generator can be trained against.

Paper: Isola et al.: Image-to-image translation with conditional adversarial networks, CVPR 2017
(arXiv 1611.07004), as used by DeblurGAN (arXiv 1711.07064) and DeblurGAN-v2 (arXiv 1908.03826). A
critic sees a sharp or a restored image alone, never the blurred one it was made from.
"""

from typing import Literal, cast

from torch import Tensor, nn

CriticKind = Literal["patch", "double"]
PATCH_STRIDES = 3
WHOLE_STRIDES = 5
_WIDEST = 8


class PatchCritic(nn.Module):
    """Score overlapping patches: float (n, 3, h, w) in [-1, 1] to (n, 1, h', w').

    4x4 convolutions padded by 2: `strided` of stride 2 whose width doubles from `channels` up to
    8 x `channels`, one of stride 1, and one to a single channel. Each but the first and the last
    is followed by instance normalisation without learned values, each but the last by a leaky
    ReLU. A score sees 70 px with three strided convolutions, 286 px with five.
    """

    def __init__(self, *, channels: int = 64, strided: int = PATCH_STRIDES) -> None:
        super().__init__()
        layers: list[nn.Module] = [_conv(3, channels, stride=2), _activation()]
        inputs = channels
        for number in range(1, strided + 1):
            outputs = channels * min(2**number, _WIDEST)
            stride = 2 if number < strided else 1
            layers += [
                _conv(inputs, outputs, stride=stride),
                nn.InstanceNorm2d(outputs),
                _activation(),
            ]
            inputs = outputs
        self.model = nn.Sequential(*layers, _conv(inputs, 1, stride=1))

    def forward(self, images: Tensor) -> Tensor:
        """Score images."""
        return cast(Tensor, self.model(images))


class Critic(nn.Module):
    """One patch critic, or two at once: float (n, 3, h, w) in [-1, 1] to one map for each.

    `double` is DeblurGAN-v2's double-scale critic, whose second member is meant to judge the whole
    crop. As published it is a patch critic too, only wider: 286 px, which covers the training
    crops of 256 px from most places. We follow the published code.
    """

    def __init__(self, kind: CriticKind, *, channels: int = 64) -> None:
        super().__init__()
        strides = (PATCH_STRIDES, WHOLE_STRIDES) if kind == "double" else (PATCH_STRIDES,)
        self.members = nn.ModuleList(
            PatchCritic(channels=channels, strided=strided) for strided in strides
        )
        self._initialise()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Score images, in float32."""
        return tuple(member(images).float() for member in self.members)

    def _initialise(self) -> None:
        """Normal with deviation 0.02, as DeblurGAN (v1) and pix2pix do."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0.0, 0.02)
                nn.init.zeros_(cast(Tensor, module.bias))


def _conv(inputs: int, outputs: int, *, stride: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 4, stride=stride, padding=2)


def _activation() -> nn.Module:
    return nn.LeakyReLU(0.2)
