"""EXIF: which way up a picture is, when it was taken, and from where.

Only headers are read (of WebP the file, undecoded): a panorama costs as little as a thumbnail.
"""

import math
import re
import struct
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from numbers import Real
from typing import IO, Any

from PIL import Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin
from PIL.ExifTags import GPS, IFD, Base
from upath import UPath

from transforms.records import Camera

FORMATS = {
    b"\xff\xd8\xff": JpegImagePlugin.JpegImageFile,
    b"II": TiffImagePlugin.TiffImageFile,
    b"MM": TiffImagePlugin.TiffImageFile,
    b"\x89PNG": PngImagePlugin.PngImageFile,
    b"RIFF": WebPImagePlugin.WebPImageFile,
}
"""How files that may carry EXIF begin. `Image.open` would refuse large pictures as bombs, though
nobody decodes them here."""

MALFORMED = (
    ArithmeticError,
    LookupError,
    OSError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
)
"""What Pillow raises on a file or an EXIF that is cut or nonsense."""

OFFSET = re.compile(r"Z|[+-]([01]\d|2[0-3]):[0-5]\d", re.ASCII)
"""An offset from UTC as RFC 3339 wants it."""
DIGITS = re.compile(r"\d{1,9}", re.ASCII)


@dataclass(frozen=True)
class Exif:
    """What a picture's EXIF says, each part None where it is absent, void or nonsense.

    `orientation` is 1 to 8, and 1 where nothing sensible is said. `time` is RFC 3339: the original
    time where its offset from UTC is known, else the time of the GPS in UTC; a local time without a
    zone is not an instant. `position` is (longitude, latitude) in degrees of WGS 84, and `fault`
    says why there is none. `altitude` is in metres above the sea. `heading` is in degrees clockwise
    from true north: a magnetic one is left out, as nobody knows the declination here; one without a
    reference counts as true.
    """

    orientation: int = 1
    time: str | None = None
    position: tuple[float, float] | None = None
    altitude: float | None = None
    heading: float | None = None
    fault: str = "its EXIF has no GPS position"

    def camera(self, sequence: str) -> Camera:
        """Return the camera of a sequence; raises ValueError where the position is not known."""
        if self.position is None:
            raise ValueError(
                f"a picture of a camera needs its position, but {self.fault}: "
                "add GPS to its EXIF, or take input.geometry: grid"
            )
        longitude, latitude = self.position
        return Camera(longitude, latitude, self.altitude, self.heading, sequence)


def read_exif(path: str) -> Exif:
    """Read the EXIF of a file or URL; raises ValueError if the file or its EXIF is malformed.

    A picture without EXIF is not malformed, nor is a file of a format that has none.
    """
    try:
        with UPath(path).open("rb") as file, warnings.catch_warnings():
            # Pillow warns of a tag that is cut; the others are as good as ever.
            warnings.simplefilter("ignore")
            return _read(file)
    except MALFORMED as error:
        raise ValueError(
            f"the EXIF of {path} cannot be read ({type(error).__name__}: {error}): "
            "write it anew, or remove it and take input.geometry: grid"
        ) from error


def _read(file: IO[bytes]) -> Exif:
    start = file.read(4)
    file.seek(0)
    opener = next((FORMATS[magic] for magic in FORMATS if start.startswith(magic)), None)
    if opener is None:
        return Exif()
    # Not the method of PNG, which decodes the picture to look behind it.
    content = Image.Image.getexif(opener(file))
    gps, details = content.get_ifd(IFD.GPSInfo), content.get_ifd(IFD.Exif)
    position = _position(gps)
    return Exif(
        orientation=_orientation(content.get(Base.Orientation)),
        time=_original_time(details) or _gps_time(gps),
        position=None if isinstance(position, str) else position,
        altitude=_altitude(gps),
        heading=_heading(gps),
        fault=position if isinstance(position, str) else "",
    )


