"""Naming weights: a shipped model by its name, or a file by its path."""

from pathlib import Path

from models.cards import shipped_weights


def resolve_weights(name: str) -> Path:
    """Return the file of a shipped model's name, or of a path to a file or an exported folder.

    Raises FileNotFoundError naming what is shipped.
    """
    shipped = shipped_weights()
    path = shipped.get(name, Path(name))
    if not path.exists():
        raise FileNotFoundError(
            f"weights must be a file or one of {', '.join(shipped)}; got {name!r}"
        )
    return path
