"""One tiny network of every kind, and how tests change and probe them."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from models.backbones import BatchNorm, InstanceNorm
from models.deblurgan_v1 import ResNetOptions
from models.deblurgan_v2 import GeneratorOptions
from models.networks import Options, build
from models.restorer import Restorer
from models.unet import UNetOptions

_STAGES = ((2, 8, 1, 1), (2, 12, 2, 2), (2, 12, 1, 2), (2, 16, 1, 2), (2, 16, 1, 2))
_TAPS = (1, 3, 4, 5, 6)

TINY: dict[str, Options] = {
    "mobilenet": GeneratorOptions("mobilenet", 16, stem=8, stages=_STAGES, taps=_TAPS),
    "mobilenet_dsc": GeneratorOptions(
        "mobilenet_dsc", 16, "none", "none", stem=8, stages=_STAGES, taps=_TAPS
    ),
    "inception": GeneratorOptions("inception", 16, depths=(1, 1, 1)),
    "se_resnext": GeneratorOptions("se_resnext", 16, "batch", depths=(1, 1, 1, 1)),
    "efficientnet_lite0": GeneratorOptions("efficientnet_lite0", 16, "batch"),
    "resnet": ResNetOptions(channels=4, blocks=2),
    "resnet_batch": ResNetOptions(channels=4, blocks=1, dropout=0, norm="batch"),
    "unet": UNetOptions((4, 6, 8), (1, 1, 1, 1, 1)),
}


def make(options: Options, seed: int = 0) -> Restorer:
    """A network that changes its input: random weights everywhere, statistics of its own."""
    torch.manual_seed(seed)
    network = build(options)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, std=0.7 / module.weight[0].numel() ** 0.5)
        if isinstance(module, BatchNorm | InstanceNorm) and module.running_mean is not None:
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
        if isinstance(module, BatchNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
    return network.eval()


def images(n: int, height: int = 64, width: int = 96, seed: int = 1) -> Tensor:
    """Float (n, 3, h, w), uniform in [-1, 1]."""
    return torch.rand((n, 3, height, width), generator=torch.Generator().manual_seed(seed)) * 2 - 1


def reach(options: Options, width: int, height: int = 64, phases: int | None = None) -> int:
    """How far to the left or right, in px, an input pixel may change the output.

    Measured: with positive weights and linear activations no influence cancels, so the gradients
    of one output pixel are its receptive field. All positions on the stride grid are tried (or
    only the first `phases` of them), in the middle of a picture that must be wide enough.
    """
    network = _positive(build(options)).double().eval().requires_grad_(False)
    x = torch.ones((1, 3, height, width), dtype=torch.float64, requires_grad=True)
    row = network.correction(x)[0, :, height // 2].sum(0)
    middle = width // 2 // network.stride * network.stride
    distances = []
    for column in range(middle, middle + (phases or network.stride)):
        (gradient,) = torch.autograd.grad(row[column], x, retain_graph=True)
        columns = torch.nonzero(gradient.abs().sum((0, 1, 2)))[:, 0]
        assert columns.min() > 0, "the picture is too narrow"
        assert columns.max() < width - 1, "the picture is too narrow"
        distances += [column - int(columns.min()), int(columns.max()) - column]
    return max(distances)


def _positive(network: Restorer) -> Restorer:
    for parent, name, module in list(_places(network)):
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
        elif isinstance(module, nn.ReLU6):
            setattr(parent, name, nn.Identity())
        elif isinstance(module, nn.MaxPool2d):
            pool = nn.AvgPool2d(module.kernel_size, module.stride, module.padding)
            setattr(parent, name, pool)
        elif isinstance(module, BatchNorm):
            nn.init.ones_(module.weight)
    return network


def _places(network: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    for parent in network.modules():
        for name, module in parent.named_children():
            yield parent, name, module
