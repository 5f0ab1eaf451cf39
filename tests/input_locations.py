"""How the files of a row of the table of inputs are named: on disk, in an index, on a server."""

import csv
import json
from pathlib import Path
from typing import Any

import geopandas
import shapely
from input_words import Place
from stores import Store


def _at_path(files: list[Path], place: Place, server: Any) -> dict[str, Any]:
    return {"scenes": [str(files[0])]}


def _by_glob(files: list[Path], place: Place, server: Any) -> dict[str, Any]:
    return {"scenes": [f"{files[0].parent.parent}/**/sc*{files[0].suffix}"]}


def _in_list(files: list[Path], place: Place, server: Any) -> dict[str, Any]:
    path = files[0].parents[1] / "scenes.txt"
    path.write_text(f"# scenes of the night\nin/{files[0].name}\n")
    return {"scenes": [str(path)]}


def _in_csv(files: list[Path], place: Place, server: Any) -> dict[str, Any]:
    path = files[0].parents[1] / "scenes.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["location", "crs"], [f"in/{files[0].name}", place.crs]])
    return {"scenes": [str(path)]}


def _in_parquet(files: list[Path], place: Place, server: Any) -> dict[str, Any]:
    path = files[0].parents[1] / "scenes.parquet"
    column = {"location": [f"in/{files[0].name}"], "crs": [place.crs]}
    outline = [shapely.box(8, 49, 10, 51)]
    geopandas.GeoDataFrame(column, geometry=outline, crs=4326).to_parquet(path)
    return {"scenes": [str(path)]}


def _in_stac(files: list[Path], place: Place, server: Any) -> dict[str, Any]:
    path = files[0].parent / "item.json"
    item = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": "scene",
        "geometry": None,
        "properties": {"datetime": "2026-05-01T12:00:00Z", "proj:code": place.crs},
        "links": [],
        "assets": {"picture": {"href": f"./{files[0].name}"}},
    }
    path.write_text(json.dumps(item))
    return {"stac": {"source": str(path), "asset": "picture"}}


def _on_store(files: list[Path], place: Place, store: Store) -> dict[str, Any]:
    for file in files:
        store.put(f"in/{file.name}", file)
    return {"scenes": [f"{store.url}/in/{files[0].name}"]}


def _by_glob_of_store(files: list[Path], place: Place, store: Store) -> dict[str, Any]:
    _on_store(files, place, store)
    return {"scenes": [f"{store.url}/**/sc*{files[0].suffix}"]}


def _on_web(files: list[Path], place: Place, server: str) -> dict[str, Any]:
    return {"scenes": [f"{server}/{files[0].name}"]}


LOCATIONS = {
    "file": _at_path,
    "folder": _at_path,
    "glob": _by_glob,
    "list": _in_list,
    "CSV index": _in_csv,
    "GeoParquet index": _in_parquet,
    "STAC item": _in_stac,
    "s3://": _on_store,
    "s3:// glob": _by_glob_of_store,
    "https://": _on_web,
}
STORED = ("s3://", "s3:// glob")
