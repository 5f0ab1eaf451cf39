"""A table for the screen and for a page."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.markup import escape
from rich.table import Table


@dataclass
class Sheet:
    """A titled table of texts; the first `names` columns are names, all others numbers."""

    title: str
    columns: Sequence[str]
    names: int = 1
    rows: list[Sequence[str]] = field(default_factory=list)

    def add(self, *cells: str) -> None:
        """Add a row."""
        assert len(cells) == len(self.columns), (cells, self.columns)
        self.rows.append(cells)

    def for_screen(self) -> Table:
        """Return it for a console."""
        table = Table(title=escape(self.title), title_justify="left")
        for index, column in enumerate(self.columns):
            table.add_column(escape(column), justify="left" if index < self.names else "right")
        for row in self.rows:
            table.add_row(*map(escape, row))
        return table

    def for_page(self) -> str:
        """Return it as Markdown."""
        rule = ["---" if index < self.names else "---:" for index in range(len(self.columns))]
        lines = [" | ".join(cells) for cells in (self.columns, rule, *self.rows)]
        return "\n".join([f"### {self.title}", "", *(f"| {line} |" for line in lines), ""])
