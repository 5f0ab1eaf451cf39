"""From a YAML file and overrides to a validated configuration."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from configs.base import Section

SHIPPED = Path(__file__).parent

Loaded = TypeVar("Loaded", bound=Section)


ALIASED = 100_000
"""Values that aliases may add to a YAML file: ten lines of them can stand for more than fits into
any memory."""
_MALFORMED = (yaml.YAMLError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What PyYAML raises on text that is no YAML, or no value of the type that it claims."""


class ConfigError(ValueError):
    """A configuration that cannot be used; the message says where, what was got and wanted."""


def find_config(name: str) -> Path:
    """Return the file of a configuration: a path, or the name of a shipped one (`demo`)."""
    candidates = (Path(name), SHIPPED / name, SHIPPED / f"{name}.yaml")
    for path in candidates:
        if path.is_file():
            return path
    shipped = ", ".join(sorted(path.stem for path in SHIPPED.glob("*.yaml")))
    raise ConfigError(f"config must be a YAML file or one of: {shipped}; got {name!r}")


def load_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping; raise ConfigError for anything else."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {error}") from error
    return parse_mapping(text, str(path))


def parse_mapping(text: str, source: str) -> dict[str, Any]:
    """Return the mapping in YAML text, empty if there is none; raise ConfigError for other text."""
    content = parse_yaml(text, source)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(
            f"{source}: a mapping of sections is wanted, got {type(content).__name__}"
        )
    return content


def parse_yaml(text: str, source: str) -> object:
    """Return the value in YAML text, which is data alone: no tag of it makes an object.

    Raises ConfigError, which names the source, for text that is no YAML, is nested too deeply, or
    grows by its aliases to more than `ALIASED` values.
    """
    loader = None
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _check_aliases(node)
        return loader.construct_document(node)
    except RecursionError as error:
        raise ConfigError(f"{source}: is nested too deeply: write it flatter") from error
    except _MALFORMED as error:
        raise ConfigError(f"{source}: cannot be read as YAML: {error}") from error
    finally:
        if loader is not None:
            loader.dispose()


def _check_aliases(root: yaml.Node) -> None:
    sizes: dict[int, int] = {}
    size = _size(root, sizes)
    if size - len(sizes) > ALIASED:
        raise ValueError(f"its aliases stand for {size} values, and {ALIASED} are enough")


def _size(node: yaml.Node, sizes: dict[int, int]) -> int:
    """Return how many values a node stands for with every alias written out."""
    if id(node) not in sizes:
        sizes[id(node)] = 0  # a value within itself is met here again
        below: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            below = [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            below = node.value
        sizes[id(node)] = 1 + sum(_size(part, sizes) for part in below)
    elif sizes[id(node)] == 0:
        raise ValueError("a value contains itself")
    return sizes[id(node)]


def override(content: dict[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """Return the content with `section.key=value` assignments applied; values are YAML.

    >>> override({"read": {"core": 512}}, ["read.core=1024"])
    {'read': {'core': 1024}}
    """
    for assignment in assignments:
        dotted, equals, text = assignment.partition("=")
        if not equals or not dotted:
            raise ConfigError(f"an override is section.key=value, got {assignment!r}")
        content = _assign(content, dotted.split("."), parse_yaml(text, f"override {dotted}"))
    return content


def validate(model: type[Loaded], content: dict[str, Any], *, source: str) -> Loaded:
    """Build the typed configuration; raise ConfigError naming every offending key."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problems = "\n".join(
            f"  {'.'.join(map(str, item['loc'])) or 'top level'}: {_explain(item)}"
            for item in error.errors()
        )
        raise ConfigError(f"{source}: not a valid configuration\n{problems}") from error


def _assign(content: dict[str, Any], keys: list[str], value: object) -> dict[str, Any]:
    head, *rest = keys
    if not rest:
        return {**content, head: value}
    below = content.get(head) or {}
    if not isinstance(below, dict):
        raise ConfigError(f"an override needs a section at {head!r}, got {below!r}")
    return {**content, head: _assign(below, rest, value)}


def _explain(item: Any) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    if item["type"] == "extra_forbidden":
        return f"unknown key, got value {item['input']!r}"
    return f"{item['msg']}, got {item['input']!r}"
