"""EXIF: what it says is kept, what it cannot mean is not; GDAL's reading is the witness."""

import dataclasses
import io
import math
import re
import struct
import warnings

import fsspec
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.ExifTags import GPS, IFD, Base
from PIL.TiffImagePlugin import IFDRational
from rasterio.errors import NotGeoreferencedWarning
from scenes import DATA

from transforms.exif import Exif, read_exif

PLACE = {
    GPS.GPSLatitudeRef: "S",
    GPS.GPSLatitude: (22.0, 54.0, 30.0),
    GPS.GPSLongitudeRef: "W",
    GPS.GPSLongitude: (43.0, 10.0, 48.0),
}
TAKEN = {Base.DateTimeOriginal: "2024:02:29 23:59:58", Base.OffsetTimeOriginal: "-03:00"}
NOTHING = IFDRational(0, 0)
STAMP = {GPS.GPSDateStamp: "2024:03:01", GPS.GPSTimeStamp: (2.0, 59.0, 57.25)}
REAL = sorted([*(DATA / "street").rglob("*.[jJ]*"), *DATA.glob("vehicles_minsk/DJI_00??.JPG")])

needs_data = pytest.mark.skipif(not REAL, reason="the pictures are not there")


def exif_bytes(gps=None, details=None, **tags):
    exif = Image.Exif()
    exif.update({getattr(Base, name): value for name, value in tags.items()})
    exif[IFD.GPSInfo] = gps or {}
    exif[IFD.Exif] = details or {}
    return exif.tobytes()


def write(path, *, exif=None, size=(8, 8)):
    Image.new("RGB", size).save(path, **({} if exif is None else {"exif": exif}))
    return path


def read_made(tmp_path, gps=None, details=None, **tags) -> Exif:
    return read_exif(str(write(tmp_path / "a.jpg", exif=exif_bytes(gps, details, **tags))))


def gdal_tags(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as dataset:
            return dataset.tags()


def gdal_degrees(tags, name):
    degrees, minutes, seconds = map(float, re.findall(r"[\d.]+", tags[f"EXIF_GPS{name}"]))
    sign = -1 if tags[f"EXIF_GPS{name}Ref"] in "SW" else 1
    return sign * (degrees + minutes / 60 + seconds / 3600)


@needs_data
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.name)
def test_real_pictures_lie_where_gdal_says(path):
    tags, exif = gdal_tags(path), read_exif(str(path))
    longitude, latitude = exif.position
    # GDAL prints six digits.
    assert longitude == pytest.approx(gdal_degrees(tags, "Longitude"), abs=1e-7)
    assert latitude == pytest.approx(gdal_degrees(tags, "Latitude"), abs=1e-7)
    assert exif.altitude == pytest.approx(float(tags["EXIF_GPSAltitude"].strip("()")), abs=1e-3)
    assert exif.orientation == int(tags["EXIF_Orientation"])


@needs_data
def test_the_time_of_a_real_picture_has_its_zone():
    times = {path.name: read_exif(str(path)).time for path in REAL}
    assert times["DSC00497.JPG"] == "2018-06-08T13:32:28-07:00"
    # A drone that knows neither its zone nor the time of its GPS.
    assert times["DJI_0012.JPG"] is None


@needs_data
def test_a_frame_of_a_video_has_no_position():
    with pytest.raises(ValueError, match=r"no GPS position.*input\.geometry: grid"):
        read_exif(str(DATA / "vehicles_minsk" / "DJI_0762-00001.jpg")).camera("minsk")


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_every_format_tells_the_same(tmp_path, suffix):
    exif = exif_bytes(PLACE, TAKEN, Orientation=6)
    read = read_exif(str(write(tmp_path / f"a.{suffix}", exif=exif)))
    assert read.position == pytest.approx((-43.18, -22.908333), abs=1e-6)
    assert (read.orientation, read.time) == (6, "2024-02-29T23:59:58-03:00")


def test_a_picture_without_exif_is_upright_and_nowhere(tmp_path):
    assert read_exif(str(write(tmp_path / "a.jpg"))) == Exif()
    (tmp_path / "a.vrt").write_text("<VRTDataset/>")
    assert read_exif(str(tmp_path / "a.vrt")) == Exif()


def test_a_url_is_read_as_a_file(tmp_path):
    path = write(tmp_path / "a.jpg", exif=exif_bytes(PLACE))
    assert read_exif(path.as_uri()) == read_exif(str(path))


