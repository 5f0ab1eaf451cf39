"""Entries: what lists, indexes and catalogues say of a scene before it has its name in the run."""

from dataclasses import dataclass
from datetime import UTC, datetime

from transforms.hrefs import SourceError


@dataclass(frozen=True, order=True)
class Entry:
    """Something to open. `name`, `crs`, `time` and `item` are empty where nothing is known.

    `path` is what will be opened, `place` the file, folder or URL as people know it.
    """

    path: str
    place: str
    name: str = ""
    crs: str = ""
    time: str = ""
    item: str = ""


@dataclass(frozen=True, order=True)
class Row:
    """A row of a list or index: a location, relative to `index`, and what is said of it."""

    index: str
    location: str
    number: int
    name: str = ""
    crs: str = ""
    time: str = ""


@dataclass(frozen=True, order=True)
class Refused:
    """A row, item or link that gives no scene, and why."""

    name: str
    reason: str


Found = Entry | Refused


def to_rfc3339(time: datetime) -> str:
    """Return a time in UTC; one without a zone is taken for UTC.

    >>> to_rfc3339(datetime.fromisoformat("2026-05-01T12:00:00+02:00"))
    '2026-05-01T10:00:00Z'
    """
    return as_utc(time).isoformat().replace("+00:00", "Z")


def as_utc(time: datetime) -> datetime:
    """Return the same time in UTC; one without a zone is taken for UTC."""
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def parse_time(text: str) -> str:
    """Return a time in UTC as RFC 3339; raises SourceError for what is no date and time.

    >>> parse_time("2026-05-01 12:00:00")
    '2026-05-01T12:00:00Z'
    """
    try:
        return to_rfc3339(datetime.fromisoformat(text.strip().upper()))
    except ValueError as error:
        wanted = "a date and time such as 2026-05-01T10:00:00Z"
        raise SourceError(f"the time must be {wanted}, got {text!r}") from error
