"""What is fuzzed: every kind of file that others may hand to a run."""

import hashlib
import io
import json
import pickle
import shutil
import sqlite3
import struct
import tempfile
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cache, partial
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

import msgpack
import mutations
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio.raw
import pyproj
import pytest
import rasterio
import rasterio.shutil
import requests
import shapely
import yaml
from fuzzing import Target, Violation
from mutations import Mutator, or_scrambled
from PIL import Image
from PIL.ExifTags import GPS, IFD, Base
from scenes import textured, write_picture
from upath import UPath
from urllib3 import HTTPResponse

from configs.edit import set_number
from configs.load import load_yaml, override, validate
from configs.schema import InputConfig, RunConfig
from configs.train_deblurrer import DeblurrerTraining
from models.checkpoints import load_generator, save_generator
from models.networks import build
from models.unet import UNetOptions
from pipeline import manifest
from transforms.exif import read_exif
from transforms.headers import open_scene
from transforms.labels import open_labels
from transforms.read import read_tile
from transforms.records import Rejected, Scene, Source, TileRow
from transforms.scene_reader import SceneReader
from transforms.scenes import plan_scenes, plan_windows
from transforms.sources import list_sources
from transforms.unit_files import MAGIC, decode_unit, encode_unit

SIDE = 96
NAMES = ("vehicle", "ship")
CLASSES = {"car": "vehicle"}
INNER = ("127.0.0.1", "localhost", "169.254.169.254", "2852039166")
LIMITS = {"max_pixels": 2**22, "max_block": 2**24}


@cache
def _folder() -> Path:
    """Return where the valid files lie that cases are made of."""
    return Path(tempfile.mkdtemp(prefix="fuzz-seeds-"))


def _once(name: str, write: Callable[[Path], object]) -> bytes:
    """Return the content of a valid file, which is written when it is first asked for."""
    path = _folder() / name
    if not path.exists():
        write(path)
    return path.read_bytes()


# Scenes


def _geotiff(path: Path, **profile: Any) -> None:
    write_picture(path, textured(SIDE, SIDE, seed=1), blockxsize=64, blockysize=64, **profile)


