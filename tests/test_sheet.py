"""The same table on the screen and on a page."""

import pytest
from rich.console import Console

from pipeline.sheet import Sheet


@pytest.fixture
def sheet():
    table = Sheet("Speeds [best]", ("network", "size", "MPix/s"), names=1)
    table.add("ours", "512", "3.10")
    return table


def test_on_a_page_it_is_markdown(sheet):
    assert sheet.for_page().splitlines() == [
        "### Speeds [best]",
        "",
        "| network | size | MPix/s |",
        "| --- | ---: | ---: |",
        "| ours | 512 | 3.10 |",
    ]


def test_on_a_screen_brackets_are_no_markup(sheet):
    console = Console(width=80, record=True, quiet=False)
    console.print(sheet.for_screen())
    said = console.export_text()
    assert "Speeds [best]" in said
    assert "3.10" in said
