"""Change one setting in the text of a YAML file, and leave every other character as it is."""

from decimal import Decimal

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode

from configs.load import ConfigError, override, parse_mapping, parse_yaml


def set_number(text: str, section: str, key: str, value: float, *, comment: str) -> str:
    """Return YAML text in which `section.key` is `value`, with `comment` on a line above.

    The key, and the section, are added where they are missing. The comment takes the place of one
    that stands there and begins with the same word. Raises ConfigError where the text is written in
    a way that this cannot be done without changing anything else.
    """
    number = f"{Decimal(repr(value)):f}"
    content = parse_mapping(text, f"the text that holds {section}.{key}")
    wanted = override(content, [f"{section}.{key}={number}"])
    edited = _comment(*_set(text, section, key, number), comment)
    try:
        done = parse_yaml(edited, "the edited text") == wanted
    except ConfigError:
        done = False
    if not done:
        raise ConfigError(
            f"the way this file is written, {section}.{key} cannot be changed without changing "
            f"more: set {section}.{key} to {number} by hand"
        )
    return edited


def _set(text: str, section: str, key: str, number: str) -> tuple[str, int]:
    """Return the text with the number set, and a place in the line that holds it."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    below = _find(root, section)
    entry = f"{key}: {number}"
    if below is None and isinstance(root, MappingNode) and root.flow_style:
        return _insert(text, root, f"{section}: {{{entry}}}")
    if below is None:
        end = _newline(text)
        start = text if not text or text.endswith("\n") else text + end
        return f"{start}{section}:{end}  {entry}{end}", len(start) + len(section) + len(end) + 1
    if isinstance(below, ScalarNode):  # nothing but a null makes a valid section
        gap = " " if below.start_mark.index == below.end_mark.index else ""
        return _replace(text, below, f"{gap}{{{entry}}}")
    known = _find(below, key)
    return _insert(text, below, entry) if known is None else _replace(text, known, number)


def _find(mapping: Node | None, key: str) -> Node | None:
    if not isinstance(mapping, MappingNode):
        return None
    return next((value for name, value in mapping.value if name.value == key), None)


def _replace(text: str, node: Node, by: str) -> tuple[str, int]:
    start, stop = node.start_mark.index, node.end_mark.index
    return f"{text[:start]}{by}{text[stop:]}", start


def _insert(text: str, mapping: Node, entry: str) -> tuple[str, int]:
    """Put an entry before the first one of a mapping."""
    assert isinstance(mapping, MappingNode)
    start = mapping.start_mark.index
    if mapping.flow_style:
        gap = ", " if mapping.value else ""
        return f"{text[: start + 1]}{entry}{gap}{text[start + 1 :]}", start + 1
    indent = " " * mapping.start_mark.column
    return f"{text[:start]}{entry}{_newline(text)}{indent}{text[start:]}", start


def _comment(text: str, place: int, comment: str) -> str:
    """Put a comment above the line of a place, instead of one that begins with the same word."""
    start = text.rfind("\n", 0, place) + 1
    before, line = text[:start], text[start:]
    indent = line[: len(line) - len(line.lstrip(" "))]
    above = before.rfind("\n", 0, max(start - 1, 0)) + 1
    if before[above:].lstrip().startswith(f"# {comment.split()[0]}"):
        before = before[:above]
    return f"{before}{indent}# {comment}{_newline(text)}{line}"


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"