def _converted(path: Path, driver: str, **options: Any) -> None:
    source = path.with_suffix(".source.tif")
    _geotiff(source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rasterio.shutil.copy(str(source), str(path), driver=driver, **options)


def _with_exif(path: Path, kind: str) -> None:
    exif = Image.Exif()
    exif[Base.Orientation] = 6
    exif.get_ifd(IFD.Exif)[Base.DateTimeOriginal] = "2026:05:01 10:00:00"
    exif.get_ifd(IFD.Exif)[Base.OffsetTimeOriginal] = "+02:00"
    gps = {GPS.GPSLatitudeRef: "N", GPS.GPSLatitude: (48.0, 8.0, 5.5), GPS.GPSLongitudeRef: "E"}
    gps |= {GPS.GPSLongitude: (11.0, 34.0, 1.25), GPS.GPSImgDirection: 12.5, GPS.GPSAltitude: 519.0}
    gps |= {GPS.GPSDateStamp: "2026:05:01", GPS.GPSTimeStamp: (8.0, 0.0, 0.5)}
    exif.get_ifd(IFD.GPSInfo).update(gps)
    Image.fromarray(textured(32, 32, seed=2)).save(path, kind, exif=exif)


SCENES: Mapping[str, tuple[Callable[[Path], object], Mutator]] = {
    "tiled.tif": (partial(_geotiff, compress="deflate"), mutations.tiff),
    "lzw.tif": (partial(_geotiff, compress="lzw", predictor=2), mutations.tiff),
    "jpeg.tif": (partial(_geotiff, compress="jpeg", photometric="ycbcr"), mutations.tiff),
    "strips.tif": (partial(_geotiff, tiled=False, compress="packbits"), mutations.tiff),
    "nodata.tif": (partial(_geotiff, nodata=7, interleave="band"), mutations.tiff),
    "cog.tif": (partial(_converted, driver="COG", BLOCKSIZE=128, COMPRESS="LZW"), mutations.tiff),
    "picture.jpg": (partial(_converted, driver="JPEG", WORLDFILE="YES"), mutations.jpeg),
    "picture.png": (partial(_converted, driver="PNG"), mutations.png),
    "picture.webp": (partial(_converted, driver="WEBP"), mutations.riff),
    "lossless.webp": (partial(_converted, driver="WEBP", LOSSLESS="YES"), mutations.riff),
    "scene.jp2": (partial(_converted, driver="JP2OpenJPEG", QUALITY=50), mutations.boxes),
}


def _make_scene(name: str, random: Random, folder: Path) -> Path:
    write, mutate = SCENES[name]
    path = folder / name
    path.write_bytes(or_scrambled(mutate)(random, _once(name, write)))
    if random.random() < 0.1:
        sidecar = path.with_name(f"{name}.aux.xml")
        sidecar.write_bytes(mutations.xml(random, AUX.encode()))
    return path


AUX = (
    "<PAMDataset><SRS>EPSG:32632</SRS><GeoTransform>600000,0.15,0,5800000,0,-0.15</GeoTransform>"
    '<PAMRasterBand band="1"><Metadata><MDI key="STATISTICS_MINIMUM">1</MDI></Metadata>'
    "<NoDataValue>7</NoDataValue></PAMRasterBand></PAMDataset>"
)


def _make_vrt(random: Random, folder: Path) -> Path:
    (folder / "a.tif").write_bytes(_once(*_first_scene()))
    sources = "".join(
        f'<VRTRasterBand dataType="Byte" band="{band}"><ColorInterp>{colour}</ColorInterp>'
        '<SimpleSource><SourceFilename relativeToVRT="1">a.tif</SourceFilename>'
        f'<SourceBand>{band}</SourceBand><SrcRect xOff="0" yOff="0" xSize="96" ySize="96"/>'
        '<DstRect xOff="0" yOff="0" xSize="96" ySize="96"/></SimpleSource></VRTRasterBand>'
        for band, colour in enumerate(("Red", "Green", "Blue"), start=1)
    )
    place = "<SRS>EPSG:32632</SRS><GeoTransform>600000,0.15,0,5800000,0,-0.15</GeoTransform>"
    whole = f'<VRTDataset rasterXSize="{SIDE}" rasterYSize="{SIDE}">{place}{sources}</VRTDataset>'
    path = folder / "scene.vrt"
    path.write_bytes(or_scrambled(mutations.xml, 0.15)(random, whole.encode()))
    return path


def _first_scene() -> tuple[str, Callable[[Path], object]]:
    return "tiled.tif", SCENES["tiled.tif"][0]


def _make_mbtiles(random: Random, folder: Path) -> Path:
    write = partial(_converted, driver="MBTiles", TILE_FORMAT="PNG")
    path = folder / "maps.mbtiles"
    path.write_bytes(_once("maps.mbtiles", write))
    if random.random() < 0.5:
        path.write_bytes(mutations.scramble(random, path.read_bytes()))
        return path
    with suppress(sqlite3.Error), sqlite3.connect(path) as tables:
        kind = random.randrange(4)
        word = random.choice((*mutations.WORDS, *map(str, mutations.NUMBERS)))
        word = word.encode(errors="replace").decode()
        if kind == 0:
            change = "UPDATE metadata SET value = ? WHERE rowid = ?"
            tables.execute(change, (word, random.randrange(12)))
        elif kind == 1:
            field = random.choice(("zoom_level", "tile_column", "tile_row"))
            tables.execute(f"UPDATE tiles SET {field} = ?", (random.choice(mutations.NUMBERS),))
        elif kind == 2:
            blob = tables.execute("SELECT tile_data FROM tiles").fetchone()[0]
            changed = random.choice((mutations.png, mutations.scramble))(random, blob)
            tables.execute("UPDATE tiles SET tile_data = ?", (changed,))
        else:
            tables.execute(f"DROP TABLE {random.choice(('metadata', 'tiles'))}")
    return path


def _make_map_tiles(random: Random, folder: Path) -> Path:
    tiles = folder / "tiles"
    picture = Image.fromarray(textured(256, 256, seed=3))
    for name, mutate in (("1/0/0.png", mutations.png), ("1/1/0.jpg", mutations.jpeg)):
        valid = _once(f"tile{name[-4:]}", picture.save)
        path = tiles / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(or_scrambled(mutate)(random, valid) if random.random() < 0.6 else valid)
    return tiles


def _use_scene(path: Path, **settings: Any) -> str:
    """Plan a scene and read its first windows."""
    content = {
        "input": {"scenes": [str(path)], **LIMITS, **settings},
        "read": {"core": 64, "halo": 32, "stretch": {"percentiles": [2, 98]}},
        "engine": {"read_seconds": None},
    }
    config = validate(RunConfig, content, source="fuzzing")
    scenes, rejected = plan_scenes(config)
    _check_rejects(rejected)
    reader = SceneReader(config.input)
    try:
        for scene in scenes:
            for window in islice(plan_windows(scene, config.read), 3):
                tile = read_tile(window, reader, None, config.read)
                if isinstance(tile, Rejected):
                    _check_rejects([tile])
                    rejected.append(tile)
    finally:
        reader.close()
    return "rejected" if rejected else "read"


def _check_rejects(rejected: list[Rejected]) -> None:
    for reject in rejected:
        if not (reject.message and reject.stage and reject.exception):
            raise Violation(f"a reject says nothing: {reject}")


EXIFS = (
    ("jpg", "JPEG", mutations.jpeg),
    ("png", "PNG", mutations.png),
    ("webp", "WEBP", mutations.riff),
    ("tif", "TIFF", mutations.tiff),
)


def _make_exif(random: Random, folder: Path) -> Path:
    suffix, kind, mutate = random.choice(EXIFS)
    valid = _once(f"exif.{suffix}", partial(_with_exif, kind=kind))
    at = valid.find(b"II*\0") if b"Exif\0\0II*\0" in valid else valid.find(b"MM\0*")
    if at > 0 and random.random() < 0.6:  # within the tags themselves, sizes kept
        end = min(len(valid), at + 400)
        inside = bytearray(valid[at:end])
        for _ in range(random.choice((1, 2, 4))):
            spot = random.randrange(len(inside) - 8)
            size = random.choice((1, 2, 4))
            inside[spot : spot + size] = mutations.interesting(random, size)
        changed = valid[:at] + bytes(inside) + valid[end:]
    else:
        changed = or_scrambled(mutate)(random, valid)
    path = folder / f"photo.{suffix}"
    path.write_bytes(changed)
    return path


def _use_exif(path: Path) -> str:
    found = read_exif(str(path))
    with suppress(ValueError):
        found.camera("sequence")
    return "read"


# Labels


@cache
def _scene() -> Scene:
    path = _folder() / "scene.tif"
    _geotiff(path)
    return open_scene(Source("scene.tif", str(path)), RunConfig())


def _use_labels(path: Path, form: str = "auto") -> str:
    settings = {"labels": path, "label_format": form, "label_names": NAMES}
    labels = open_labels(InputConfig(**settings, label_classes=CLASSES), NAMES)
    assert labels is not None
    scene = _scene()
    labels.outside([scene])
    labels.total([scene])
    for window in islice(plan_windows(scene, RunConfig().read), 2):
        labels.around(window)
    return "read"


def _polygons() -> list[list[list[float]]]:
    left, top = 600_000.0, 5_800_000.0
    box = np.add([[1, -1], [4, -1], [4, -3], [1, -3], [1, -1]], (left, top))
    return [(box + shift).tolist() for shift in (0, 2, 5)]


def _geojson() -> dict[str, Any]:
    features = [
        {
            "type": "Feature",
            "properties": {"class": name, "ignore": 0, "iscrowd": False},
            "geometry": {"type": "Polygon", "coordinates": [ring]},
        }
        for ring, name in zip(_polygons(), ("car", "ship", "vehicle"), strict=True)
    ]
    named = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32632"}}
    return {"type": "FeatureCollection", "crs": named, "features": features}


def _coco() -> dict[str, Any]:
    marks = [
        {"id": 1, "image_id": 7, "category_id": 1, "bbox": [4, 5, 20, 10], "iscrowd": 0},
        {"id": 2, "image_id": 7, "category_id": 2, "segmentation": [[1, 1, 9, 2, 8, 9, 1, 8]]},
        {"id": 3, "image_id": 8, "category_id": 1, "bbox": [4, 5, 20, 10], "ignore": 1},
    ]
    images = [
        {"id": 7, "file_name": "scene.tif", "height": SIDE, "width": SIDE},
        {"id": 8, "file_name": "folder/other.tif", "height": SIDE, "width": SIDE},
    ]
    kinds = [{"id": 1, "name": "car"}, {"id": 2, "name": "ship"}]
    return {"images": images, "annotations": marks, "categories": kinds}


def _make_json(content: Callable[[], Any], name: str, random: Random, folder: Path) -> Path:
    path = folder / name
    path.write_bytes(mutations.as_json(random, content()))
    return path


def _make_text(lines: str, name: str, random: Random, folder: Path) -> Path:
    path = folder / "labels" / name
    path.parent.mkdir()
    path.write_bytes(or_scrambled(mutations.text, 0.2)(random, lines.encode()))
    return path


def _use_folder(path: Path, form: str) -> str:
    return _use_labels(path.parent, form)


YOLO = "0 0.5 0.5 0.2 0.1\n1 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.2\n0 0.25 0.75 0.125 0.0625\n"
DOTA = "imagesource:none\ngsd:0.15\n1 1 20 1 20 10 1 10 car 0\n30 30 40 35 35 45 25 40 ship 1\n"


def _write_ogr(path: Path, driver: str) -> None:
    shapes = shapely.to_wkb([shapely.Polygon(ring) for ring in _polygons()])
    classes = np.array(["car", "ship", "vehicle"], object)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pyogrio.raw.write(path, shapes, [classes], ["class"], geometry_type="Polygon",
                          crs="EPSG:32632", driver=driver)  # fmt: skip


def _make_ogr(suffix: str, driver: str, random: Random, folder: Path) -> Path:
    """Copy a vector file with all its parts, one of them changed."""
    valid = _folder() / suffix
    if not valid.exists():
        valid.mkdir()
        _write_ogr(valid / f"labels.{suffix}", driver)
    shutil.copytree(valid, folder, dirs_exist_ok=True)
    chosen = random.choice(sorted(folder.iterdir()))
    chosen.write_bytes(mutations.scramble(random, chosen.read_bytes()))
    return folder / f"labels.{suffix}"


def _make_geoparquet(random: Random, folder: Path) -> Path:
    geo: Any = {
        "version": "1.1.0",
        "primary_column": "geometry",
        "columns": {"geometry": {"encoding": "WKB", "geometry_types": [], "crs": None}},
    }
    geo["columns"]["geometry"]["crs"] = pyproj.CRS("EPSG:32632").to_json_dict()
    shapes = [shapely.to_wkb(shapely.Polygon(ring)) for ring in _polygons()]
    if random.random() < 0.5:
        at = random.randrange(len(shapes))
        shapes[at] = mutations.scramble(random, shapes[at])
    classes: list[Any] = ["car", "ship", random.choice((*NAMES, *NAMES, "car", None, "", "plane"))]
    columns: dict[str, Any] = {"geometry": shapes, "class": classes}
    if random.random() < 0.2:
        columns["ignore"] = random.choice(([0, 1, None], ["a", "b", "c"], [0.5, 1.0, 0.0]))
    described = mutations.tree(random, geo) if random.random() < 0.6 else geo
    written = json.dumps(described).encode()
    table = pa.table(columns)
    if random.random() < 0.95:
        table = table.replace_schema_metadata({"geo": written})
    path = folder / "labels.parquet"
    pq.write_table(table, path)
    if random.random() < 0.3:
        path.write_bytes(mutations.scramble(random, path.read_bytes()))
    return path


# Names of scenes: lists, indexes, catalogues


def _use_sources(path: Path, **settings: Any) -> str:
    inner = settings or {"scenes": [str(path)]}
    with _canned_web(path):
        sources, rejected = list_sources(InputConfig(**inner))
    _check_rejects(rejected)
    for name in [*(source.name for source in sources), *(reject.scene for reject in rejected)]:
        if ".." in name.split("/") or name.startswith("/") or not name:
            raise Violation(f"a scene is called {name!r}")
        json.dumps(name, ensure_ascii=False).encode()
    outside = [source.path for source in sources if source.path.startswith("/")]
    if settings and any(not place.startswith(str(path.parent)) for place in outside):
        raise Violation(f"a catalogue names files elsewhere: {outside}")
    return "rejected" if rejected else "read"


@contextmanager
def _canned_web(path: Path) -> Iterator[None]:
    """Answer every request with 404, and refuse those to machines of the inner network."""

    def send(_: object, request: requests.PreparedRequest, **__: Any) -> requests.Response:
        host = urlsplit(str(request.url)).hostname or ""
        if host in INNER:
            raise Violation(f"{request.url} was asked for")
        return _answer(request, None)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(requests.adapters.HTTPAdapter, "send", send)
        patch.setattr("transforms.listing._read_object", _no_store)
        yield


def _answer(request: requests.PreparedRequest, content: bytes | None) -> requests.Response:
    """Return an answer that holds something, or says that there is nothing."""
    status = 404 if content is None else 200
    raw = HTTPResponse(io.BytesIO(content or b""), status=status, preload_content=False)
    return requests.adapters.HTTPAdapter().build_response(request, raw)


def _no_store(url: str) -> bytes:
    raise OSError(f"{url}: no store here")


def _item() -> dict[str, Any]:
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": "scene-1",
        "collection": "night",
        "geometry": {"type": "Polygon", "coordinates": [[[9, 48], [10, 48], [10, 49], [9, 48]]]},
        "bbox": [9, 48, 10, 49],
        "properties": {"datetime": "2026-05-01T10:00:00Z", "proj:code": "EPSG:32632"},
        "assets": {"visual": {"href": "./a.tif", "roles": ["data"], "proj:epsg": 32632}},
        "links": [{"rel": "self", "href": "item.json"}],
    }


