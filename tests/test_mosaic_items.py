"""STAC items: valid by the schemas, where the scene lies, and the same bytes every time."""

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pyarrow.parquet as pq
import pystac
import pytest
import shapely
import stac_geoparquet.arrow
from pystac.validation.stac_validator import JsonSchemaSTACValidator
from referencing import Registry, Resource
from stac_validator.validate import StacValidate

from transforms.mosaic_items import (
    EXTENSIONS,
    Asset,
    Provenance,
    mosaic_collection,
    mosaic_item,
    scene_footprint,
    to_json,
)
from transforms.records import Scene

SCHEMAS = Path(__file__).parent / "schemas"
SCENE = Scene(
    name="day/a b.tif",
    path="s3://bucket/day/a b.tif",
    height=300,
    width=400,
    bands=(1, 2, 3),
    dtype="uint8",
    crs="EPSG:32632",
    transform=(0.15, 0, 600_000, 0, -0.15, 5_800_000),
    version=str(1_700_000_000 * 10**9 + 5),
)
BANDS = tuple({"name": name, "data_type": "uint8", "nodata": 0} for name in ("red", "green"))
DATA = Asset("mosaics/a%20b.tif", "ab" * 32, 12345, BANDS)
STATUS = Asset("mosaics/a%20b.status.tif", "cd" * 32, 77, ({"name": "status"},))
COUNTS = {"deblurred": 3, "fallback": 1}
PROVENANCE = Provenance("0123456789ab", "0.1.0", "Deblurred with deblur_dsc.")


def item_of(scene=SCENE, name="a%20b"):
    return mosaic_item(name, scene, data=DATA, status=STATUS, counts=COUNTS, provenance=PROVENANCE)


def stored(thing):
    return json.loads(to_json(thing))


@pytest.fixture(scope="module")
def extension_schemas():
    """Every extension schema by its address, and a registry of what they refer to."""
    names = {path.name: json.loads(path.read_text()) for path in SCHEMAS.glob("*.json")}
    by_address = {schema["$id"].rstrip("#"): schema for schema in names.values()}
    core = Path(pystac.__file__).parent / "validation" / "jsonschemas" / "geojson"
    geometry = json.loads((core / "Geometry.json").read_text())
    by_address["https://geojson.org/schema/Geometry.json"] = geometry
    registry = Registry().with_resources(
        (address, Resource.from_contents(schema)) for address, schema in by_address.items()
    )
    return by_address, registry


def check(content, extension_schemas):
    """Validate an item against the core schemas of pystac and those of its extensions."""
    by_address, registry = extension_schemas
    JsonSchemaSTACValidator().validate_core(content, pystac.STACObjectType.ITEM, "1.1.0")
    for address in content["stac_extensions"]:
        jsonschema.Draft7Validator(by_address[address], registry=registry).validate(content)


SCENES = {
    "utm": SCENE,
    "known time": replace(SCENE, time="2026-05-01T10:30:00Z", item="s3://bucket/day/a.json"),
    "no crs": replace(SCENE, crs=None, transform=(1, 0, 0, 0, 1, 0)),
    "rotated": replace(SCENE, transform=(0.1, 0.1, 600_000, 0.1, -0.1, 5_800_000)),
    "degrees": replace(SCENE, crs="EPSG:4326", transform=(1e-6, 0, 8.5, 0, -1e-6, 47.5)),
    "custom crs": replace(
        SCENE,
        crs='LOCAL_CS["site",UNIT["metre",1],AXIS["E",EAST],AXIS["N",NORTH]]',
    ),
    "across 180": replace(SCENE, crs="EPSG:32601", transform=(10, 0, 166_000, 0, -10, 0)),
    "pole": replace(SCENE, crs="EPSG:3413", transform=(50, 0, -10_000, 0, -50, 7_500)),
}


@pytest.mark.parametrize("name", [name for name in SCENES if name != "custom crs"])
def test_items_are_valid_by_the_schemas_of_core_and_extensions(name, extension_schemas):
    check(stored(item_of(SCENES[name])), extension_schemas)


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("properties", "proj:shape"), [300]),
        (("properties", "processing:software"), "aerial-deblur"),
        (("properties", "start_datetime"), None),
        (("assets", "data", "file:checksum"), "not hexadecimal"),
        (("assets", "status", "classification:classes"), [{"name": "no value"}]),
        (("id",), ""),
    ],
)
def test_a_wrong_item_does_not_pass(where, value, extension_schemas):
    content = stored(item_of())
    place = content
    for key in where[:-1]:
        place = place[key]
    place[where[-1]] = value
    with pytest.raises((jsonschema.ValidationError, pystac.STACValidationError)):
        check(content, extension_schemas)


def local_schemas():
    """Return where stac-valid finds every schema, by address."""
    core = Path(pystac.__file__).parent / "validation" / "jsonschemas"
    found = {
        address: str(SCHEMAS / f"{parts[-3]}-{parts[-2]}.json")
        for address in EXTENSIONS
        for parts in [address.split("/")]
    }
    found["https://proj.org/schemas/v0.7/projjson.schema.json"] = str(
        SCHEMAS / "projjson-v0.7.json"
    )
    item = "https://schemas.stacspec.org/v1.1.0/item-spec/json-schema"
    found |= {f"{item}/{path.name}": str(path) for path in core.glob("stac-spec/v1.1.0/*.json")}
    return found | {
        f"https://geojson.org/schema/{path.name}": str(path) for path in core.glob("geojson/*.json")
    }


