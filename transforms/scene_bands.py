"""Which bands of a file are rendered: by number, by name, or by what its header says of them."""

from collections.abc import Sequence

from rasterio import DatasetReader
from rasterio.enums import ColorInterp

from transforms.scene_checks import SceneError

_RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)


def choose_bands(dataset: DatasetReader, wanted: Sequence[int | str] | None) -> tuple[int, ...]:
    """Return the one or three bands to render, from 1.

    Those of the config, where a name is the description or the colour interpretation of a band,
    in any case; else red, green, blue by colour interpretation; else of the bands that are not
    alpha the first three of three or four, and the first of one or two.

    Raises SceneError, which lists what the file has, if there is no such band or several.
    """
    if wanted is not None:
        return tuple(_find(dataset, band, wanted) for band in wanted)
    meaning = dataset.colorinterp
    if all(colour in meaning for colour in _RGB):
        return tuple(meaning.index(colour) + 1 for colour in _RGB)
    light = [band for band in dataset.indexes if meaning[band - 1] is not ColorInterp.alpha]
    if not 1 <= len(light) <= 4:
        raise SceneError(
            f"{dataset.count} bands, and none is marked red, green and blue: declare which to "
            "render, such as read.bands: [5, 3, 2]"
        )
    return tuple(light[:3] if len(light) >= 3 else light[:1])


def _find(dataset: DatasetReader, band: int | str, wanted: Sequence[int | str]) -> int:
    if isinstance(band, int):
        if band > dataset.count:
            raise SceneError(
                f"read.bands wants {list(wanted)}, but the file has {dataset.count} bands"
            )
        return band
    name = band.strip().casefold()
    found = [index for index in dataset.indexes if name in _names(dataset, index)]
    if len(found) == 1:
        return found[0]
    raise SceneError(
        f"read.bands wants {band!r}, and {len(found) or 'no'} bands of the file are called that: "
        f"take numbers, or names of these: {_list_bands(dataset)}"
    )


def _names(dataset: DatasetReader, index: int) -> set[str]:
    said = (dataset.descriptions[index - 1], dataset.colorinterp[index - 1].name)
    return {name.strip().casefold() for name in said if name} - {ColorInterp.undefined.name}


def _list_bands(dataset: DatasetReader) -> str:
    names = (" or ".join(sorted(_names(dataset, index))) for index in dataset.indexes)
    return ", ".join(f"{index} ({name or 'no name'})" for index, name in enumerate(names, start=1))