def _make_stac(random: Random, folder: Path) -> Path:
    (folder / "a.tif").write_bytes(b"")
    collection = {
        "type": random.choice(("Collection", "Catalog")),
        "id": "night",
        "stac_version": "1.1.0",
        "links": [{"rel": "item", "href": "./item.json"}, {"rel": "child", "href": "./more.json"}],
    }
    page = {"type": "FeatureCollection", "features": [_item(), {**_item(), "id": "scene-2"}]}
    source, other = random.choice(((_item(), page), (page, _item()), (collection, page)))
    (folder / "item.json").write_bytes(mutations.as_json(random, _item()))
    (folder / "more.json").write_bytes(mutations.as_json(random, other))
    path = folder / "source.json"
    path.write_bytes(mutations.as_json(random, source))
    return path


def _use_stac(path: Path) -> str:
    filters = {"bbox": (8, 47, 11, 50), "datetime": "2026-04-01/.."}
    return _use_sources(path, stac={"source": str(path), "asset": "visual", **filters})


def _use_api(path: Path) -> str:
    """Search an API whose pages are the mutated documents."""
    landing = {"type": "Catalog", "id": "api", "stac_version": "1.0.0", "links": [
        {"rel": "search", "href": "https://host/search", "method": "GET"},
    ]}  # fmt: skip
    pages = {
        "https://host/": json.dumps(landing).encode(),
        "https://host/search": path.read_bytes(),
        "https://host/next": path.with_name("more.json").read_bytes(),
    }

    def send(_: object, request: requests.PreparedRequest, **__: Any) -> requests.Response:
        asked = str(request.url)
        if urlsplit(asked).hostname in INNER:
            raise Violation(f"{asked} was asked for")
        return _answer(request, pages.get(asked.split("?")[0]))

    with _canned_web(path), pytest.MonkeyPatch.context() as patch:
        patch.setattr(requests.adapters.HTTPAdapter, "send", send)
        config = InputConfig(stac={"source": "https://host/", "asset": "visual"})
        sources, rejected = list_sources(config)
    _check_rejects(rejected)
    if any(source.path.startswith("/") for source in sources):
        raise Violation(f"an API names local files: {sources}")
    return "rejected" if rejected else "read"


