"""What every restoring network has in common."""

from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class RestorerOptions:
    """What distinguishes one network of an architecture from another; kept in our weight files."""

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Options as read from JSON, where tuples are lists; unknown names are an error."""
        unknown = sorted(set(values) - {field.name for field in fields(cls)})
        if unknown:
            raise ValueError(f"unknown {cls.__name__} {unknown}")
        return cls(**{name: _with_tuples(value) for name, value in values.items()})

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `from_dict` reads them back."""
        return asdict(self)


class Restorer(nn.Module):
    """A network from float (n, 3, h, w) in [-1, 1] to restored images of the same shape and range.

    `stride`: h, w and the origins of tiles that are to agree are multiples of it. `smallest`: the
    least h and w, in px. `local`: whether an output depends on a finite neighbourhood only (once
    norms are frozen), so that tiles with a wide enough halo agree. Every restorer adds a correction
    to its input.
    """

    architecture: ClassVar[str]
    options: RestorerOptions
    stride: int
    smallest: int
    local: bool = True

    def forward(self, x: Tensor) -> Tensor:
        """Restore images: clamp(tanh(correction(x)) + x, -1, 1), in float32.

        Raises ValueError for sizes that the network does not take.
        """
        height, width = x.shape[2:]
        if height % self.stride or width % self.stride or min(height, width) < self.smallest:
            raise ValueError(
                f"sides must be multiples of {self.stride} and at least {self.smallest} px, "
                f"got {height} x {width}"
            )
        correction = torch.tanh(self.correction(x).float())
        return torch.clamp(correction + x.float(), -1.0, 1.0)

    def correction(self, x: Tensor) -> Tensor:
        """What is added to the image, before tanh."""
        raise NotImplementedError


def _with_tuples(value: object) -> object:
    return tuple(_with_tuples(item) for item in value) if isinstance(value, list | tuple) else value
