"""Files that are no scenes, or not the ones that they were: what each is, and how it is made."""

import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.ExifTags import GPS, IFD
from rasterio.transform import Affine
from scenes import textured, transform_of, write_labels, write_picture, write_scene

HEIGHT, WIDTH = 150, 200
PICTURE = textured(HEIGHT, WIDTH, seed=1)
DEGREES = Affine(1e-5, 0, 9, 0, -1e-5, 50)
FAR = Affine(0.15, 0, 700_000, 0, -0.15, 5_800_000)


@dataclass(frozen=True)
class Bad:
    """A bad scene: `write` makes it in a folder, beside which other files may lie.

    `settings` are those of `input`, in which {folder} is that folder's parent.
    """

    cause: str
    write: Callable[[Path], Path]
    exception: str = "SceneError"
    settings: Mapping[str, Any] = field(default_factory=dict)


def no_crs(folder: Path) -> Path:
    return write_picture(folder / "bad.tif", PICTURE, crs=None, transform=transform_of())


def metres_in_degrees(folder: Path) -> Path:
    return write_picture(folder / "bad.tif", PICTURE, crs="EPSG:4326", transform=transform_of())


def degrees_in_metres(folder: Path) -> Path:
    return write_picture(folder / "bad.tif", PICTURE, transform=DEGREES)


def other_sidecar(folder: Path) -> Path:
    path = write_picture(folder / "bad.tif", PICTURE)
    (folder / "bad.tfw").write_text("0.15\n0\n0\n-0.15\n500000\n5800000\n")
    return path


def unread_world_file(folder: Path) -> Path:
    Image.fromarray(PICTURE).save(folder / "bad.webp")
    (folder / "bad.wld").write_text("0.15\n0\n0\n-0.15\n600000\n5800000\n")
    return folder / "bad.webp"


def far_away(folder: Path) -> Path:
    box = np.array([[[10, 10], [60, 10], [60, 60], [10, 60]]])
    write_labels(folder.parent / "area.geojson", box, ["here"])
    return write_picture(folder / "bad.tif", PICTURE, transform=FAR)


def deep(folder: Path) -> Path:
    return write_scene(folder / "bad.tif", PICTURE.transpose(2, 0, 1).astype(np.uint16))


def five_bands(folder: Path) -> Path:
    bands = np.repeat(PICTURE[..., :1], 5, axis=2).transpose(2, 0, 1)
    return write_scene(folder / "bad.tif", bands, photometric="minisblack", alpha="no")


def complex_pixels(folder: Path) -> Path:
    return write_scene(folder / "bad.tif", PICTURE[None, ..., 0].astype(np.complex64))


def palette(folder: Path) -> Path:
    Image.fromarray(PICTURE).quantize(16).save(folder / "bad.png")
    return folder / "bad.png"


def mixed_types(folder: Path) -> Path:
    """Write a VRT whose third band is 16-bit, as those of two sensors put together."""
    write_picture(folder.parent / "light.tif", PICTURE)
    write_scene(folder.parent / "nir.tif", PICTURE[None, ..., 0].astype(np.uint16))
    bands = [("Byte", "light.tif", 1), ("Byte", "light.tif", 2), ("UInt16", "nir.tif", 1)]
    return write_vrt(folder / "bad.vrt", *bands)


def write_vrt(path: Path, *bands: tuple[str, str, int], more: str = "", kind: str = "") -> Path:
    """Write a VRT over files in the folder above, each band (type, file, its band)."""
    sources = "".join(
        f'<VRTRasterBand dataType="{dtype}" band="{band}"{kind}>{more}<SimpleSource>'
        f'<SourceFilename relativeToVRT="1">../{name}</SourceFilename>'
        f"<SourceBand>{number}</SourceBand></SimpleSource></VRTRasterBand>"
        for band, (dtype, name, number) in enumerate(bands, start=1)
    )
    size = f'rasterXSize="{WIDTH}" rasterYSize="{HEIGHT}"'
    path.write_text(f"<VRTDataset {size}>{sources}</VRTDataset>")
    return path


def leads_out(folder: Path) -> Path:
    write_picture(folder.parent / "secret.tif", PICTURE)
    return write_vrt(folder / "bad.vrt", ("Byte", "secret.tif", 1))