def _make_api(random: Random, folder: Path) -> Path:
    following = {"rel": "next", "href": "https://host/next", "method": "GET"}
    features = [_item(), {**_item(), "id": "scene-2"}]
    first = {"type": "FeatureCollection", "features": features, "links": [following]}
    (folder / "more.json").write_bytes(
        mutations.as_json(random, {"type": "FeatureCollection", "features": [_item()], "links": []})
    )
    path = folder / "page.json"
    path.write_bytes(mutations.as_json(random, first))
    return path


LIST = "# scenes\na.tif\nmore/*.tif\ns3://bucket/a.tif\nhttps://host/a.tif\n"
CSV = "location,name,crs,time\na.tif,first,32632,2026-05-01T10:00:00Z\nb.tif,,EPSG:4326,\n"


def _make_list(lines: str, name: str, random: Random, folder: Path) -> Path:
    (folder / "a.tif").write_bytes(b"")
    path = folder / name
    path.write_bytes(or_scrambled(mutations.text, 0.2)(random, lines.encode()))
    return path


def _make_index(random: Random, folder: Path) -> Path:
    row: Any = {
        "location": "a.tif",
        "name": "first",
        "crs": 32632,
        "time": datetime(2026, 5, 1, tzinfo=UTC),
    }
    item: Any = {"id": "one", "assets": {"visual": {"href": "./a.tif"}}, "datetime": row["time"]}
    changed = mutations.tree(random, random.choice((row, item)))
    rows = [changed] * 2 if isinstance(changed, dict) else []
    path = folder / "scenes.parquet"
    try:
        pq.write_table(pa.Table.from_pylist(rows), path)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        pq.write_table(pa.table({"location": ["a.tif"] * 3}), path)
        path.write_bytes(mutations.scramble(random, path.read_bytes()))
    if random.random() < 0.3:
        path.write_bytes(mutations.scramble(random, path.read_bytes()))
    return path


