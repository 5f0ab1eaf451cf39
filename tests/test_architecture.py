"""The import rules: which package may know which, read from the sources."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("pipeline", "transforms", "models", "configs")
ALLOWED = {
    "configs": {"configs"},
    "transforms.functional": {"transforms.functional"},
    "models": {"models", "transforms.functional"},
    "models.training": {"models", "models.training", "transforms.functional", "configs"},
    "transforms": {"transforms", "transforms.functional", "models", "configs"},
    "pipeline": {"pipeline", "transforms", "transforms.functional", "models", "configs"},
}
DOORS = {
    "rasterio": {
        "transforms/gdal.py",
        "transforms/network_use.py",
        "transforms/opening.py",
        "transforms/native_pixels.py",
        "transforms/resampling.py",
        "transforms/row_bands.py",
        "transforms/scene_bands.py",
        "transforms/scene_checks.py",
        "transforms/scene_places.py",
        "transforms/scene_reader.py",
        "transforms/headers.py",
        "transforms/stretches.py",
        "transforms/read.py",
        "transforms/mosaic.py",
        "transforms/scene_mosaic.py",
        "transforms/overlay.py",
        "transforms/cores.py",
        "transforms/band_statistics.py",
    },
    "pyarrow": {
        "transforms/parquet.py",
        "transforms/write.py",
        "transforms/label_files.py",
        "transforms/vector_files.py",
        "transforms/index_files.py",
    },
    "apache_beam": {"pipeline/", "transforms/"},
    "torch": {"models/", "transforms/inference.py", "transforms/deblur.py", "transforms/detect.py"},
}


def modules() -> list[Path]:
    found = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    assert len(found) > 20
    return sorted(found)


def layer(module: str) -> str:
    """Return the layer of a dotted module name: the longest one that it lies in."""
    return max((name for name in ALLOWED if f"{module}.".startswith(f"{name}.")), key=len)


def imports(path: Path) -> set[str]:
    """Return every module that a file imports, wherever the import stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_go_one_way(path):
    own = layer(name_of(path))
    # One starts a training by its kind, one those of a comparison; nothing else may know them.
    trains = name_of(path) in ("pipeline.train", "pipeline.contenders")
    extra = {"models.training"} if trains else set()
    ours = {name for name in imports(path) if name.split(".")[0] in PACKAGES}
    assert {layer(name) for name in ours} <= ALLOWED[own] | extra


@pytest.mark.parametrize("library", DOORS)
def test_each_library_has_its_door(library):
    users = {
        path.relative_to(ROOT).as_posix()
        for path in modules()
        if library in {name.split(".")[0] for name in imports(path)}
    }
    assert users
    assert all(any(user.startswith(door) for door in DOORS[library]) for user in users), users


def test_package_files_hold_a_docstring_and_nothing_else():
    for path in modules():
        if path.name == "__init__.py":
            [only] = ast.parse(path.read_text(encoding="utf-8")).body
            assert isinstance(only, ast.Expr)


def test_pure_functions_load_neither_beam_nor_torch():
    code = (
        "import sys, transforms.functional.quality, transforms.functional.gain, "
        "transforms.functional.windows, transforms.functional.matching\n"
        "sys.exit(bool({'apache_beam', 'torch', 'rasterio'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
