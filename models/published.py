"""Weight files of other origin: which network their tensors belong to, and what else they may be.

Published generators are recognised by the names and shapes of their tensors alone; whatever else a
file holds is put into words, so that an error can say what was given instead.
"""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from models.deblurgan_v1 import ResNetOptions
from models.deblurgan_v2 import GeneratorOptions
from models.networks import Options

Tensors = Mapping[str, Tensor]


def _alias_prefixes() -> dict[str, str]:
    """Where the published FPN modules register parts of their backbones a second time."""
    levels = ((0, 2), (2, 4), (4, 7), (7, 11), (11, 16))
    mobilenet = {
        f"fpn.features.{block}.": f"fpn.enc{level}.{block - start}."
        for level, (start, stop) in enumerate(levels)
        for block in range(start, stop)
    }
    parts = {
        **{"conv2d_1a": "enc0", "conv2d_2a": "enc1.0", "conv2d_2b": "enc1.1"},
        **{"conv2d_3b": "enc2.0", "conv2d_4a": "enc2.1", "mixed_5b": "enc3.0"},
        **{"repeat": "enc3.1", "mixed_6a": "enc3.2", "repeat_1": "enc4.0", "mixed_7a": "enc4.1"},
    }
    return mobilenet | {f"fpn.inception.{part}.": f"fpn.{copy}." for part, copy in parts.items()}


_ALIASES = _alias_prefixes()


