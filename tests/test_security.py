"""What SECURITY.md promises, attacked: every promise there names its tests, here or elsewhere."""

import ast
import http.server
import json
import os
import pickle
import re
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyogrio
import pytest
import rasterio
import rasterio.shutil
import torch
import yaml
from opened import open_it
from PIL import Image
from scenes import CRS, textured, transform_of, write_picture, write_scene

from configs.load import ConfigError, load_yaml, override, validate
from configs.schema import InputConfig, RunConfig
from models.cards import CheckpointError
from models.yolo import PROGRAMS, build_network, load_yolo
from transforms.gdal import GDAL, gdal_settings, open_dataset
from transforms.headers import open_scene
from transforms.hrefs import SourceError, is_inner, resolve_href
from transforms.labels import open_labels
from transforms.listing import read_bytes
from transforms.map_tiles import find_map_tiles, map_tiles_vrt
from transforms.picture_heads import is_picture
from transforms.records import Source
from transforms.redaction import redact, redact_all
from transforms.scene_checks import SceneError
from transforms.sources import list_sources
from transforms.storage import write_bytes_whole
from transforms.vetting import UntrustedError, check_sidecars, check_vrt

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("configs", "models", "pipeline", "transforms")
ALLOWED = {
    ("decoder.py", "pickle.loads"),
    ("packing.py", "pickle.loads"),
    ("cards.py", "yaml.load"),
}
"""What a decoder sends through a socket that nobody else holds; what a run packed for a shuffle,
which pickles all records anyway; YAML by libyaml's safe loader."""
SIDE = 64

