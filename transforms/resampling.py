"""Scenes at another ground sampling distance: their grid, and reading the file on it."""

from dataclasses import replace

from rasterio import Affine, DatasetReader
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.vrt import WarpedVRT

from configs.schema import RunConfig
from transforms.functional.windows import Rectangle
from transforms.georeference import metres_per_pixel
from transforms.records import Grid, Scene
from transforms.scene_checks import SceneError

NEAR = 0.01
"""A ground sampling distance within this share of the wanted one is left as it is."""

# Where the file lies on the map is of no concern here: it is warped in its own pixels, so that
# rotated grids, poles and the antimeridian are as simple as everything else.
_PLANE = "EPSG:3857"
_PIXELS = Affine.scale(1, -1)
_EXACT = 1e-6
"""Greatest error of a position in px; GDAL takes 0 for an error."""


def resample(scene: Scene, config: RunConfig) -> Scene:
    """Return a scene as it is at `read.gsd`: over the very extent of the file.

    Width and height are rounded to whole pixels, which are `read.gsd` metres in the middle of the
    scene, both ways. Raises SceneError if nobody knows the size of a pixel on the ground.
    """
    wanted = config.read.gsd
    if wanted is None:
        return scene
    whole = Rectangle(0, 0, scene.width, scene.height)
    metres = metres_per_pixel(scene, whole, gsd=config.input.gsd)
    if metres is None:
        raise SceneError(
            "read.gsd needs to know how large a pixel is on the ground, and the file has no CRS: "
            "give its size in metres as input.gsd, or its input.crs"
        )
    if all(abs(side / wanted - 1) <= NEAR for side in metres):
        return scene
    width, height = (
        max(1, round(side * metre / wanted))
        for side, metre in zip((scene.width, scene.height), metres, strict=True)
    )
    if height * width > config.input.max_pixels:
        raise SceneError(
            f"at read.gsd={wanted} the picture has {height} x {width} pixels, more than "
            f"input.max_pixels={config.input.max_pixels}: take a greater read.gsd"
        )
    across, along = scene.width / width, scene.height / height
    a, b, c, d, e, f = scene.transform
    return replace(
        scene,
        height=height,
        width=width,
        transform=(a * across, b * along, c, d * across, e * along, f),
        file_grid=Grid(scene.height, scene.width, scene.transform),
    )


def view(dataset: DatasetReader, scene: Scene) -> DatasetReader:
    """Return the file on the grid of its scene: itself, or a warped view, to be closed before it.

    Pixels are averages of the valid ones that they cover where the picture shrinks, and cubic
    where it grows. The grid is that of the scene, so that neighbouring windows agree.
    """
    if scene.file_grid is None:
        return dataset
    across, along = scene.file_pixels
    return WarpedVRT(
        dataset,
        src_crs=_PLANE,
        src_transform=_PIXELS,
        crs=_PLANE,
        transform=Affine.scale(across, -along),
        width=scene.width,
        height=scene.height,
        resampling=Resampling.average if across * along >= 1 else Resampling.cubic,
        tolerance=_EXACT,
        add_alpha=_has_mask_band(dataset),
        # A pixel is nodata if all of its bands are, not band by band.
        UNIFIED_SRC_NODATA="YES",
    )


def _has_mask_band(dataset: DatasetReader) -> bool:
    """Say whether only a mask band tells what is valid: a warped view keeps it as alpha."""
    told = dataset.nodata is not None or ColorInterp.alpha in dataset.colorinterp
    return MaskFlags.per_dataset in dataset.mask_flag_enums[0] and not told