def state_dict_in(content: object) -> dict[str, Tensor] | None:
    """The tensors of a state dict, bare or under a usual key, without the prefix `module.`."""
    for key in ("model", "state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        return None
    if not all(isinstance(value, Tensor) for value in content.values()):
        return None
    return {str(key).removeprefix("module."): value for key, value in content.items()}


def without_aliases(tensors: Tensors) -> dict[str, Tensor]:
    """The tensors without the second copy of a published backbone.

    Raises ValueError where the copy is incomplete or differs. Names that are no such copy stay.
    """
    copies = {alias: name for name in tensors if (alias := _alias_of(name)) is not None}
    present = copies.keys() & tensors.keys()
    for alias in copies if present else ():
        if alias not in present:
            raise ValueError(f"{alias} is missing, wanted a copy of {copies[alias]}")
        if not torch.equal(tensors[alias], tensors[copies[alias]]):
            raise ValueError(f"{alias} differs from {copies[alias]}, wanted a copy")
    return {name: value for name, value in tensors.items() if name not in present}


def _alias_of(name: str) -> str | None:
    for prefix, alias in _ALIASES.items():
        if name.startswith(prefix):
            return alias + name.removeprefix(prefix)
    return None


def published_options(tensors: Tensors) -> Options | None:
    """The options of the published generator that these tensors look like, or None."""
    if width := _width(tensors, "fpn.lateral4.weight"):
        return GeneratorOptions(
            "inception" if _has(tensors, "fpn.inception.") else "mobilenet",
            channels=width,
            norm="batch" if "fpn.td1.1.weight" in tensors else "instance",
        )
    blocks = {name.split(".")[1] for name in tensors if ".conv_block." in name}
    width = _width(tensors, "model.1.weight")
    if width and blocks:
        return ResNetOptions(
            channels=width,
            blocks=len(blocks),
            dropout=0.0 if "model.10.conv_block.5.weight" in tensors else 0.5,
            norm="batch" if "model.2.weight" in tensors else "instance",
            running_statistics="model.2.running_mean" in tensors,
        )
    return None


def with_counters(tensors: Tensors, wanted: Tensors) -> dict[str, Tensor]:
    """The tensors, completed by the counters that files from before PyTorch 0.4.1 lack."""
    counters = {
        name: torch.tensor(0)
        for name in wanted
        if name.endswith(".num_batches_tracked")
        and name not in tensors
        and name.replace("num_batches_tracked", "running_mean") in tensors
    }
    return {**tensors, **counters}


def describe_options(options: Options) -> str:
    """A network in words, such as "a DeblurGAN-v2 MobileNet generator with F=128"."""
    if isinstance(options, GeneratorOptions):
        name = {"mobilenet": "MobileNet", "inception": "Inception"}.get(options.variant)
        return f"a DeblurGAN-v2 {name or options.variant} generator with F={options.channels}"
    if isinstance(options, ResNetOptions):
        return f"a DeblurGAN (v1) generator with {options.blocks} blocks of {4 * options.channels}"
    return f"a U-Net with widths {', '.join(map(str, options.widths))}"


def describe_content(content: object) -> str:
    """What an unpickled checkpoint or a dict of tensors looks like, in words."""
    tensors = state_dict_in(content)
    if tensors is not None:
        return describe_tensors(tensors)
    if not isinstance(content, Mapping):
        return f"a single {type(content).__name__}"
    keys = set(map(str, content))
    if {"state", "param_groups"} <= keys:
        return "the state of an optimiser"
    if {"average", "step", "config"} <= keys:
        return "a checkpoint of an unfinished training; the weights are exported when it ends"
    if any("optim" in key for key in keys):
        return f"a training checkpoint with optimiser, keys {_first(sorted(keys))}"
    return f"a dict of {len(keys)} entries ({_first(sorted(keys))}) that are not all tensors"


def describe_tensors(tensors: Tensors) -> str:
    """What a state dict looks like, in words."""
    options = published_options(tensors)
    if options is not None:
        return describe_options(options)
    shape = tuple(tensors["model.0.weight"].shape) if "model.0.weight" in tensors else ()
    if shape[1:] == (3, 4, 4):
        return "a patch critic (discriminator), not a generator"
    clues = {
        "conv2d_1a.": "an Inception-ResNet-v2 classifier",
        "conv_stem.": "a timm EfficientNet or MobileNet classifier",
        "features.0.0.": "a torchvision MobileNet classifier",
        "features.": "a torchvision VGG, AlexNet or DenseNet",
        "layer1.": "a torchvision ResNet",
        "layer0.": "a ResNet of Cadene's naming",
        "encoder.0.0.conv_block": "a U-Net of another project",
        "model.0.conv.": "a YOLO detector",
    }
    for prefix, name in clues.items():
        if _has(tensors, prefix):
            return name
    return f"a state dict of {len(tensors)} tensors, the first {_first(list(tensors))}"


def describe_bytes(path: Path) -> str | None:
    """What a file that is no weight file looks like by its first bytes; None if it may be one."""
    with path.open("rb") as file:
        start = file.read(512)
    if not start:
        return "an empty file"
    if start[8:9] == b"{":  # safetensors: a length of 8 bytes, then JSON
        return None
    text = start.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "an HTML page, such as a download that asked for a confirmation"
    if text.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer: fetch the file itself with `git lfs pull`"
    if start.startswith(b"PK") and not zipfile.is_zipfile(path):
        return "a zip archive that is truncated"
    magic = {b"\x89HDF": "an HDF5 file (of Keras, say)", b"\x1f\x8b": "a gzip archive"}
    magic |= {b"\x08": "an ONNX file", b"{": "a JSON file", b"\x89PNG": "a PNG image"}
    what = next((what for first, what in magic.items() if start.startswith(first)), None)
    if what is None and not start.startswith((b"PK", b"\x80")) and path.suffix != ".safetensors":
        return f"a file of another kind, the first bytes {start[:8]!r}"
    return what


def _width(tensors: Tensors, name: str) -> int:
    """The outputs of a convolution; 0 where there is no such."""
    shape = tensors[name].shape if name in tensors else ()
    return shape[0] if len(shape) == 4 else 0


def _has(tensors: Tensors, prefix: str) -> bool:
    return any(name.startswith(prefix) for name in tensors)


def _first(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
