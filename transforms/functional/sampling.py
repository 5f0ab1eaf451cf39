"""Which tiles belong to a random share: decided by their name alone, so on any worker alike."""

import hashlib


def in_sample(key: str, *, rate: float, purpose: str) -> bool:
    """Say whether a key belongs to the share `rate` in [0, 1] that is drawn for a purpose.

    The same key is always drawn or never; a greater rate keeps what a smaller one drew; purposes
    are drawn independently.
    """
    digest = hashlib.blake2b(f"{purpose}:{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < rate * 2**64