INNER = (
    *("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "017700000001", "0"),
    *("169.254.169.254", "2852039166", "0xa9fea9fe", "10.0.0.8", "172.16.1.1", "192.168.0.1"),
    *("100.64.0.1", "[::1]", "[fe80::1]", "[fd00::1]", "[::ffff:169.254.169.254]", "[::]"),
    *("[64:ff9b::a9fe:a9fe]", "[2002:7f00:1::]", "224.0.0.1", "localhost", "LOCALHOST."),
    *("a.localhost", "metadata.google.internal", "printer.local", "kubernetes", "db.prod.svc"),
)
"""Machines of inner networks, in the spellings that curl takes."""


# Sources


def sources() -> list[Path]:
    found = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    assert len(found) > 100
    return sorted(found)


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Yield every call of a file with its dotted name, as far as it has one."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_source_runs_a_shell_or_evaluates_text(path):
    forbidden = re.compile(
        r"(builtins\.)?(eval|exec|compile)|os\.(system|popen|exec\w*|spawn\w*)|subprocess\.getoutput"
        r"|subprocess\.getstatusoutput|(pickle|dill|cloudpickle|marshal|shelve)\.(loads?|open)"
        r"|yaml\.(load|unsafe_load|full_load)|tempfile\.mktemp|\w*(tar|zip)\w*\.extract(all)?"
        r"|shutil\.unpack_archive|joblib\.load"
    )
    for name, call in calls(path):
        if (path.name, name) not in ALLOWED:
            assert not forbidden.fullmatch(name), f"{path}:{call.lineno} calls {name}"
        for word in call.keywords:
            said = ast.unparse(word.value)
            assert (word.arg, said) != ("shell", "True"), f"{path}:{call.lineno} wants a shell"
            assert (word.arg, said) != ("weights_only", "False"), f"{path}:{call.lineno} unpickles"
            assert (word.arg, said) != ("allow_pickle", "True"), f"{path}:{call.lineno} unpickles"
            assert (word.arg, said) != ("verify", "False"), f"{path}:{call.lineno} trusts any host"
        if name == "torch.load":
            assert "weights_only=True" in ast.unparse(call), f"{path}:{call.lineno} unpickles"


def test_every_promise_names_a_test_that_exists():
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    named = re.findall(r"`(test_\w+)\.py::(test_\w+)`", text)
    assert len(named) > 20
    for module, function in named:
        tree = ast.parse((ROOT / "tests" / f"{module}.py").read_text(encoding="utf-8"))
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


# Weights


class Exploit:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize(
    "name",
    ["a.pt", "a.PT", "a.pth", "a.pt.bin", "a.ckpt", "a", "a.torchscript", "a.engine", "a.pkl"],
)
def test_a_detector_that_is_a_program_does_not_run_unasked(tmp_path, name):
    torch.save({"model": Exploit(tmp_path / "ran")}, tmp_path / name)
    with pytest.raises(CheckpointError):
        load_yolo(tmp_path / name)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_whose_digest_differs_is_not_opened(tmp_path, name):
    path = tmp_path / f"a{name}"
    path.write_bytes(pickle.dumps(Exploit(tmp_path / "ran")))
    with pytest.raises(CheckpointError, match="SHA-256"):
        load_yolo(path, sha256="0" * 64, trust=True)
    assert not (tmp_path / "ran").exists()


def test_torchscript_is_a_program_because_it_writes_files(tmp_path):
    """The reason why it must be pinned; if this fails, it may be data after all."""

    class Writes(torch.nn.Module):
        def __init__(self, path: str) -> None:
            super().__init__()
            self.path = path

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.from_file(self.path, True, 4, dtype=torch.uint8)

    program = (
        "import sys, torch, warnings\n"
        "warnings.simplefilter('ignore')\n"
        "torch.jit.load(sys.argv[1])(torch.zeros(1))"
    )
    with pytest.warns(FutureWarning):
        torch.jit.script(Writes(str(tmp_path / "written"))).save(str(tmp_path / "a.torchscript"))
    subprocess.run([sys.executable, "-c", program, tmp_path / "a.torchscript"], check=True)
    assert (tmp_path / "written").exists()


def test_an_architecture_in_the_working_folder_is_not_read(tmp_path, monkeypatch):
    """Ultralytics evaluates its `activation`."""
    monkeypatch.chdir(tmp_path)
    ran = tmp_path / "ran"
    evil = {"activation": f"__import__('os').mkdir({str(ran)!r})", "nc": 1}
    Path("yolov8n.yaml").write_text(yaml.safe_dump(evil))
    network = build_network("yolov8n.yaml", 2)
    assert network.yaml["scale"] == "n"
    assert not ran.exists()


@pytest.mark.parametrize(
    "name", ["../yolov8n.yaml", "/tmp/yolov8n.yaml", "nothing.yaml", "https://h/a.yaml"]
)
def test_architectures_are_names_of_the_package(name):
    with pytest.raises(ValueError, match="name of a packaged YAML"):
        build_network(name, 2)


# Networks


@pytest.mark.parametrize("host", INNER)
def test_no_catalogue_names_an_inner_machine(host):
    assert is_inner(host)
    for base in ("https://maps.example.org/items/a.json", "/maps/a.json"):
        for login in ("", "me:word@"):
            url = f"https://{login}{host}/a.tif"
            with pytest.raises(SourceError, match="inner network"):
                resolve_href(url, base=base)
    root = f"https://{host}"
    assert resolve_href(f"{root}/a.tif", base="/maps/a.json", roots=[root]) == f"{root}/a.tif"
    own = f"https://{host}/items/a.json"
    assert resolve_href(f"https://{host}/b.tif", base=own) == f"https://{host}/b.tif"


@pytest.mark.parametrize("host", ["example.org", "8.8.8.8", "[2001:4860:4860::8888]", "a.b.co.uk"])
def test_public_machines_are_no_inner_ones(host):
    url = f"https://{host}/a.tif"
    assert resolve_href(url, base="https://maps.example.org/a.json") == url


@pytest.mark.parametrize(
    "url",
    [
        r"https://example.org\@127.0.0.1/a.tif",
        "https://\uff11\uff12\uff17.0.0.1/a.tif",
        "https://127\u30020\u30020\u30021/a.tif",
        "https://exa mple.org/a.tif",
        "https:///a.tif",
        "https://a@b@c/a.tif",
    ],
)
def test_hosts_that_two_readers_read_differently_are_refused(url):
    with pytest.raises(SourceError):
        resolve_href(url, base="https://maps.example.org/a.json")


@contextmanager
def leading_to(target: str) -> Iterator[tuple[str, list[str]]]:
    """Serve, on 127.0.0.1, answers that lead to a target; yield the URL and what was asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.headers['Host']}{self.path}")
            self.send_response(302)
            self.send_header("Location", target.format(port=server.server_port))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    "target",
    [
        "http://localhost:{port}/x",
        "http://2130706433:{port}/x",
        "//[::1]:{port}/x",
        "http://127.1/x",
    ],
)
def test_a_redirect_does_not_lead_to_an_inner_machine(monkeypatch, target):
    monkeypatch.setenv("NO_PROXY", "*")
    with leading_to(target) as (url, asked):
        with pytest.raises(SourceError, match="inner network"):
            read_bytes(f"{url}/scenes.csv")
        assert len(asked) == 1


def test_pages_of_a_catalogue_do_not_post_to_an_inner_machine(monkeypatch):
    """A page says method, headers and body of the request for the next one."""
    monkeypatch.setenv("NO_PROXY", "*")
    with leading_to("http://localhost:{port}/x") as (url, asked):
        config = InputConfig(stac={"source": f"{url}/landing", "asset": "visual"})
        with pytest.raises(ValueError, match="inner network"):
            list_sources(config)
        assert len(asked) == 1


def test_what_is_read_whole_has_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr("transforms.listing.LARGEST", 10)
    (tmp_path / "a.txt").write_bytes(b"x" * 11)
    with pytest.raises(SourceError, match="more than 10 bytes"):
        read_bytes(str(tmp_path / "a.txt"))


def test_pipes_and_devices_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "a.tif")
    with pytest.raises(SourceError, match="no regular file"):
        read_bytes(str(tmp_path / "a.tif"))
    with pytest.raises(SourceError, match="no regular file"):
        resolve_href("a.tif", base=str(tmp_path / "item.json"))


@pytest.mark.parametrize("form", ["http://{}/a.prj", "/vsicurl/http://{}/a.prj", "https://{}/a"])
def test_the_crs_of_a_catalogue_asks_nobody(tmp_path, form):
    """GDAL takes a URL for a CRS, and gets it."""
    scene = write_picture(tmp_path / "a.tif", textured(SIDE, SIDE, seed=1), crs=None,
                          transform=transform_of())  # fmt: skip
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        place = f"127.0.0.1:{server.getsockname()[1]}"
        source = Source("a.tif", str(scene), crs=form.format(place))
        with pytest.raises(SceneError, match="a CRS must be a code"):
            open_scene(source, RunConfig())
        with pytest.raises(BlockingIOError):
            server.accept()


def test_the_crs_of_a_catalogue_is_no_file(tmp_path):
    scene = write_picture(tmp_path / "a.tif", textured(SIDE, SIDE, seed=1), crs=None,
                          transform=transform_of())  # fmt: skip
    (tmp_path / "a.wkt").write_text(CRS)
    with pytest.raises(SceneError, match="a CRS must be a code"):
        open_scene(Source("a.tif", str(scene), crs=str(tmp_path / "a.wkt")), RunConfig())


# Pictures that lead elsewhere


def pds(name: str) -> bytes:
    """Return a label of PDS, in which a file is named whose bytes are pixels."""
    lines = (
        *("", "PDS_VERSION_ID = PDS3", "RECORD_TYPE = FIXED_LENGTH", "RECORD_BYTES = 32"),
        *("FILE_RECORDS = 32", f'^IMAGE = "{name}"', "OBJECT = IMAGE", "LINES = 32"),
        *("LINE_SAMPLES = 32", "SAMPLE_TYPE = UNSIGNED_INTEGER", "SAMPLE_BITS = 8", "BANDS = 1"),
        *("END_OBJECT = IMAGE", "END", ""),
    )
    return "\n".join(lines).encode().ljust(4096)


HEADS = {"a.j2k": b"\xff\x4f\xff\x51", "a.webp": b"RIFF    WEBPVP8 "}


@pytest.mark.parametrize("name", HEADS)
def test_a_picture_that_is_a_label_of_pds_is_refused(tmp_path, name):
    """GDAL reads the secret through it: it tries that driver before the one of the picture."""
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret.txt").write_bytes(bytes(range(256)) * 4)
    (inside / name).write_bytes(HEADS[name] + pds("../secret.txt"))
    vrt = inside / "scene.vrt"
    vrt.write_text(
        '<VRTDataset rasterXSize="32" rasterYSize="32"><VRTRasterBand dataType="Byte" band="1">'
        f'<SimpleSource><SourceFilename relativeToVRT="1">{name}</SourceFilename>'
        "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    with rasterio.Env(**GDAL), open_dataset(str(vrt)) as dataset:
        assert dataset.read(1)[0].tolist() == list(range(32))
    with pytest.raises(UntrustedError, match="other formats can lead elsewhere"):
        check_vrt(str(vrt), roots=[])


def test_a_jpeg_that_is_an_index_of_tiles_is_refused(tmp_path):
    """The driver of such indexes comes before that of JPEG, and follows any name in one."""
    index = b"<GDALTileIndexDataset><IndexDataset>PG:x</IndexDataset></GDALTileIndexDataset>"
    comment = index.ljust(0x0101 - 2)
    valid = tmp_path / "tiles" / "1" / "0" / "0.jpg"
    valid.parent.mkdir(parents=True)
    Image.new("L", (256, 256)).save(valid)
    content = valid.read_bytes()
    valid.write_bytes(content[:2] + b"\xff\xfe\x01\x01" + comment + content[2:])
    tiles = find_map_tiles(str(tmp_path / "tiles"), zoom=None, scheme="xyz")
    with pytest.raises(ValueError, match="another format that names files"):
        map_tiles_vrt(str(tiles))


def test_pictures_of_every_kind_are_pictures(tmp_path):
    array = textured(300, 300, seed=1).transpose(2, 0, 1)
    source = write_scene(tmp_path / "a.tif", array)
    kinds = {
        "a.jpg": "JPEG",
        "a.png": "PNG",
        "a.webp": "WEBP",
        "a.jp2": "JP2OpenJPEG",
        "c.tif": "COG",
    }
    for name, driver in kinds.items():
        rasterio.shutil.copy(str(source), str(tmp_path / name), driver=driver)
    (tmp_path / "b.j2k").write_bytes(codestream((tmp_path / "a.jp2").read_bytes()))
    for name in (*kinds, "b.j2k", "a.tif"):
        assert is_picture((tmp_path / name).read_bytes()[:1024], name), name


def codestream(jp2: bytes) -> bytes:
    """Return what the last box of a JPEG 2000 file holds."""
    return jp2[jp2.index(b"jp2c") + 4 :]


@pytest.mark.parametrize("suffix", [".ovr", ".OVR", ".msk", ".MSK", ".msk.ovr", ".ovr.msk"])
def test_what_lies_beside_a_picture_must_be_tiff(tmp_path, suffix):
    """GDAL opens it with any driver, without being asked to."""
    scene = write_picture(tmp_path / "a.tif", textured(SIDE, SIDE, seed=1))
    first = scene.with_name(f"a.tif{suffix[:4]}")
    write_picture(first, textured(SIDE // 2, SIDE // 2, seed=1))
    check_sidecars(str(scene))
    Path(f"{scene}{suffix}").write_text('<VRTDataset rasterXSize="1" rasterYSize="1"/>')
    with pytest.raises(UntrustedError, match="no TIFF"):
        check_sidecars(str(scene))
    with pytest.raises(SceneError, match="no TIFF"):
        open_it(scene)


@pytest.mark.parametrize("inside", [True, False])
def test_a_picture_does_not_name_its_overviews(tmp_path, inside):
    """GDAL would open what it names, with any driver, when it is asked for overviews."""
    scene = write_picture(tmp_path / "a.tif", textured(SIDE, SIDE, seed=1))
    other = write_picture(tmp_path / "b.tif", textured(SIDE // 2, SIDE // 2, seed=2))
    if inside:
        with rasterio.open(scene, "r+") as dataset:
            dataset.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=str(other))
    else:
        Path(f"{scene}.aux.xml").write_text(
            '<PAMDataset><Metadata domain="OVERVIEWS">'
            f'<MDI key="OVERVIEW_FILE">{other}</MDI></Metadata></PAMDataset>'
        )
    with rasterio.open(scene) as dataset:
        assert dataset.overviews(1) == [2]
    with rasterio.Env(**gdal_settings()), pytest.raises(UntrustedError, match="its overviews"):
        open_dataset(str(scene))


def test_errors_that_gdal_lives_with_do_not_end_the_run(tmp_path):
    """A CRS that nobody knows is an error of GDAL's, raised by whichever call comes next."""
    scene = write_picture(tmp_path / "a.tif", textured(SIDE, SIDE, seed=1))
    content = scene.read_bytes()
    known = (32632).to_bytes(2, "little")
    assert content.count(b"\x00\x0c" + known) or content.count(known)
    scene.write_bytes(content.replace(known, (9999).to_bytes(2, "little")))
    with rasterio.Env(**gdal_settings()), open_dataset(str(scene)) as dataset:
        assert len(dataset.colorinterp) == 3


# Names


@pytest.mark.parametrize(
    ("identity", "called"),
    [
        ("../../etc/cron.d/x", "etc/cron.d/x"),
        ("/etc/passwd", "etc/passwd"),
        ("..", "scene"),
        ("a\x1b[31m\x9b2J\nb", "a_[31m_2J_b"),
        ("x" * 5000, "x" * 230),
        ("C:\\a", "C_\\a"),
    ],
)
def test_no_name_of_a_catalogue_leaves_the_output(tmp_path, identity, called):
    (tmp_path / "a.tif").touch()
    item = {
        "type": "Feature",
        "id": identity,
        "properties": {"datetime": None},
        "assets": {"visual": {"href": "a.tif"}},
    }
    (tmp_path / "item.json").write_text(json.dumps(item))
    config = InputConfig(stac={"source": str(tmp_path / "item.json"), "asset": "visual"})
    [source], rejected = list_sources(config)
    assert (source.name, rejected) == (called, [])


def test_a_name_that_is_no_unicode_is_a_reject(tmp_path):
    (tmp_path / "a.tif").touch()
    item = {"type": "Feature", "id": "\ud800", "properties": {}, "links": []}
    item["assets"] = {"visual": {"href": "a.tif"}}
    (tmp_path / "item.json").write_text(json.dumps(item))
    config = InputConfig(stac={"source": str(tmp_path / "item.json"), "asset": "visual"})
    found, [rejected] = list_sources(config)
    assert found == []
    assert "not UTF-8" in rejected.message


def test_file_names_in_labels_are_never_opened(tmp_path):
    """They say to which scene labels belong."""
    scene = open_it(write_picture(tmp_path / "secret.tif", textured(SIDE, SIDE, seed=1)))
    (tmp_path / "labels").mkdir()
    content = {
        "images": [{"id": 1, "file_name": "../secret.tif"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [4, 4, 9, 9]}],
        "categories": [{"id": 1, "name": "car"}],
    }
    (tmp_path / "labels" / "a.json").write_text(json.dumps(content))
    opened: list[str] = []
    looking = True

    def look(event: str, arguments: tuple) -> None:
        if looking and event == "open":
            opened.append(str(arguments[0]))

    sys.addaudithook(look)
    labels = open_labels(InputConfig(labels=tmp_path / "labels" / "a.json"), ("car",))
    assert (labels.total([scene]), labels.outside([scene])) == (1, 0)
    looking = False
    assert any(path.endswith("a.json") for path in opened)
    assert not any("secret" in path for path in opened)


@pytest.mark.parametrize("suffix", [".gpkg", ".fgb"])
def test_a_label_file_that_leads_elsewhere_is_refused(tmp_path, suffix):
    """GDAL takes any file that holds the words for a recipe, whatever it is called."""
    (tmp_path / "secret.csv").write_text("class,WKT\nhidden,POINT(1 2)\n")
    path = tmp_path / f"a{suffix}"
    path.write_text(
        '<OGRVRTDataSource><OGRVRTLayer name="secret"><SrcDataSource>'
        f"{tmp_path}/secret.csv</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>"
    )
    assert pyogrio.list_layers(path)[0][0] == "secret"
    with pytest.raises(ValueError, match=f"is no {suffix}"):
        open_labels(InputConfig(labels=path), ("car",))


# Settings


BOMB = "\n".join(["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]"
                                     for n in range(1, 12))])  # fmt: skip


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"{BOMB}\ninput: {{scenes: *a11}}", "aliases"),
        ("a: &a {<<: *a}", "contains itself|cannot be read"),
        ("input: &a [*a]", "contains itself"),
        ("[" * 5000, "nested too deeply"),
        ("!!python/object/apply:os.system ['true']", "cannot be read"),
        ("a: !!python/name:os.system", "cannot be read"),
        ("a: 2026-99-99", "cannot be read"),
        ("a: !!int x", "cannot be read"),
        ("a: !!bool x", "cannot be read"),
        (f"a: {'9' * 5000}", "cannot be read"),
    ],
)
def test_yaml_is_data_and_stays_small(tmp_path, text, why):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=why):
        load_yaml(path)
    with pytest.raises(ConfigError):
        validate(RunConfig, override({}, [f"input={text}"]), source="test")


