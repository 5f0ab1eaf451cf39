"""Tracing networks of torch, for those who convert them."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from torch.jit._trace import TracerWarning


@contextmanager
def quiet_tracing() -> Iterator[None]:
    """Silence what tracing says of itself within the block.

    It is deprecated, but what the converters take; and it warns of every size that it fixes, of
    which our graphs have none that matters (the tests run other sizes than that of the example).
    """
    with warnings.catch_warnings():
        for kind in (FutureWarning, DeprecationWarning, TracerWarning):
            warnings.simplefilter("ignore", kind)
        warnings.filterwarnings("ignore", "Constant folding", UserWarning)
        yield