def test_stac_valid_says_the_same():
    validator = StacValidate(schema_map=local_schemas())
    assert validator.validate_dict(stored(item_of()))
    assert len(validator.message[0]["schema"]) == 1 + len(EXTENSIONS)
    wrong = stored(item_of())
    wrong["properties"]["proj:shape"] = [300]
    assert not StacValidate(schema_map=local_schemas()).validate_dict(wrong)


def test_every_extension_has_its_schema(extension_schemas):
    assert set(EXTENSIONS) <= set(extension_schemas[0])


def test_the_bytes_are_the_same_every_time():
    assert to_json(item_of()) == to_json(item_of())


def test_an_item_leads_to_its_file_wherever_the_run_was_started(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    links = stored(item_of(replace(SCENE, path="day/a.tif")))["links"]
    assert [link["href"] for link in links if link["rel"] == "via"] == [str(tmp_path / "day/a.tif")]
    links = stored(item_of(replace(SCENE, item="day/items.parquet")))["links"]
    assert [link["href"] for link in links if link["rel"] == "derived_from"] == [
        str(tmp_path / "day/items.parquet")
    ]


def test_an_item_says_what_was_done_and_to_what():
    content = stored(item_of(SCENES["known time"]))
    assert content["properties"]["processing:software"] == {"aerial-deblur": "0.1.0"}
    assert content["properties"]["processing:lineage"] == PROVENANCE.lineage
    links = {link["rel"]: link["href"] for link in content["links"]}
    assert links["derived_from"] == "s3://bucket/day/a.json"
    assert "via" not in links
    assert {link["rel"]: link["href"] for link in stored(item_of())["links"]}["via"] == SCENE.path
    data = content["assets"]["data"]
    assert (data["file:checksum"], data["file:size"]) == ("1220" + "ab" * 32, 12345)
    assert data["href"] == "./a%20b.tif"
    assert content["properties"]["aerial_deblur:cores"] == COUNTS
    [classes] = [content["assets"]["status"]["classification:classes"]]
    assert [each["value"] for each in classes] == [0, 1, 2, 3, 4]


def test_the_time_is_known_or_before_the_file_was_changed():
    known = stored(item_of(SCENES["known time"]))["properties"]
    assert known["datetime"] == "2026-05-01T10:30:00Z"
    unknown = stored(item_of())["properties"]
    assert unknown["datetime"] is None
    assert unknown["end_datetime"] == "2023-11-14T22:13:20Z"
    nobody = stored(item_of(replace(SCENE, version=None)))["properties"]
    assert nobody["end_datetime"] == "2100-01-01T00:00:00Z"


def test_a_footprint_is_where_the_corners_lie():
    footprint = scene_footprint(SCENES["degrees"])
    assert footprint.bounds == pytest.approx((8.5, 47.4997, 8.5004, 47.5))
    assert footprint.exterior.is_ccw


def test_a_footprint_across_the_antimeridian_is_cut_there():
    footprint = scene_footprint(SCENES["across 180"])
    assert footprint.geom_type == "MultiPolygon"
    assert footprint.area < 0.01
    west, _, east, _ = item_of(SCENES["across 180"]).bbox
    assert west > 179
    assert east < -179


@pytest.mark.parametrize(("crs", "latitude"), [("EPSG:3413", 89.99), ("EPSG:3031", -89.99)])
def test_a_footprint_around_a_pole_reaches_it(crs, latitude):
    footprint = scene_footprint(replace(SCENES["pole"], crs=crs))
    assert footprint.covers(shapely.Point(0, latitude))
    assert not footprint.covers(shapely.Point(0, latitude - np.sign(latitude)))


def test_a_scene_without_a_place_on_earth_has_no_footprint():
    assert scene_footprint(SCENES["no crs"]) is None
    content = stored(item_of(SCENES["no crs"]))
    assert content["geometry"] is None
    assert "bbox" not in content


def test_the_collection_leads_to_its_items(tmp_path):
    items = [item_of(name="one"), item_of(SCENES["across 180"], name="two")]
    collection = mosaic_collection(items, PROVENANCE)
    (tmp_path / "collection.json").write_bytes(to_json(collection))
    for item in items:
        (tmp_path / f"{item.id}.item.json").write_bytes(to_json(item))
    read = pystac.Collection.from_file(str(tmp_path / "collection.json"))
    assert [item.id for item in read.get_items()] == ["one", "two"]
    for item in read.get_items():
        assert item.get_collection().id == PROVENANCE.run_id
        assert item.assets["data"].get_absolute_href() == str(tmp_path / "a%20b.tif")
    JsonSchemaSTACValidator().validate_core(
        stored(collection), pystac.STACObjectType.COLLECTION, "1.1.0"
    )
    assert read.extent.spatial.bboxes[0][0] == -180
    assert len(read.extent.spatial.bboxes) == 3


def test_stac_geoparquet_gives_the_items_back(tmp_path):
    items = [item_of(name="one"), item_of(SCENES["known time"], name="two")]
    stac_geoparquet.arrow.to_parquet(
        stac_geoparquet.arrow.parse_stac_items_to_arrow([stored(item) for item in items]),
        tmp_path / "items.parquet",
    )
    again = list(
        stac_geoparquet.arrow.stac_table_to_items(pq.read_table(tmp_path / "items.parquet"))
    )
    assert [each["id"] for each in again] == ["one", "two"]
    np.testing.assert_allclose(
        shapely.get_coordinates(shapely.geometry.shape(again[0]["geometry"])),
        shapely.get_coordinates(shapely.geometry.shape(stored(items[0])["geometry"])),
    )
