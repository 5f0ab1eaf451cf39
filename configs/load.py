"""From a YAML file and overrides to a validated configuration."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from configs.base import Section

SHIPPED = Path(__file__).parent

Loaded = TypeVar("Loaded", bound=Section)


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
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: a mapping of sections is wanted, got {type(content).__name__}")
    return content


def override(content: dict[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """Return the content with `section.key=value` assignments applied; values are YAML.

    >>> override({"read": {"core": 512}}, ["read.core=1024"])
    {'read': {'core': 1024}}
    """
    for assignment in assignments:
        dotted, equals, text = assignment.partition("=")
        if not equals or not dotted:
            raise ConfigError(f"an override is section.key=value, got {assignment!r}")
        content = _assign(content, dotted.split("."), yaml.safe_load(text))
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
