"""From the classes of a file of labels to those of the detector."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from transforms.functional.boxes import ANY_CLASS

IGNORE = "ignore"
"""What `input.label_classes` maps a class to whose objects are neither wanted nor wrong."""

Classes = NDArray[np.int32]


def index_classes(
    found: Sequence[str],
    mapping: Mapping[str, str],
    names: Sequence[str],
    where: str = "the labels",
) -> Classes:
    """Return the index in `names` of each class, renamed by `mapping` first: int32 (k,).

    A class that is mapped to `ignore` is `ANY_CLASS`. Raises ValueError listing the classes that
    the detector does not have; `where` are the labels that hold them.
    """
    index = {name: number for number, name in enumerate(names)}
    targets = {name: mapping.get(name, name) for name in dict.fromkeys(found)}
    known = {name: index[target] for name, target in targets.items() if target in index}
    known |= {name: ANY_CLASS for name in targets if mapping.get(name) == IGNORE}
    unknown = Counter(name for name in found if name not in known)
    if unknown:
        raise ValueError(
            f"{where} hold {_count(unknown)}, and the detector knows {list(names)}: map them in "
            "input.label_classes, such as {" + next(iter(unknown)) + ": " + f"{names[0]}}}, "
            f"or to {IGNORE}"
        )
    return np.array([known[name] for name in found], np.int32)


def _count(unknown: Counter[str]) -> str:
    return ", ".join(f"{name!r} ({number} times)" for name, number in unknown.most_common())
