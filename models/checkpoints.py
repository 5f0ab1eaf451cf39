"""Weight files: saving them, and loading them strictly.

Weights are data: nothing in a file is ever executed.

Ours are safetensors whose header names the architecture, its options and the halo. Published files
(`fpn_mobilenet.h5`, `fpn_inception.h5`, `latest_net_G.pth`) are pickles of tensors, read with
`weights_only=True`, which refuses code before it could run.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from models.cards import CheckpointError, checked_digest
from models.networks import Options, build, options_from_dict
from models.published import (
    describe_bytes,
    describe_content,
    describe_options,
    published_options,
    state_dict_in,
    with_counters,
    without_aliases,
)
from models.restorer import Restorer


@dataclass(frozen=True)
class GeneratorInfo:
    """What is known about loaded weights.

    `halo_px` is None where it was never measured (published files).
    """

    path: Path
    sha256: str
    options: Options
    halo_px: int | None


def save_generator(
    path: Path, generator: Restorer, *, halo_px: int | None, dtype: torch.dtype = torch.float16
) -> None:
    """Write the weights as safetensors with architecture, options and halo in the header."""
    tensors = {
        name: (tensor.to(dtype) if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in generator.state_dict().items()
    }
    header = {
        "architecture": generator.architecture,
        "options": json.dumps(generator.options.to_dict()),
    }
    if halo_px is not None:
        header["halo_px"] = str(halo_px)
    save_file(tensors, str(path), metadata=header)
    path.chmod(0o644)


def load_generator(path: Path, *, sha256: str | None = None) -> tuple[Restorer, GeneratorInfo]:
    """The network in a weight file, in evaluation mode, float32, on the CPU.

    Which network it is, is found from the header (ours) or from the names of the tensors
    (published). With `sha256`, a file that has another digest is refused before it is opened.
    Every tensor must fit: missing, unknown and misshapen ones are errors.
    """
    digest = checked_digest(path, sha256)
    content, header = _read(path)
    if "names" in header:
        raise CheckpointError(
            f"{path} holds a detector ({header.get('architecture')}: {header['names']}), "
            "wanted a deblurrer"
        )
    if "architecture" in header:
        options, halo_px = _read_header(path, header)
        tensors = content
    else:
        options, tensors, halo_px = *_recognise(path, content), None
    with torch.device("meta"):
        network = build(options)
    wanted = network.state_dict()
    tensors = with_counters(tensors, wanted)
    _check_fit(path, tensors, wanted, describe_options(options))
    network.load_state_dict(
        {name: tensor.to(wanted[name].dtype).contiguous() for name, tensor in tensors.items()},
        assign=True,
    )
    return network.eval(), GeneratorInfo(path, digest, options, halo_px)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of any weight file; CheckpointError says what the file is if it is none."""
    if not path.is_file():
        raise FileNotFoundError(f"no weight file at {path}")
    content, _ = _read(path)
    tensors = state_dict_in(content)
    if tensors is None:
        raise CheckpointError(f"{path} looks like {describe_content(content)}, wanted tensors")
    return tensors


def _read(path: Path) -> tuple[Any, dict[str, str]]:
    """What a weight file holds, and the header of a safetensors file."""
    what = describe_bytes(path)
    if what is not None:
        raise CheckpointError(f"{path} is damaged or no weight file: it looks like {what}")
    with path.open("rb") as file:
        is_safetensors = file.read(9)[8:] == b"{"
    if not is_safetensors and path.suffix != ".safetensors":
        return _unpickle(path), {}
    try:
        with safe_open(str(path), framework="pt") as file:
            names = file.keys()
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged or not a safetensors file: {error}") from error


def _unpickle(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # Damaged bytes make the unpickler raise anything, KeyError say.
        wanted = re.search(r"GLOBAL (\S+) was not", str(error))
        if wanted is not None:
            raise CheckpointError(
                f"{path} holds code ({wanted[1]}) beside or instead of tensors, and is not loaded"
            ) from error
        raise CheckpointError(
            f"{path} is damaged or no weight file, and is not loaded: {_reason(error)}"
        ) from error


def _reason(error: Exception) -> str:
    text = str(error).rpartition("WeightsUnpickler error: ")[2].strip()
    return text.split("\n")[0] or type(error).__name__


def _read_header(path: Path, header: Mapping[str, str]) -> tuple[Options, int | None]:
    try:
        options = options_from_dict(header["architecture"], json.loads(header["options"]))
        halo_px = header.get("halo_px")
        return options, None if halo_px is None else int(halo_px)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} does not hold a deblurrer of ours: {error}") from error


def _recognise(path: Path, content: object) -> tuple[Options, dict[str, Tensor]]:
    tensors = state_dict_in(content)
    options = None if tensors is None else published_options(tensors)
    if tensors is None or options is None:
        raise CheckpointError(
            f"{path} does not hold a generator that is known here: it looks like "
            f"{describe_content(content)}"
        )
    try:
        return options, without_aliases(tensors)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _check_fit(
    path: Path, got: Mapping[str, Tensor], wanted: Mapping[str, Tensor], what: str
) -> None:
    missing = [name for name in wanted if name not in got]
    unknown = [name for name in got if name not in wanted]
    misshapen = [
        f"{name} {tuple(got[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in got and got[name].shape != tensor.shape
    ]
    if missing or unknown or misshapen:
        raise CheckpointError(
            f"{path} looks like {what} but does not hold it: {_count('missing', missing)}, "
            f"{_count('unknown', unknown)}, {_count('misshapen', misshapen)}"
        )


def _count(word: str, names: Iterable[str]) -> str:
    listed = list(names)
    shown = f" ({', '.join(listed[:3])}{', ...' if len(listed) > 3 else ''})" if listed else ""
    return f"{len(listed)} {word}{shown}"
