"""What is shipped: the small weights and what is known about them."""

from rich.console import Group
from rich.table import Table

from models.checkpoints import ModelCard, read_card, shipped_weights


def describe_models() -> Group:
    """Return a table for each of the shipped weights, from its model card."""
    paths = shipped_weights().values()
    return Group(*(_describe(read_card(path)) for path in paths))


def _describe(card: ModelCard) -> Table:
    table = Table(title=card.name, title_justify="left", show_header=False)
    facts = {
        "task": card.task,
        "architecture": card.architecture,
        "parameters": f"{card.parameters:,}",
        "size": f"{card.size_bytes / 1e6:.1f} MB",
        "SHA-256": card.sha256,
        "licence": card.licence,
        "halo": "not measured" if card.halo_px is None else f"{card.halo_px} px",
        "trained on": "\n".join(card.data),
        **{key.replace("_", " "): f"{value:g}" for key, value in card.numbers.items()},
    }
    for fact, value in facts.items():
        table.add_row(fact, value)
    return table
