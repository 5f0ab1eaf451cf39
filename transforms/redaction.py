"""Redaction: texts without the keys that stand in URLs."""

import re
from typing import TypeVar

HIDDEN = "..."
"""What stands in place of a secret."""

_LOGIN = re.compile(r"(?<=://)[^/?#@\s\"'<>]+@")
_NAME = r"[^?&;=\s\"'<>]*"
_OPENS = "sig|token|key|secret|pass|pwd|auth|cred|policy|code|sas"
# No name goes on beyond the start of the next: the time that a search takes grows with the text.
_SECRET = re.compile(rf"([?&;](?={_NAME}(?:{_OPENS})){_NAME}=)[^&;#\s\"'<>,)\]}}]+", re.IGNORECASE)

Content = TypeVar("Content")


def redact(text: str) -> str:
    """Return a text in which logins of URLs, and those values of queries that open doors, are dots.

    These are the parameters whose name says so (signature, token, key, ...), as presigned URLs of
    all large stores have them. The rest of the URL stays, so that it can be recognised.

    >>> redact("https://me:word@host/a.tif?X-Amz-Date=1&X-Amz-Signature=0af3")
    'https://...@host/a.tif?X-Amz-Date=1&X-Amz-Signature=...'
    """
    return _SECRET.sub(rf"\1{HIDDEN}", _LOGIN.sub(f"{HIDDEN}@", text))


def redact_all(content: Content) -> Content:
    """Return JSON-like content in which every text is redacted; keys of mappings are not."""
    found: object = content
    if isinstance(content, str):
        found = redact(content)
    elif isinstance(content, dict):
        found = {key: redact_all(value) for key, value in content.items()}
    elif isinstance(content, list | tuple):
        found = type(content)(redact_all(value) for value in content)
    return found  # type: ignore[return-value]
