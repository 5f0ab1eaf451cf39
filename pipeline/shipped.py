"""What is shipped: the small weights and what is known about them."""

from rich.table import Table

from models.checkpoints import read_card, shipped_weights


def describe_models() -> Table:
    """Return a table of the shipped weights: size, digest, licence and measured numbers."""
    table = Table(title="Shipped weights", title_justify="left")
    for column in ("name", "task", "architecture", "size", "SHA-256", "licence", "numbers"):
        table.add_column(column, overflow="fold")
    for name, path in sorted(shipped_weights().items()):
        card = read_card(path)
        numbers = "\n".join(f"{key}: {value}" for key, value in card.numbers.items())
        size = f"{card.size_bytes / 1e6:.1f} MB"
        facts = (card.task, card.architecture, size, card.sha256, card.licence)
        table.add_row(name, *facts, numbers)
    return table