def test_only_headers_are_read(tmp_path):
    whole = write(tmp_path / "a.jpg", exif=exif_bytes(PLACE), size=(640, 480))
    content = whole.read_bytes()
    cut = tmp_path / "b.jpg"
    cut.write_bytes(content[: content.index(b"\xff\xda") + 20])
    assert len(cut.read_bytes()) < len(content)
    assert read_exif(str(cut)) == read_exif(str(whole))


def test_a_wide_panorama_is_no_bomb(tmp_path):
    path = write(tmp_path / "a.jpg", exif=exif_bytes(PLACE))
    content = bytearray(path.read_bytes())
    size = content.index(b"\xff\xc0") + 5
    content[size : size + 4] = struct.pack(">HH", 32_000, 64_000)
    path.write_bytes(bytes(content))
    with pytest.raises(Image.DecompressionBombError):
        Image.open(path)
    assert read_exif(str(path)).position is not None


def test_a_camera_knows_its_sequence(tmp_path):
    gps = PLACE | {GPS.GPSAltitude: 12.5, GPS.GPSImgDirection: 271.25}
    camera = read_made(tmp_path, gps).camera("street/a")
    assert (camera.sequence, camera.altitude, camera.heading) == ("street/a", 12.5, 271.25)
    assert (camera.longitude, camera.latitude) == pytest.approx((-43.18, -22.908333), abs=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        {GPS.GPSLatitude: (NOTHING, NOTHING, NOTHING)},
        {GPS.GPSLatitude: (22.0, 54.0, NOTHING)},
        {GPS.GPSLatitude: (90.0, 0.0, 1.0)},
        {GPS.GPSLongitude: (180.0, 0.0, 1.0)},
        {GPS.GPSLatitude: (22.0, 54.0)},
        {GPS.GPSLatitudeRef: "X"},
        {GPS.GPSLatitudeRef: None},
        # A receiver without a fix writes zeros.
        {GPS.GPSLatitude: (0.0, 0.0, 0.0), GPS.GPSLongitude: (0.0, 0.0, 0.0)},
    ],
    ids=str,
)
def test_a_position_that_cannot_be_is_refused_with_what_it_was(tmp_path, wrong):
    gps = {tag: value for tag, value in (PLACE | wrong).items() if value is not None}
    exif = read_made(tmp_path, gps)
    assert exif.position is None
    with pytest.raises(ValueError, match=r"unusable \(GPSLongitude=.*add GPS to its EXIF"):
        exif.camera("a")


@pytest.mark.parametrize(
    ("reference", "altitude"),
    [(None, 3.5), (b"\0", 3.5), (b"\1", -3.5), (b"\2", None), (b"\3", None), (b"0", None)],
)
def test_altitude_takes_its_sign_from_the_reference(tmp_path, reference, altitude):
    gps = {GPS.GPSAltitude: 3.5} | ({} if reference is None else {GPS.GPSAltitudeRef: reference})
    assert read_made(tmp_path, gps).altitude == altitude


@pytest.mark.parametrize(
    ("reference", "value", "heading"),
    [
        ("T", 0.0, 0),
        ("T", 359.5, 359.5),
        ("T", 360.0, 0),
        (None, 90.0, 90),
        ("M", 90.0, None),
        ("T", 361.0, None),
        ("T", NOTHING, None),
    ],
)
def test_a_heading_is_true_and_within_the_circle(tmp_path, reference, value, heading):
    gps = {GPS.GPSImgDirection: value}
    gps |= {} if reference is None else {GPS.GPSImgDirectionRef: reference}
    assert read_made(tmp_path, gps).heading == heading


@pytest.mark.parametrize(("said", "orientation"), [(n, n) for n in range(1, 9)] + [(0, 1), (9, 1)])
def test_an_orientation_is_one_of_eight(tmp_path, said, orientation):
    assert read_made(tmp_path, Orientation=said).orientation == orientation