def python_in_vrt(folder: Path) -> Path:
    write_picture(folder.parent / "light.tif", PICTURE)
    code = (
        "<PixelFunctionType>run</PixelFunctionType>"
        "<PixelFunctionLanguage>Python</PixelFunctionLanguage>"
        f"<PixelFunctionCode>open('{folder}/pwned', 'w')</PixelFunctionCode>"
    )
    kind = ' subClass="VRTDerivedRasterBand"'
    return write_vrt(folder / "bad.vrt", ("Byte", "light.tif", 1), more=code, kind=kind)


def huge_png(folder: Path) -> Path:
    """Write a PNG of which only the header claims its size."""
    header = struct.pack(">IIBBBBB", 200_000, 200_000, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 4096)), (b"IEND", b"")]
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in parts
    )
    (folder / "bad.png").write_bytes(content)
    return folder / "bad.png"


def too_wide_jpeg(folder: Path) -> Path:
    """Write a JPEG whose header claims the 65,535 columns that the format can count."""
    Image.fromarray(PICTURE).save(folder / "bad.jpg")
    content = bytearray((folder / "bad.jpg").read_bytes())
    size = content.index(b"\xff\xc0") + 5
    assert struct.unpack_from(">HH", content, size) == (HEIGHT, WIDTH)
    struct.pack_into(">H", content, size + 2, 65_535)
    (folder / "bad.jpg").write_bytes(content)
    return folder / "bad.jpg"


def giant_strips(folder: Path) -> Path:
    """Write a TIFF of 200 bytes in two strips, of which the first would have 1.2 GB.

    GDAL reads a single strip row by row, which is slow and no bomb.
    """
    side, strip = 40_000, zlib.compress(b"\0" * 4096)
    lists = 8 + 2 + 9 * 12 + 4
    tags = [
        (256, 1, side), (257, 1, side), (258, 1, 8), (259, 1, 8),  # width, height, bits, deflate
        (262, 1, 1), (273, 2, lists), (277, 1, 1), (278, 1, 30_000), (279, 2, lists + 8),
    ]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 4, count, value) for tag, count, value in tags)
    where = struct.pack("<IIII", lists + 16, lists + 16, len(strip), len(strip))
    head = b"II*\0" + struct.pack("<IH", 8, len(tags))
    (folder / "bad.tif").write_bytes(head + entries + b"\0" * 4 + where + strip)
    return folder / "bad.tif"


def write_photo(path: Path, *, gps: bool) -> Path:
    exif = Image.Exif()
    if gps:
        here = {GPS.GPSLatitudeRef: "N", GPS.GPSLatitude: (52.0, 30.0, 36.0)}
        here |= {GPS.GPSLongitudeRef: "E", GPS.GPSLongitude: (13.0, 24.0, 0.0)}
        exif.get_ifd(IFD.GPSInfo).update(here)
    Image.fromarray(PICTURE).save(path, exif=exif, quality=95)
    return path


def lost_camera(folder: Path) -> Path:
    return write_photo(folder / "bad.jpg", gps=False)


def empty(folder: Path) -> Path:
    (folder / "bad.tif").touch()
    return folder / "bad.tif"


def cut_off(folder: Path) -> Path:
    path = write_picture(folder / "bad.tif", PICTURE)
    path.write_bytes(path.read_bytes()[:200])
    return path


def missing(folder: Path) -> Path:
    return folder / "bad.tif"


BAD = [
    Bad("not there", missing),
    Bad("empty", empty),
    Bad("cut off", cut_off),
    Bad("coordinates, but no CRS", no_crs),
    Bad("metres in a CRS of degrees", metres_in_degrees),
    Bad("degrees in a CRS of metres", degrees_in_metres),
    Bad("a sidecar says something else", other_sidecar),
    Bad("a world file that GDAL does not read", unread_world_file),
    Bad("outside the area of interest", far_away, settings={"aoi": "{folder}/area.geojson"}),
    Bad("16 bits, and no stretch", deep),
    Bad("five bands without meaning", five_bands),
    Bad("bands of different types", mixed_types, settings={"roots": ["{folder}"]}),
    Bad("complex numbers", complex_pixels),
    Bad("a palette", palette),
    Bad("a VRT that leads out of its folder", leads_out),
    Bad("a VRT with Python", python_in_vrt, settings={"roots": ["{folder}"]}),
    Bad("a header that claims too much", huge_png),
    Bad("blocks that are too large", giant_strips),
    Bad("a JPEG of more than 65,500 columns", too_wide_jpeg),
    Bad("no GPS, as a picture of a camera", lost_camera, settings={"geometry": "camera"}),
]