def _orientation(value: object) -> int:
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _position(gps: Mapping[int, Any]) -> tuple[float, float] | str:
    """Return longitude and latitude, or what is wrong with them."""
    tags = (GPS.GPSLongitude, GPS.GPSLongitudeRef, GPS.GPSLatitude, GPS.GPSLatitudeRef)
    if gps.get(GPS.GPSLongitude) is None or gps.get(GPS.GPSLatitude) is None:
        return "its EXIF has no GPS position"
    longitude = _degrees(gps, GPS.GPSLongitude, GPS.GPSLongitudeRef, "EW")
    latitude = _degrees(gps, GPS.GPSLatitude, GPS.GPSLatitudeRef, "NS")
    said = ", ".join(f"{tag.name}={gps.get(tag)!r}"[:60] for tag in tags)
    # nan compares false. Cameras without a fix write zeros.
    if not (abs(longitude) <= 180 and abs(latitude) <= 90) or longitude == latitude == 0:
        return f"its GPS position is unusable ({said})"
    return longitude, latitude


def _degrees(gps: Mapping[int, Any], tag: int, sign_tag: int, signs: str) -> float:
    """Return degrees from degrees, minutes and seconds; nan unless all is there and sensible."""
    parts, sign = gps[tag], _text(gps.get(sign_tag)).upper()
    if not isinstance(parts, tuple) or len(parts) != 3 or sign not in tuple(signs):
        return math.nan
    degrees, minutes, seconds = (_number(part) for part in parts)
    if not min(degrees, minutes, seconds) >= 0:
        return math.nan
    return (1 if sign == signs[0] else -1) * (degrees + minutes / 60 + seconds / 3600)


def _altitude(gps: Mapping[int, Any]) -> float | None:
    """Return the altitude; EXIF 3 added references (2, 3) to the ellipsoid, not the sea."""
    reference = gps.get(GPS.GPSAltitudeRef, 0)
    side = int.from_bytes(reference[:1]) if isinstance(reference, bytes) else reference
    altitude = _number(gps.get(GPS.GPSAltitude))
    if side not in (0, 1) or not math.isfinite(altitude):
        return None
    return altitude if side == 0 else -altitude


def _heading(gps: Mapping[int, Any]) -> float | None:
    heading = _number(gps.get(GPS.GPSImgDirection))
    true = _text(gps.get(GPS.GPSImgDirectionRef)).upper() in ("", "T")
    return heading % 360 if true and 0 <= heading <= 360 else None


def _original_time(details: Mapping[int, Any]) -> str | None:
    """Return the original time where its offset from UTC is known."""
    taken = _clock(details.get(Base.DateTimeOriginal), "%Y:%m:%d %H:%M:%S")
    offset = _text(details.get(Base.OffsetTimeOriginal))
    fraction = _text(details.get(Base.SubsecTimeOriginal))
    if taken is None or not OFFSET.fullmatch(offset):
        return None
    return f"{taken.isoformat()}{f'.{fraction}' if DIGITS.fullmatch(fraction) else ''}{offset}"


def _gps_time(gps: Mapping[int, Any]) -> str | None:
    """Return the time of the GPS in UTC, to the millisecond."""
    day = _clock(gps.get(GPS.GPSDateStamp), "%Y:%m:%d")
    parts = gps.get(GPS.GPSTimeStamp)
    if day is None or not isinstance(parts, tuple) or len(parts) != 3:
        return None
    hours, minutes, seconds = (_number(part) for part in parts)
    if not (0 <= hours < 24 and 0 <= minutes < 60 and 0 <= seconds < 61):
        return None
    moment = day + timedelta(hours=hours, minutes=minutes, seconds=round(seconds, 3))
    unit = "milliseconds" if moment.microsecond else "seconds"
    return f"{moment.isoformat(timespec=unit)}Z"


def _clock(value: object, form: str) -> datetime | None:
    try:
        return datetime.strptime(_text(value), form)
    except ValueError:
        return None


def _text(value: object) -> str:
    """Return the text of a tag, empty where it holds something else."""
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    return text.strip("\0 ") if isinstance(text, str) else ""


def _number(value: object) -> float:
    """Return a tag's number, nan where it holds something else, or a fraction of 0/0."""
    return float(value) if isinstance(value, Real) else math.nan
