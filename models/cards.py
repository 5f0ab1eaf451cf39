"""Model cards: what is shipped, and what is known of it; needs no torch."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from models.fingerprint import Fingerprint

WEIGHTS_FOLDER = Path(__file__).parent / "weights"

# libyaml reads a card in a seventh of the time, where PyYAML was built with it.
_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class CheckpointError(ValueError):
    """A weight file that is not what was asked for."""


OPTIONAL = {"halo_px", "int8_sha256", "fingerprint"}
"""Fields of a card that may be missing."""


@dataclass(frozen=True)
class ModelCard:
    """The front matter of a model card. `numbers` are measured qualities, named with their unit.

    `int8_sha256` is the digest of the 8-bit network beside the weights, if there is one.
    `fingerprint` is what a deblurrer answers to a small chart, compared when it is loaded.
    """

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
    int8_sha256: str | None = None
    fingerprint: Fingerprint | None = None


def sha256(path: Path) -> str:
    """The SHA-256 of a file, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checked_digest(path: Path, wanted: str | None) -> str:
    """The SHA-256 of a weight file, which must be the one that is wanted, if any is.

    Raises FileNotFoundError and CheckpointError.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no weight file at {path}")
    got = sha256(path)
    if wanted is not None and got != wanted.lower():
        raise CheckpointError(f"the SHA-256 of {path} differs: got {got}, wanted {wanted}")
    return got


def is_card(path: Path) -> bool:
    """Say whether a file is a card: other projects have Markdown beside weights, too."""
    return path.is_file() and path.read_text(encoding="utf-8", errors="replace").startswith("---\n")


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
    values: dict[str, Any] = yaml.load(parts[1], _Loader)
    known = {field.name for field in fields(ModelCard)}
    wrong = set(values) - known | (known - OPTIONAL) - set(values)
    if wrong:
        raise CheckpointError(f"{card}: unknown or missing fields {sorted(wrong)}")
    fingerprint = _read_fingerprint(card, values.get("fingerprint"))
    return ModelCard(**{**values, "data": tuple(values["data"]), "fingerprint": fingerprint})


def _read_fingerprint(card: Path, values: dict[str, Any] | None) -> Fingerprint | None:
    try:
        return None if values is None else Fingerprint.from_dict(values)
    except (AttributeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{card}: {error}") from error