# Settings, weights, what a run has left


def _make_yaml(random: Random, folder: Path) -> Path:
    shipped = random.choice(sorted((Path(__file__).parents[1] / "configs").glob("*.yaml")))
    content = shipped.read_bytes()
    chance = random.random()
    if chance < 0.4:
        changed = yaml.safe_dump(_plain(mutations.tree(random, yaml.safe_load(content)))).encode()
    elif chance < 0.8:
        changed = mutations.text(random, content)
    elif chance < 0.85:
        anchors = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
        changed = "\n".join(["a0: &a0 [x]", *anchors, "input: {scenes: *a11}"]).encode()
    else:
        changed = mutations.scramble(random, content)
    path = folder / "run.yaml"
    path.write_bytes(changed)
    keys = (
        "read.core",
        "input.scenes",
        "input.label_classes",
        "output",
        "deblur",
        "measure.interval",
    )
    words = (
        *mutations.WORDS,
        *map(str, mutations.ODD),
        "[a, b",
        "{a: b}",
        "!!python/name:os.system",
    )
    lines = [f"{random.choice(keys)}={random.choice(words)}" for _ in range(random.randrange(3))]
    (folder / "sets.json").write_text(json.dumps(lines))
    return path


def _plain(content: Any) -> Any:
    return json.loads(json.dumps(content, default=str))


