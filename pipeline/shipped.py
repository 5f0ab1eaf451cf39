"""What is known about weights: the shipped ones by their cards, any file by loading it."""

from rich.console import Group
from rich.markup import escape
from rich.table import Table

from models.backbones import describe_norms
from models.cards import ModelCard, read_card, shipped_weights
from models.checkpoints import load_generator
from models.cost import macs_per_pixel
from models.networks import parameter_count
from models.published import describe_options
from models.shipped import resolve_weights


def describe_models() -> Group:
    """Return a table for each of the shipped weights, from its model card."""
    paths = shipped_weights().values()
    return Group(*(_describe(read_card(path)) for path in paths))


def inspect_weights(name: str) -> Table:
    """Return what a weight file holds, found by loading it strictly.

    `name` is a path or the name of shipped weights. Raises CheckpointError saying why a file cannot
    be used, FileNotFoundError where there is none.
    """
    path = resolve_weights(name)
    network, info = load_generator(path)
    unit = f"multiples of {network.stride} px from {network.smallest} px"
    facts = {
        "generator": describe_options(info.options),
        "architecture": network.architecture,
        "options": "\n".join(f"{key}: {value}" for key, value in info.options.to_dict().items()),
        "normalisation": describe_norms(network),
        "parameters": f"{parameter_count(network):,}",
        "cost": f"{macs_per_pixel(network.to('meta'), 256) / 1000:.1f} kMAC/px at 256 px",
        "sides": unit if network.local else f"{unit}; pools over the tile: no halo is exact",
        "halo": _halo(info.halo_px),
        "size": f"{path.stat().st_size / 1e6:.1f} MB",
        "SHA-256": info.sha256,
    }
    return _table(str(path), facts)


def _describe(card: ModelCard) -> Table:
    facts = {
        "task": card.task,
        "architecture": card.architecture,
        "parameters": f"{card.parameters:,}",
        "size": f"{card.size_bytes / 1e6:.1f} MB",
        "SHA-256": card.sha256,
        "licence": card.licence,
        "halo": _halo(card.halo_px),
        "trained on": "\n".join(card.data),
        **{key.replace("_", " "): f"{value:g}" for key, value in card.numbers.items()},
    }
    return _table(card.name, facts)


def _halo(halo_px: int | None) -> str:
    return "not measured" if halo_px is None else f"{halo_px} px"


def _table(title: str, facts: dict[str, str]) -> Table:
    table = Table(title=escape(title), title_justify="left", show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for fact, value in facts.items():
        table.add_row(fact, escape(value))
    return table
