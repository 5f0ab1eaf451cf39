"""The restoring networks by their options: one place that knows them all."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from models.deblurgan_v1 import ResNetGenerator, ResNetOptions
from models.deblurgan_v2 import Generator, GeneratorOptions
from models.restorer import Restorer
from models.unet import UNet, UNetOptions

Options = GeneratorOptions | ResNetOptions | UNetOptions

ARCHITECTURES: dict[str, type[Options]] = {
    Generator.architecture: GeneratorOptions,
    ResNetGenerator.architecture: ResNetOptions,
    UNet.architecture: UNetOptions,
}
"""The options of each architecture, by the name that our weight files carry."""


def build(options: Options) -> Restorer:
    """The network with random weights of torch's global generator; reads no file, no network."""
    if isinstance(options, ResNetOptions):
        return ResNetGenerator(options)
    return UNet(options) if isinstance(options, UNetOptions) else Generator(options)


def options_from_dict(architecture: str, values: dict[str, Any]) -> Options:
    """The options in the header of one of our weight files."""
    if architecture not in ARCHITECTURES:
        raise ValueError(
            f"architecture must be one of {', '.join(ARCHITECTURES)}, got {architecture!r}"
        )
    return ARCHITECTURES[architecture].from_dict(values)


def options_from_config(values: Mapping[str, Any]) -> Options:
    """The options that a section `network` asks for, dumped to a mapping with its `variant`."""
    own = {name: value for name, value in values.items() if name != "variant"}
    if values["variant"] == "resnet":
        return ResNetOptions.from_dict(own)
    if values["variant"] == "unet":
        return UNetOptions.from_dict(own)
    return GeneratorOptions.from_dict(dict(values))


def parameter_count(network: nn.Module) -> int:
    """The number of learned values (buffers not counted)."""
    return sum(parameter.numel() for parameter in network.parameters())