def _use_yaml(path: Path) -> str:
    content = load_yaml(path)
    content = override(content, json.loads(path.with_name("sets.json").read_text()))
    model = DeblurrerTraining if "network" in content else RunConfig
    validate(model, content, source=path.name)
    return "read"


def _use_edit(path: Path) -> str:
    set_number(path.read_text("utf-8"), "detect", "score_threshold", 0.5, comment="from a test")
    return "read"


def _write_weights(path: Path) -> None:
    save_generator(path, build(UNetOptions(widths=(8, 16), blocks=(1, 1, 1))), halo_px=32)


def _make_weights(random: Random, folder: Path) -> Path:
    valid = _once("weights.safetensors", _write_weights)
    size = int.from_bytes(valid[:8], "little")
    path = folder / "weights.safetensors"
    chance = random.random()
    if chance < 0.6:
        header = mutations.tree(random, json.loads(valid[8 : 8 + size]))
        written = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(written)) + written + valid[8 + size :])
    elif chance < 0.8:
        path.write_bytes(mutations.scramble(random, valid))
    else:
        path = folder / "weights.pth"
        protocol = random.randrange(6)
        path.write_bytes(mutations.scramble(random, pickle.dumps({"model": {"a": 1}}, protocol)))
    return path


def _use_weights(path: Path) -> str:
    load_generator(path)
    return "read"


