"""Blur that varies over the picture: I_B = k(M) * I_S + N, where the kernel k depends on the place.

A camera that turns while it moves draws another path at every place of the picture (the field of
motion M). The kernels are computed at the nodes of a grid and blended in between, as in efficient
filter flow (Hirsch, Sra, Schoelkopf, Harmeling: Efficient filter flow for space-variant multiframe
blind deconvolution. CVPR 2010).

They weight the light before it is smeared; we weight it after (as Nagy & O'Leary 1998, SIAM J. Sci.
Comput. 19(4)), because a pixel gathers light over the exposure: so a flat picture stays flat.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from transforms.functional.blur import Kernel, Path, path_kernel
from transforms.functional.camera import Linear

Kernels = Sequence[Sequence[Kernel]]
"""Kernels by row and column of a grid whose outer nodes lie on the picture's border."""


@dataclass(frozen=True, eq=False)
class CameraMotion:
    """What a camera does during the exposure.

    `path` float64 (n, 2): of the pivot, (x, y) px, y downwards, as of `blur.motion_path`; `yaw`
    float64 (n,): the turn about the line of sight at the same times, radians, counter-clockwise as
    seen on the screen; `pivot` (x, y): where the picture does not move by turning, as shares of its
    width and height.
    """

    path: Path
    yaw: NDArray[np.float64]
    pivot: tuple[float, float] = (0.5, 0.5)

    def path_at(self, x: float, y: float) -> Path:
        """Return the path of a point that lies (x, y) px from the pivot: float64 (n, 2)."""
        cos, sin = np.cos(self.yaw) - 1.0, np.sin(self.yaw)
        return self.path + np.stack((cos * x + sin * y, cos * y - sin * x), axis=1)


def grid_kernels(
    motion: CameraMotion, *, height: int, width: int, spacing: int, reach: float = math.inf
) -> Kernels:
    """Return the kernels of a motion on a grid of nodes at most `spacing` px apart.

    Paths are clipped to `reach` px from their centre in x and y, so that no kernel is wider.
    """
    rows, columns = _nodes(height, spacing), _nodes(width, spacing)
    pivot_x, pivot_y = motion.pivot[0] * (width - 1), motion.pivot[1] * (height - 1)
    return [
        [
            path_kernel(np.clip(motion.path_at(x - pivot_x, y - pivot_y), -reach, reach))
            for x in columns
        ]
        for y in rows
    ]


def convolve_varying(linear: Linear, kernels: Kernels) -> Linear:
    """Smear linear light (h, w, 3) with a kernel that varies over the picture.

    Each kernel acts on the light around its node and is faded into its neighbours by windows that
    sum to 1 everywhere. The border is mirrored.
    """
    height, width = linear.shape[:2]
    fades_down, fades_across = _fades(height, len(kernels)), _fades(width, len(kernels[0]))
    blended = np.zeros_like(linear)
    for down, row in zip(fades_down, kernels, strict=True):
        for across, kernel in zip(fades_across, row, strict=True):
            rows, columns = _support(down), _support(across)
            share = np.outer(down[rows], across[columns])[..., None]
            blended[rows, columns] += share * _convolve_part(linear, kernel, rows, columns)
    return blended


def _convolve_part(linear: Linear, kernel: Kernel, rows: slice, columns: slice) -> Linear:
    """Return these rows and columns of the convolved picture, computed from what they need."""
    reach = kernel.shape[0] // 2
    top, left = max(0, rows.start - reach), max(0, columns.start - reach)
    part = linear[top : rows.stop + reach, left : columns.stop + reach]
    flipped = np.ascontiguousarray(kernel[::-1, ::-1])
    smeared = cv2.filter2D(part, cv2.CV_32F, flipped, borderType=cv2.BORDER_REFLECT_101)
    inside = smeared[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    return np.asarray(inside, dtype=np.float32)


def _nodes(size: int, spacing: int) -> NDArray[np.float64]:
    if spacing < 1:
        raise ValueError(f"spacing must be >= 1 px, got spacing={spacing}")
    return np.linspace(0.0, size - 1, math.ceil((size - 1) / spacing) + 1)


def _fades(size: int, count: int) -> NDArray[np.float32]:
    """Return the window of every node along one side, float32 (count, size): hats that sum to 1."""
    if count < 2:
        return np.ones((count, size), np.float32)
    place = np.arange(size) * ((count - 1) / max(size - 1, 1))
    hats = np.clip(1.0 - np.abs(place[None, :] - np.arange(count)[:, None]), 0.0, 1.0)
    return hats.astype(np.float32)


def _support(fade: NDArray[np.float32]) -> slice:
    """Return where a window is not zero."""
    inside = np.flatnonzero(fade)
    return slice(int(inside[0]), int(inside[-1]) + 1)
