"""Weight files: what is shipped, and loading them strictly.

Weights are data: nothing in a file is ever executed.

Ours are safetensors whose header names the architecture, its options and the halo. The published
`fpn_mobilenet.h5` is a pickle of tensors, read with `weights_only=True`.
"""

import hashlib
import json
import pickle
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from models.deblurgan_v2 import Generator, GeneratorOptions

ARCHITECTURE = "deblurgan_v2"
WEIGHTS_FOLDER = Path(__file__).parent / "weights"

# The published module registers blocks of the backbone a second time as fpn.enc0 ... fpn.enc4:
# first block of each.
_ALIASES = {"enc0": 0, "enc1": 2, "enc2": 4, "enc3": 7, "enc4": 11}


class CheckpointError(ValueError):
    """A weight file that is not what was asked for."""


@dataclass(frozen=True)
class GeneratorInfo:
    """What is known about loaded weights.

    `halo_px` is None where it was never measured (published files).
    """

    path: Path
    sha256: str
    options: GeneratorOptions
    halo_px: int | None


@dataclass(frozen=True)
class ModelCard:
    """The front matter of a model card. `numbers` are measured qualities, named with their unit."""

    name: str
    task: str
    architecture: str
    licence: str
    file: str
    sha256: str
    size_bytes: int
    parameters: int
    data: tuple[str, ...]
    numbers: Mapping[str, float]
    halo_px: int | None = None


def sha256(path: Path) -> str:
    """The SHA-256 of a file, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def shipped_weights() -> dict[str, Path]:
    """The weight file of every model card that comes with this package, by the model's name."""
    cards = sorted(WEIGHTS_FOLDER.glob("*.md"))
    return {card.stem: card.with_name(read_card(card).file) for card in cards}


def read_card(path: Path) -> ModelCard:
    """The front matter of a card; `path` is the card (.md) or the weight file beside it."""
    card = path.with_suffix(".md")
    parts = card.read_text(encoding="utf-8").split("---\n", 2)
    if len(parts) != 3 or parts[0]:
        raise CheckpointError(f"{card} has no front matter: wanted YAML between two lines of ---")
    values: dict[str, Any] = yaml.safe_load(parts[1])
    known = {field.name for field in fields(ModelCard)}
    wrong = set(values) - known | (known - {"halo_px"}) - set(values)
    if wrong:
        raise CheckpointError(f"{card}: unknown or missing fields {sorted(wrong)}")
    return ModelCard(**{**values, "data": tuple(values["data"])})


def save_generator(
    path: Path, generator: Generator, *, halo_px: int, dtype: torch.dtype = torch.float16
) -> None:
    """Write the weights as safetensors with architecture, options and halo in the header."""
    tensors = {
        name: (tensor.to(dtype) if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in generator.state_dict().items()
    }
    header = {
        "architecture": ARCHITECTURE,
        "options": json.dumps(generator.options.to_dict()),
        "halo_px": str(halo_px),
    }
    save_file(tensors, str(path), metadata=header)
    path.chmod(0o644)


def load_generator(path: Path, *, sha256: str | None = None) -> tuple[Generator, GeneratorInfo]:
    """The generator in a weight file, in evaluation mode, float32, on the CPU.

    `.safetensors` files are ours; anything else is read as a published checkpoint. With `sha256`,
    a file that has another digest is refused before it is opened. Every tensor must fit: missing,
    unknown and misshapen ones are errors.
    """
    digest = _checked_digest(path, sha256)
    if path.suffix == ".safetensors":
        options, halo_px, tensors = _read_ours(path)
    else:
        options, halo_px, tensors = GeneratorOptions(), None, published_tensors(_unpickle(path))
    generator = Generator(options)
    _check_fit(path, tensors, generator.state_dict())
    generator.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    return generator.eval(), GeneratorInfo(path, digest, options, halo_px)


def published_tensors(content: object) -> dict[str, Tensor]:
    """The tensors of a published checkpoint by our names.

    Takes the state dict out of `{"model": ...}`, strips `module.`, and drops the second copy of
    the backbone after checking that it is one.
    """
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        content = content["model"]
    if not isinstance(content, Mapping) or not all(
        isinstance(value, Tensor) for value in content.values()
    ):
        raise CheckpointError(f"not a state dict of tensors, got {type(content).__name__}")
    tensors = {str(key).removeprefix("module."): value for key, value in content.items()}
    for alias in [name for name in tensors if name.startswith("fpn.enc")]:
        copy, original = tensors.pop(alias), tensors.get(_original_name(alias))
        if original is None or not torch.equal(copy, original):
            raise CheckpointError(f"{alias} differs from {_original_name(alias)}, wanted a copy")
    return tensors


def _original_name(alias: str) -> str:
    level, block, rest = alias.removeprefix("fpn.").split(".", 2)
    return f"fpn.features.{_ALIASES.get(level, 0) + int(block)}.{rest}"


def _checked_digest(path: Path, wanted: str | None) -> str:
    if not path.is_file():
        raise FileNotFoundError(f"no weight file at {path}")
    got = sha256(path)
    if wanted is not None and got != wanted.lower():
        raise CheckpointError(f"the SHA-256 of {path} differs: got {got}, wanted {wanted}")
    return got


def _read_ours(path: Path) -> tuple[GeneratorOptions, int, dict[str, Tensor]]:
    try:
        with safe_open(str(path), framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged or not a safetensors file: {error}") from error
    if header.get("architecture") != ARCHITECTURE:
        raise CheckpointError(
            f"{path} holds architecture {header.get('architecture')!r}, wanted {ARCHITECTURE!r}"
        )
    return (
        GeneratorOptions.from_dict(json.loads(header["options"])),
        int(header["halo_px"]),
        tensors,
    )


def _unpickle(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise CheckpointError(
            f"{path} is damaged or holds more than tensors, and is not loaded: {error}"
        ) from error


def _check_fit(path: Path, got: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    missing = [name for name in wanted if name not in got]
    unknown = [name for name in got if name not in wanted]
    misshapen = [
        f"{name} {tuple(got[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in got and got[name].shape != tensor.shape
    ]
    if missing or unknown or misshapen:
        raise CheckpointError(
            f"{path} does not hold this generator: {_count('missing', missing)}, "
            f"{_count('unknown', unknown)}, {_count('misshapen', misshapen)}"
        )


def _count(word: str, names: Iterable[str]) -> str:
    listed = list(names)
    shown = f" ({', '.join(listed[:3])}{', ...' if len(listed) > 3 else ''})" if listed else ""
    return f"{len(listed)} {word}{shown}"