def test_a_ladder_that_is_no_number_is_named():
    content = {"read": {"blur": {"severities": [1], "ladder": {}}}}
    with pytest.raises(ConfigError, match=r"read\.blur\.ladder"):
        validate(RunConfig, content, source="test")


# Secrets and files


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://h.org/a.tif", "https://h.org/a.tif"),
        ("https://me:word@h.org/a.tif", "https://...@h.org/a.tif"),
        ("s3://key:word@bucket/a.tif", "s3://...@bucket/a.tif"),
        (
            "https://h/a?version=2&X-Amz-Signature=0a&b=1",
            "https://h/a?version=2&X-Amz-Signature=...&b=1",
        ),
        ("https://h/a?sv=1&sig=a%2Bb%3D read", "https://h/a?sv=1&sig=... read"),
        ("GET 'https://h/a?token=x' failed", "GET 'https://h/a?token=...' failed"),
        (
            "https://h/a?AWSAccessKeyId=A&Signature=B",
            "https://h/a?AWSAccessKeyId=...&Signature=...",
        ),
        ("/maps/day?token=1.tif", "/maps/day?token=..."),
        ("user@example.org", "user@example.org"),
    ],
)
def test_keys_in_urls_are_not_shown(text, shown):
    assert redact(text) == shown
    assert redact(shown) == shown


def test_keys_are_not_shown_wherever_they_stand():
    found = redact_all({"inputs": [{"path": "https://h/a?sig=1", "size": 1}], "error": None})
    assert found == {"inputs": [{"path": "https://h/a?sig=...", "size": 1}], "error": None}


def test_files_are_written_as_the_umask_says_and_through_no_link(tmp_path):
    before = os.umask(0o027)
    try:
        (tmp_path / "secret").write_text("mine")
        (tmp_path / "run.json").symlink_to(tmp_path / "secret")
        write_bytes_whole(tmp_path / "run.json", b"{}")
    finally:
        os.umask(before)
    assert (tmp_path / "secret").read_text() == "mine"
    assert not (tmp_path / "run.json").is_symlink()
    assert stat.S_IMODE((tmp_path / "run.json").stat().st_mode) == 0o640


def test_planning_local_files_asks_nobody(tmp_path, monkeypatch):
    """Neither a download of grids or schemas nor a look for updates."""

    def no_network(*arguments: object, **_: object) -> None:
        raise AssertionError(f"a connection was wanted: {arguments}")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    scene = write_picture(tmp_path / "a.tif", textured(SIDE, SIDE, seed=1))
    assert open_it(scene).height == SIDE