@pytest.mark.parametrize(
    ("gps", "details", "time"),
    [
        ({}, TAKEN, "2024-02-29T23:59:58-03:00"),
        (STAMP, TAKEN, "2024-02-29T23:59:58-03:00"),
        ({}, TAKEN | {Base.SubsecTimeOriginal: "075"}, "2024-02-29T23:59:58.075-03:00"),
        ({}, TAKEN | {Base.SubsecTimeOriginal: "n/a"}, "2024-02-29T23:59:58-03:00"),
        ({}, TAKEN | {Base.OffsetTimeOriginal: "Z"}, "2024-02-29T23:59:58Z"),
        # Local time of an unknown zone is no instant.
        ({}, {Base.DateTimeOriginal: "2024:02:29 23:59:58"}, None),
        ({}, TAKEN | {Base.OffsetTimeOriginal: "-0300"}, None),
        ({}, TAKEN | {Base.OffsetTimeOriginal: "+25:00"}, None),
        ({}, TAKEN | {Base.DateTimeOriginal: "2023:02:29 23:59:58"}, None),
        ({}, TAKEN | {Base.DateTimeOriginal: "0000:00:00 00:00:00"}, None),
        (STAMP, {}, "2024-03-01T02:59:57.250Z"),
        (STAMP | {GPS.GPSTimeStamp: (2.0, 59.0, 57.0)}, {}, "2024-03-01T02:59:57Z"),
        # A leap second.
        (STAMP | {GPS.GPSTimeStamp: (23.0, 59.0, 60.0)}, {}, "2024-03-02T00:00:00Z"),
        (STAMP | {GPS.GPSTimeStamp: (24.0, 0.0, 0.0)}, {}, None),
        (STAMP | {GPS.GPSTimeStamp: (NOTHING, 0.0, 0.0)}, {}, None),
        ({GPS.GPSDateStamp: "2024:03:01"}, {}, None),
    ],
)
def test_a_time_has_a_zone_or_is_not_told(tmp_path, gps, details, time):
    assert read_made(tmp_path, gps, details).time == time


@given(st.integers(0, 179), st.integers(0, 59), st.integers(0, 59_999), st.sampled_from("EW"))
def test_degrees_come_back(degrees, minutes, millis, side):
    seconds = IFDRational(millis, 1000)
    gps = PLACE | {GPS.GPSLongitude: (degrees, minutes, seconds), GPS.GPSLongitudeRef: side}
    exif = read_content(jpeg_with(exif_bytes(gps)))
    expected = (degrees * 3_600_000 + minutes * 60_000 + millis) / 3_600_000
    assert exif.position[0] == pytest.approx(math.copysign(expected, side == "E" or -1))


def jpeg_with(exif: bytes) -> bytes:
    """Return a JPEG with these bytes as its EXIF segment, whatever they are."""
    plain = io.BytesIO()
    Image.new("RGB", (8, 8)).save(plain, "JPEG")
    body = b"Exif\0\0" + exif.removeprefix(b"Exif\0\0")
    segment = b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
    return plain.getvalue()[:2] + segment + plain.getvalue()[2:]


def read_content(content: bytes) -> Exif:
    """Read a picture from a file system in memory."""
    fsspec.filesystem("memory").pipe("/exif.jpg", content)
    return read_exif("memory://exif.jpg")


GOOD = exif_bytes(PLACE | STAMP, TAKEN, Orientation=3)


def assert_read_or_refused(content):
    try:
        exif = read_content(content)
    except ValueError as error:
        assert "input.geometry: grid" in str(error)  # noqa: PT017
        return
    assert 1 <= exif.orientation <= 8
    assert (exif.position is None) == bool(exif.fault)
    known = [value for value in dataclasses.astuple(exif)[3:5] if value is not None]
    assert all(math.isfinite(value) for value in known)


@given(st.binary(max_size=300))
def test_random_exif_is_read_or_refused(content):
    assert_read_or_refused(jpeg_with(content))
    assert_read_or_refused(jpeg_with(b"MM\0*\0\0\0\x08" + content))


PLACES = st.integers(0, len(GOOD) - 1)


@given(st.dictionaries(PLACES, st.integers(0, 255), max_size=6), PLACES)
def test_damaged_exif_is_read_or_refused(damage, length):
    content = bytes(damage.get(place, byte) for place, byte in enumerate(GOOD))
    assert_read_or_refused(jpeg_with(content))
    assert_read_or_refused(jpeg_with(content[:length]))


@given(st.binary(max_size=200), st.sampled_from([b"\xff\xd8\xff", b"II*\0", b"\x89PNG", b"RIFF"]))
def test_a_file_that_only_begins_like_a_picture_is_read_or_refused(content, magic):
    assert_read_or_refused(magic + content)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no\.jpg cannot be read \(FileNotFoundError"):
        read_exif(str(tmp_path / "no.jpg"))