def _manifest() -> dict[str, Any]:
    return {
        "schema_version": 1,
        "run_id": "0123456789ab",
        "state": "done",
        "started": "2026-05-01T10:00:00+00:00",
        "config": RunConfig().model_dump(mode="json"),
        "outputs": [{"path": "tiles/part-0000.parquet", "rows": 1, "sha256": "0" * 64}],
        "mosaics": [{"path": "mosaics/a.tif"}],
        "counts": {"planned": 1, "measured": 1, "empty": 0, "rejected": 0},
    }


def _use_manifest(path: Path) -> str:
    output = UPath(path.parent)
    manifest.read(output)
    return str(manifest.check_output(output, "0123456789ab", force=False))


def _make_unit(random: Random, folder: Path) -> Path:
    window = next(plan_windows(_scene(), RunConfig().read))
    valid = encode_unit(TileRow.empty(window, "none"))
    path = folder / "window.unit"
    chance = random.random()
    if chance < 0.3:
        path.write_bytes(mutations.scramble(random, valid))
        return path
    packed = zlib.decompress(valid[len(MAGIC) + 32 :])
    if chance < 0.5:
        packed = mutations.scramble(random, packed)
    else:
        changed = mutations.tree(random, msgpack.unpackb(packed, strict_map_key=False))
        with suppress(ValueError, TypeError, OverflowError):  # of what MessagePack cannot hold
            packed = msgpack.packb(changed)
    content = zlib.compress(packed)
    path.write_bytes(MAGIC + hashlib.sha256(content).digest() + content)
    return path


def _use_unit(path: Path) -> str:
    decode_unit(path.read_bytes())
    return "read"


TARGETS: tuple[Target, ...] = (
    *(Target(name, partial(_make_scene, name), _use_scene) for name in SCENES),
    Target("vrt", _make_vrt, _use_scene),
    Target("mbtiles", _make_mbtiles, _use_scene),
    Target("map tiles", _make_map_tiles, _use_scene),
    Target("camera", _make_exif, partial(_use_scene, geometry="camera")),
    Target("exif", _make_exif, _use_exif),
    Target("geojson", partial(_make_json, _geojson, "labels.geojson"), _use_labels),
    Target("coco", partial(_make_json, _coco, "labels.json"), _use_labels),
    Target("yolo", partial(_make_text, YOLO, "scene.txt"), partial(_use_folder, form="yolo")),
    Target("dota", partial(_make_text, DOTA, "scene.txt"), partial(_use_folder, form="dota")),
    Target(
        "text labels", partial(_make_text, DOTA, "scene.txt"), partial(_use_folder, form="auto")
    ),
    Target("geoparquet", _make_geoparquet, _use_labels),
    Target("shapefile", partial(_make_ogr, "shp", "ESRI Shapefile"), _use_labels),
    Target("geopackage", partial(_make_ogr, "gpkg", "GPKG"), _use_labels),
    Target("flatgeobuf", partial(_make_ogr, "fgb", "FlatGeobuf"), _use_labels),
    Target("stac", _make_stac, _use_stac),
    Target("stac api", _make_api, _use_api, speaks=("https://host",)),
    Target("list", partial(_make_list, LIST, "scenes.txt"), _use_sources),
    Target("csv index", partial(_make_list, CSV, "scenes.csv"), _use_sources),
    Target("parquet index", _make_index, _use_sources),
    Target("yaml", _make_yaml, _use_yaml, speaks=("override",)),
    Target("edit", _make_yaml, _use_edit, speaks=("detect.score_threshold", "YAML", "utf-8")),
    Target("weights", _make_weights, _use_weights),
    Target("run.json", partial(_make_json, _manifest, "run.json"), _use_manifest),
    Target("unit file", _make_unit, _use_unit, speaks=("unit file",)),
)
