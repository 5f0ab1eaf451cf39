"""How far a network sees: the halo with which its tiles agree to the last bit."""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from models.backbones import BatchNorm, InstanceNorm
from models.restorer import Restorer

WIDEST = 8192
"""Columns of the widest strip that is tried, in px."""


def exact_halo(generator: Restorer) -> int:
    """Return the margin in px beyond which no pixel changes a tile, a multiple of the stride.

    It holds for tiles whose sides lie on the network's stride grid, and for frozen norms. Found by
    one backward pass through a copy of the network whose weights are positive and whose activations
    are linear, so that no influence cancels: where the gradient of a column of outputs is zero,
    nothing is seen. Raises ValueError for a network that sees the whole tile.
    """
    if not generator.local:
        raise ValueError(
            f"{generator.architecture} looks at the whole tile, so that its tiles never agree "
            "exactly: choose weights of another architecture, or exact: false"
        )
    network, width = _without_cancelling(generator), 8 * max(generator.stride, generator.smallest)
    while width <= WIDEST:
        left, right = _seen_beyond(network, width)
        if left is not None and right is not None:
            return -(-max(left, right, 0) // network.stride) * network.stride
        width *= 2
    raise ValueError(f"{generator.architecture} sees more than {WIDEST // 2} px")


def _seen_beyond(network: Restorer, width: int) -> tuple[int | None, int | None]:
    """Return how far is seen left and right of one column of the stride grid, None if too far."""
    height, stride = max(network.stride, network.smallest), network.stride
    x = torch.ones((1, 3, height, width), dtype=torch.float64, requires_grad=True)
    start = width // 2 // stride * stride
    seen: Tensor = network.correction(x)[..., start : start + stride].sum()
    (gradient,) = torch.autograd.grad(seen, x)
    columns = torch.nonzero(gradient.abs().sum((0, 1, 2)))[:, 0]
    first, last = int(columns.min()), int(columns.max())
    return (
        start - first if first > 0 else None,
        last - (start + stride - 1) if last < width - 1 else None,
    )


def _without_cancelling(generator: Restorer) -> Restorer:
    network = copy.deepcopy(generator).double().eval()
    for parent, name, module in list(_places(network)):
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.ReLU | nn.ReLU6 | nn.LeakyReLU | BatchNorm | InstanceNorm):
            setattr(parent, name, nn.Identity())
        elif isinstance(module, nn.MaxPool2d):
            pool = nn.AvgPool2d(module.kernel_size, module.stride, module.padding)
            setattr(parent, name, pool)
    return network.requires_grad_(False)


def _places(network: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    for parent in network.modules():
        for name, module in parent.named_children():
            yield parent, name, module
