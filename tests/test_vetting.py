"""Vetting: no VRT and no name leads GDAL to where it must not go."""

import itertools
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import quote

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT
from scenes import textured, write_picture

from transforms import vetting
from transforms.gdal import GDAL, open_dataset
from transforms.vetting import UntrustedError, check_name, check_vrt
from transforms.vrt_names import read_names

SIDE = 32


def vrt(inside: str, *, band: str = "", before: str = "", dataset: str = "") -> str:
    return (
        f'<VRTDataset rasterXSize="{SIDE}" rasterYSize="{SIDE}"{dataset}>{before}'
        f'<VRTRasterBand dataType="Byte" band="1"{band}>{inside}</VRTRasterBand></VRTDataset>'
    )


def source(name: object, relative: int = 0, more: str = "") -> str:
    return (
        f'<SimpleSource><SourceFilename relativeToVRT="{relative}">{name}</SourceFilename>'
        f"<SourceBand>1</SourceBand>{more}</SimpleSource>"
    )


class Ground:
    """A folder `inside` with a VRT to be and a picture, and a secret picture beside the folder."""

    def __init__(self, folder: Path) -> None:
        self.inside, self.outside = folder / "inside", folder / "outside"
        for place, seed in ((self.inside, 1), (self.outside, 2)):
            place.mkdir(parents=True)
            write_picture(place / "a.tif", textured(SIDE, SIDE, seed=seed))
        self.secret = self.outside / "a.tif"
        self.path = self.inside / "scene.vrt"

    def write(self, xml: str) -> str:
        """Write the VRT and return its path."""
        self.path.write_text(xml, encoding="utf-8")
        return str(self.path)

    def check(self, xml: str, *roots: object) -> None:
        """Write the VRT and vet it."""
        check_vrt(self.write(xml), roots=[str(root) for root in roots])

    def gdal_opens_the_secret(self, xml: str) -> bool:
        """Say whether GDAL, which trusts everyone, gives its pixels, or takes it for an overview.

        The picture inside has no overviews of its own.
        """
        with rasterio.open(self.secret) as dataset:
            secret = dataset.read(1)
        with rasterio.Env(**GDAL), open_dataset(self.write(xml)) as dataset:
            return bool((dataset.read(1) == secret).all()) or dataset.overviews(1) == [1]


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path)


def escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")


TRICKS: dict[str, Callable[[Path], str]] = {
    "absolute": lambda secret: vrt(source(secret)),
    "upwards": lambda secret: vrt(source("../outside/a.tif", 1)),
    "down and upwards": lambda secret: vrt(source("./../inside/../outside/a.tif", 1)),
    "an attribute": lambda secret: vrt(f'<SimpleSource SourceFilename="{secret}"/>'),
    "leading spaces": lambda secret: vrt(source(f"  {secret}")),
    "character references": lambda secret: vrt(source(str(secret).replace("/", "&#x2F;"))),
    "CDATA": lambda secret: vrt(source(f"<![CDATA[{secret}]]>")),
    "a declared encoding": lambda secret: (
        '<?xml version="1.0" encoding="latin-1"?>' + vrt(source(secret))
    ),
    "a driver": lambda secret: vrt(source(f"GTIFF_DIR:1:{secret}")),
    "a driver, relative": lambda secret: vrt(source("GTIFF_DIR:1:../outside/a.tif", 1)),
    "vrt://": lambda secret: vrt(source(f"vrt://{secret}")),
    "a VRT as name": lambda secret: vrt(source(escape(vrt(source(secret))))),
    "/vsisubfile/": lambda secret: vrt(source(f"/vsisubfile/0,{secret}")),
    "an open option": lambda secret: vrt(
        source(
            "n.vrt",
            1,
            f'<OpenOptions><OOI key="ROOT_PATH">{secret.parent}</OOI></OpenOptions>',
        )
    ),
    "an overview": lambda secret: vrt(
        source("a.tif", 1) + f"<Overview><SourceFilename>{secret}</SourceFilename>"
        "<SourceBand>1</SourceBand></Overview>"
    ),
    "metadata": lambda secret: vrt(
        source("a.tif", 1),
        before=f'<Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">{secret}</MDI></Metadata>',
    ),
    "a second dataset": lambda secret: (
        '<VRTDataset subClass="VRTWarpedDataset" rasterXSize="32" rasterYSize="32">'
        '<VRTRasterBand dataType="Byte" band="1" subClass="VRTWarpedRasterBand"/><GDALWarpOptions>'
        f"<SourceDataset>{secret}</SourceDataset><BandList><BandMapping src='1' dst='1'/>"
        "</BandList><Transformer><GenImgProjTransformer><SrcGeoTransform>0,1,0,0,0,1"
        "</SrcGeoTransform><SrcInvGeoTransform>0,1,0,0,0,1</SrcInvGeoTransform><DstGeoTransform>"
        "0,1,0,0,0,1</DstGeoTransform><DstInvGeoTransform>0,1,0,0,0,1</DstInvGeoTransform>"
        "</GenImgProjTransformer></Transformer></GDALWarpOptions></VRTDataset>"
    ),
}


@pytest.mark.parametrize("trick", TRICKS)
def test_gdal_would_read_the_secret_and_vetting_does_not_let_it(ground, trick):
    (ground.inside / "n.vrt").write_text(vrt(source("a.tif", 1)))
    xml = TRICKS[trick](ground.secret)
    assert ground.gdal_opens_the_secret(xml)
    with pytest.raises(UntrustedError) as error:
        ground.check(xml)
    assert str(ground.path) in str(error.value)


@pytest.mark.parametrize("as_attribute", [True, False])
def test_raw_bytes_are_refused_and_gdal_would_give_them(ground, as_attribute):
    kind = "VRTRawRasterBand"
    name = f'<SourceFilename relativeToVRT="0">{ground.secret}</SourceFilename>'
    inside = f"{name}<ImageOffset>0</ImageOffset><PixelOffset>1</PixelOffset>"
    inside += f"<LineOffset>{SIDE}</LineOffset>"
    band = f' subClass="{kind}"' if as_attribute else ""
    xml = vrt(inside if as_attribute else f"<subClass>{kind}</subClass>{inside}", band=band)
    with rasterio.Env(**GDAL), open_dataset(ground.write(xml)) as dataset:
        assert dataset.read(1).tobytes()[:64] == ground.secret.read_bytes()[:64]
    with pytest.raises(UntrustedError, match="VRTRawRasterBand, which may not be read"):
        ground.check(xml, ground.outside)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/vsizip/a.zip/a.tif", "a command for GDAL"),
        ("/vsistdin/", "a command for GDAL"),
        ("/VSIMEM/a.tif", "a command for GDAL"),
        ("/vsicurl/file:///etc/passwd", "a command for GDAL"),
        ("/vsicurl?url=https://host/a.tif", "a command for GDAL"),
        ("/vsicurl/https://elsewhere.org/a.tif", "add the other folder or URL to input.roots"),
        ("/vsis3/bucket/a.tif", "add the other folder or URL to input.roots"),
        ("https://host/a.tif", "or /vsicurl/https://"),
        ("s3://bucket/a.tif", "as /vsis3/"),
        ("NETCDF:a.nc:x", "a command for GDAL"),
        ("WMS:https://host", "a command for GDAL"),
        (":::BASE:::a.tif", "a command for GDAL"),
        ("&lt;GDAL_WMS/>", "a command for GDAL"),
        ("{}", "a command for GDAL"),
        ("a\nb.tif", "control characters"),
        ("..\\outside\\a.tif", "backslashes"),
        ("/dev/zero", "own folder"),
    ],
)
@pytest.mark.parametrize("relative", [0, 1])
def test_what_is_no_name_of_a_file_in_the_folder_is_refused(ground, name, message, relative):
    with pytest.raises(UntrustedError, match=message):
        ground.check(vrt(source(name, relative)))


def test_names_relative_to_the_working_folder_are_refused(ground):
    with pytest.raises(UntrustedError, match='say relativeToVRT="1"'):
        ground.check(vrt(source("a.tif", 0)))


def test_links_are_followed_before_anything_is_believed(ground):
    (ground.inside / "link.tif").symlink_to(ground.secret)
    (ground.inside / "folder").symlink_to(ground.outside)
    (ground.inside / "loop.tif").symlink_to(ground.inside / "loop.tif")
    for name in ("link.tif", "folder/a.tif", "folder/../outside/a.tif"):
        with pytest.raises(UntrustedError, match=f"{name}.*outside/a.tif"):
            ground.check(vrt(source(name, 1)))
        ground.check(vrt(source(name, 1)), ground.outside)
    with pytest.raises(UntrustedError, match="cannot be read"):
        ground.check(vrt(source("loop.tif", 1)))


def test_a_vrt_that_is_a_link_lives_where_it_leads(ground):
    """GDAL resolves relative names there too."""
    ground.write(vrt(source("a.tif", 1)))
    link = ground.outside.parent / "link.vrt"
    link.symlink_to(ground.path)
    check_vrt(str(link), roots=[])
    with rasterio.Env(**GDAL), open_dataset(str(link)) as dataset:
        assert dataset.read(1).any()


def test_roots_are_folders_and_not_prefixes_of_names(ground):
    xml = vrt(source(ground.secret))
    ground.check(xml, ground.outside)
    ground.check(xml, ground.outside.parent)
    ground.check(xml, "/")
    for root in (str(ground.outside)[:-1], ground.outside / "deeper", "s3://outside"):
        with pytest.raises(UntrustedError, match=r"input\.roots"):
            ground.check(xml, root)


PYTHON = vrt(
    source("a.tif", 1) + "<PixelFunctionType>f</PixelFunctionType>"
    "<PixelFunctionLanguage>Python</PixelFunctionLanguage>"
    "<PixelFunctionCode>def f(*args): open('ran', 'w')</PixelFunctionCode>",
    band=' subClass="VRTDerivedRasterBand"',
)


def test_python_is_refused_twice(ground, monkeypatch):
    monkeypatch.chdir(ground.inside)
    with pytest.raises(UntrustedError, match="a pixel function that is code"):
        ground.check(PYTHON)
    with (
        rasterio.Env(**GDAL),
        pytest.raises(RasterioError),
        open_dataset(ground.write(PYTHON)) as dataset,
    ):
        dataset.read(1)
    assert not (ground.inside / "ran").exists()


@pytest.mark.parametrize(
    "function",
    [
        "<PixelFunctionLanguage>Python</PixelFunctionLanguage>",
        "<pixelfunctionlanguage> PYTHON </pixelfunctionlanguage>",
        "<PixelFunctionLanguage/>",
        "<PixelFunctionCode/>",
        "<PixelFunctionType>os.system</PixelFunctionType>",
        "<PixelFunctionType>expression</PixelFunctionType>",
    ],
)
def test_functions_that_are_code_are_refused(ground, function):
    with pytest.raises(UntrustedError, match="a pixel function that is code"):
        ground.check(vrt(source("a.tif", 1) + function, band=' subClass="VRTDerivedRasterBand"'))


@pytest.mark.parametrize("word", ["PixelFunctionLanguage", "PixelFunctionCode", "subClass"])
def test_code_as_an_attribute_is_refused(ground, word):
    with pytest.raises(UntrustedError):
        ground.check(vrt(source("a.tif", 1), band=f' {word}="Python"'))


def test_functions_that_are_built_into_gdal_are_data(ground):
    xml = vrt(
        source("a.tif", 1) + source("a.tif", 1) + "<PixelFunctionType>sum</PixelFunctionType>",
        band=' subClass="VRTDerivedRasterBand"',
    )
    ground.check(xml)
    with rasterio.Env(**GDAL), open_dataset(ground.write(xml)) as dataset:
        assert dataset.read(1).any()


@pytest.mark.parametrize("kind", ["VRTProcessedDataset", "vrtprocesseddataset", "Unheard"])
def test_kinds_of_datasets_that_nobody_vetted_are_refused(ground, kind):
    with pytest.raises(UntrustedError, match=kind):
        ground.check(vrt(source("a.tif", 1), dataset=f' subClass="{kind}"'))


def test_an_element_that_is_not_known_is_checked_if_it_looks_like_a_file(ground):
    for text in ("/etc/passwd", "../outside/a.tif", "WMS:x", "a/../../outside/a.tif"):
        for element in (f"<New>{text}</New>", f'<New kind="{text}"/>'):
            with pytest.raises(UntrustedError):
                ground.check(vrt(source("a.tif", 1) + element))
    ground.check(vrt(source("a.tif", 1) + "<New>a.tif</New><New>1.5e-3, 7</New>"))


def test_words_for_people_are_no_files(ground):
    ground.check(
        vrt(
            source("a.tif", 1) + "<Description>/data/old/a.tif</Description>"
            "<UnitType>W/m2/sr</UnitType>",
            before='<SRS dataAxisToSRSAxisMapping="1,2">EPSG:32632</SRS><Metadata>'
            '<MDI key="source">s3://bucket/a.tif</MDI></Metadata>',
        )
    )


@pytest.mark.parametrize(
    "crs",
    [
        *("+proj=utm +zone=32 +nadgrids=/tmp/x", "+grids=a,/dev/zero"),
        'PARAMETERFILE["Latitude difference file", "C:\\a"]',
    ],
)
def test_a_crs_names_no_file(ground, crs):
    with pytest.raises(UntrustedError, match="names a file of a shift"):
        ground.check(vrt(source("a.tif", 1), before=f"<SRS>{crs}</SRS>"))
    ground.check(vrt(source("a.tif", 1), before="<SRS>+proj=merc +nadgrids=@null</SRS>"))


def test_a_crs_without_end_keeps_nobody_waiting(ground):
    for crs in ("PARAMETERFILE[" * 30_000, "grids=" * 30_000):
        ground.check(vrt(source("a.tif", 1), before=f"<SRS>{crs}</SRS>"))


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>' + vrt(
    "<Description>&b;</Description>"
)


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        (BOMB, "has a DOCTYPE"),
        ('<!DOCTYPE x SYSTEM "/etc/passwd">' + vrt(""), "has a DOCTYPE"),
        ("<?php x?>" + vrt(""), "processing instruction"),
        (vrt("<!-- <SimpleSource/> -->"), "elements in a comment"),
        (vrt(source("a.tif<!-- -->/../../outside/a.tif", 1)), "text beside other things"),
        (vrt(source("<relativeToVRT>1</relativeToVRT>a.tif")), "text beside other things"),
        (vrt("<A>" * 40 + "</A>" * 40), "nested too deeply"),
        (
            vrt('<SourceFilename relativeToVRT="1" relativetoVRT="0">a.tif</SourceFilename>'),
            "twice",
        ),
        (vrt(source("a.tif", 1)).replace('"1">a', '"TRUE">a'), "wanted is 0 or 1"),
        ("<GDAL_WMS/>", "is no VRT"),
        ("", "no well-formed XML"),
        (vrt("") + vrt(""), "no well-formed XML"),
    ],
)
def test_xml_that_can_be_read_in_two_ways_is_refused(ground, xml, message):
    with pytest.raises(UntrustedError, match=message):
        ground.check(xml)


def test_a_vrt_of_more_than_64_mib_is_refused(ground, monkeypatch):
    monkeypatch.setattr(vetting, "LARGEST", 1000)
    ground.check(vrt(source("a.tif", 1)))
    with pytest.raises(UntrustedError, match="more than 1000 bytes"):
        ground.check(vrt(source("a.tif", 1) * 10))


def test_a_vrt_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UntrustedError, match="cannot be read, and so not vetted"):
        check_vrt(str(tmp_path / "a.vrt"), roots=[])


@pytest.mark.parametrize(
    "content",
    [b"<GDAL_WMS></GDAL_WMS>", b'{"type": "Feature"}', b"", b"SQLite format 3\0", b"CDF\1"],
)
def test_sources_of_formats_that_lead_elsewhere_are_refused(ground, content):
    (ground.inside / "b.tif").write_bytes(content)
    with pytest.raises(UntrustedError, match="other formats can lead elsewhere"):
        ground.check(vrt(source("b.tif", 1)))


def test_pictures_of_every_driver_may_be_named(ground, tmp_path):
    image = textured(256, 256, seed=3).transpose(2, 0, 1)
    for driver, name in [
        ("GTiff", "b.tif"), ("PNG", "b.png"), ("JPEG", "b.jpg"), ("WEBP", "b.webp"),
        ("JP2OpenJPEG", "b.jp2"), ("MBTiles", "b.mbtiles"), ("GTiff", "big.tif"),
    ]:  # fmt: skip
        with rasterio.MemoryFile() as memory:
            place = {"crs": "EPSG:3857", "transform": rasterio.Affine(1, 0, 5, 0, -1, 9)}
            options = {"BIGTIFF": "YES"} if name == "big.tif" else {}
            with memory.open(
                driver="GTiff", width=256, height=256, count=3, dtype="uint8", **place, **options
            ) as dataset:
                dataset.write(image)
            if driver == "GTiff":
                (ground.inside / name).write_bytes(memory.read())
            else:
                rasterio.shutil.copy(memory.name, ground.inside / name, driver=driver)
        ground.check(vrt(source(name, 1)))


def test_what_is_no_regular_file_is_refused(ground):
    os.mkfifo(ground.inside / "pipe.tif")
    (ground.inside / "folder.tif").mkdir()
    for name in ("pipe.tif", "folder.tif"):
        with pytest.raises(UntrustedError, match="no regular file"):
            ground.check(vrt(source(name, 1)))


def test_a_missing_source_is_for_gdal_to_report(ground):
    ground.check(vrt(source("gone.tif", 1)))


@pytest.mark.parametrize("name", ["nested.vrt", "nested.tif"])
def test_vrts_within_are_vetted_whatever_they_are_called(ground, name):
    (ground.inside / name).write_text(vrt(source(ground.secret)))
    with pytest.raises(UntrustedError, match=rf"{name} names .*outside/a\.tif"):
        ground.check(vrt(source(name, 1)))


def test_a_vrt_within_a_picture_is_vetted(ground):
    (ground.inside / "b.tif").write_bytes(b"II*\0" + vrt(source(ground.secret)).encode())
    with pytest.raises(UntrustedError, match="no well-formed XML"):
        ground.check(vrt(source("b.tif", 1)))


def test_vrts_below_may_name_what_the_outermost_may(ground):
    (ground.inside / "deep").mkdir()
    (ground.inside / "deep" / "b.vrt").write_text(vrt(source("../a.tif", 1)))
    xml = vrt(source("deep/b.vrt", 1))
    ground.check(xml)
    with rasterio.Env(**GDAL), open_dataset(ground.write(xml)) as dataset:
        assert dataset.read(1).any()


def chain(folder: Path, links: int) -> str:
    for number in range(links - 1):
        (folder / f"{number}.vrt").write_text(vrt(source(f"{number + 1}.vrt", 1)))
    (folder / f"{links - 1}.vrt").write_text(vrt(source("a.tif", 1)))
    return str(folder / "0.vrt")


def test_eight_vrts_within_each_other_are_enough(ground):
    check_vrt(chain(ground.inside, 8), roots=[])
    with pytest.raises(UntrustedError, match="more than 8 deep"):
        check_vrt(chain(ground.inside, 9), roots=[])


def test_depth_counts_along_the_longest_way(ground):
    """A VRT that was vetted near the top is still too deep further below."""
    chain(ground.inside, 8)
    (ground.inside / "side.vrt").write_text(vrt(source("4.vrt", 1)))
    (ground.inside / "top.vrt").write_text(vrt(source("4.vrt", 1) + source("0.vrt", 1)))
    check_vrt(str(ground.inside / "side.vrt"), roots=[])
    with pytest.raises(UntrustedError, match="more than 8 deep"):
        check_vrt(str(ground.inside / "top.vrt"), roots=[])


def test_a_circle_is_refused(ground):
    (ground.inside / "b.vrt").write_text(vrt(source("scene.vrt", 1)))
    with pytest.raises(UntrustedError, match="names itself"):
        ground.check(vrt(source("b.vrt", 1)))
    with pytest.raises(UntrustedError, match="names itself"):
        ground.check(vrt(source("scene.vrt", 1)))


def test_many_ways_to_one_vrt_cost_one_look(ground):
    """Seven layers of ten VRTs that all name the whole next layer: ten million ways down."""
    for layer, number in itertools.product(range(7), range(10)):
        names = "".join(source(f"{layer + 1}-{below}.vrt", 1) for below in range(10))
        inside = names if layer < 6 else source("a.tif", 1)
        (ground.inside / f"{layer}-{number}.vrt").write_text(vrt(inside))
    started = time.perf_counter()
    check_vrt(str(ground.inside / "0-0.vrt"), roots=[])
    assert time.perf_counter() - started < 5


@pytest.mark.slow
def test_time_grows_with_the_number_of_sources(ground):
    def seconds(count: int) -> float:
        names = (f"<SourceFilename relativeToVRT='1'>{n}</SourceFilename>" for n in range(count))
        path = ground.write(vrt("".join(names)))
        started = time.process_time()
        check_vrt(path, roots=[])
        return time.process_time() - started

    assert seconds(400_000) < 12 * seconds(50_000) + 0.5


def test_vrts_that_gdal_writes_are_trusted(ground):
    """Copied, warped, and by gdalbuildvrt: all kinds that users have."""
    picture = ground.inside / "a.tif"
    rasterio.shutil.copy(picture, ground.inside / "copy.vrt", driver="VRT")
    with rasterio.open(picture) as dataset, WarpedVRT(dataset, crs="EPSG:4326") as warped:
        rasterio.shutil.copy(warped, ground.inside / "warped.vrt", driver="VRT")
    names = ["copy.vrt", "warped.vrt"]
    if shutil.which("gdalbuildvrt"):
        command = ["gdalbuildvrt", "-q", "-addalpha", "built.vrt", "a.tif", "copy.vrt"]
        subprocess.run(command, cwd=ground.inside, check=True)
        names.append("built.vrt")
    for name in names:
        check_vrt(str(ground.inside / name), roots=[])
        with rasterio.Env(**GDAL), open_dataset(str(ground.inside / name)) as dataset:
            assert dataset.read(1).any()


def test_a_warped_vrt_is_followed_to_its_source(ground):
    with rasterio.open(ground.secret) as dataset, WarpedVRT(dataset, crs="EPSG:4326") as warped:
        rasterio.shutil.copy(warped, ground.path, driver="VRT")
    with pytest.raises(UntrustedError, match=r"outside/a\.tif"):
        check_vrt(str(ground.path), roots=[])
    check_vrt(str(ground.path), roots=[str(ground.outside)])


@pytest.mark.parametrize("name", ["ä ö.tif", "a#b?.tif", "a&b.tif", "[1].tif", "a%20b.tif"])
def test_names_may_look_odd(ground, name):
    shutil.copy(ground.inside / "a.tif", ground.inside / name)
    xml = vrt(source(escape(name), 1))
    ground.check(xml)
    with rasterio.Env(**GDAL), open_dataset(ground.write(xml)) as dataset:
        assert dataset.read(1).any()


WHOLE = vrt(
    source("a.tif", 1, '<SrcRect xOff="0" yOff="0" xSize="9" ySize="9"/>')
    + "<NoDataValue>0</NoDataValue><Overview><SourceFilename relativeToVRT='1'>a.tif"
    "</SourceFilename></Overview><!-- x -->",
    before="<SRS>EPSG:32632</SRS><Metadata><MDI key='AREA_OR_POINT'>Area</MDI></Metadata>",
)
PARTS = ["/", "..", "<", ">", '"', "&", "&#0;", "&#47;", "<!--", "-->", "]]>", "<![CDATA[", "\0",
         "/etc/passwd", "<SourceFilename>", "</SourceFilename>", "relativeToVRT", "x" * 300,
         "../" * 40, "\ud7ff", "ä", "Python", "<?", "subClass="]  # fmt: skip


@settings(
    max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    st.lists(
        st.tuples(
            st.integers(0, len(WHOLE)),
            st.integers(0, 12),
            st.one_of(st.sampled_from(PARTS).map(str.encode), st.binary(max_size=6)),
        ),
        min_size=1,
        max_size=4,
    )
)
@example([(0, len(WHOLE), b"")])
def test_any_mutation_passes_or_is_untrusted(ground, changes):
    content = WHOLE.encode()
    for at, removed, added in changes:
        content = content[:at] + added + content[at + removed :]
    ground.path.write_bytes(content)
    with suppress(UntrustedError):
        check_vrt(str(ground.path), roots=[])


SEGMENTS = st.lists(
    st.sampled_from(["..", ".", "inside", "outside", "a.tif", "link", ""]), max_size=6
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(SEGMENTS, st.booleans())
def test_what_passes_lies_in_the_folder(ground, segments, absolute):
    """The operating system is the witness: what opens under the name is below the folder."""
    link = ground.inside / "link"
    if not link.is_symlink():
        link.symlink_to(ground.outside)
    name = "/".join([*([str(ground.inside)] if absolute else []), *segments])
    try:
        ground.check(vrt(source(name, 0 if absolute else 1)))
    except UntrustedError:
        return
    found = Path(ground.inside, name)
    assert not found.exists() or found.resolve().is_relative_to(ground.inside)


@pytest.mark.parametrize(
    "path",
    ["a.tif", "/data/a b/ü.tif", "C:\\maps\\a.tif", "/data/12:00.tif", "2026-05-01T12:00.tif",
     "s3://bucket/a.tif", "https://host/a.tif?sig=x", "gs://b/a", "az://c/a",
     "map-tiles:maps?zoom=3&scheme=xyz", "<odd.tif"[1:]],
)  # fmt: skip
def test_names_of_files_and_urls_are_taken(path):
    check_name(path)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/vsizip/a.zip/a.tif", "name the file itself, or its URL"),
        ("/VSICURL/https://host/a.tif", "name the file itself, or its URL"),
        ("NETCDF:a.nc:x", "begins with 'NETCDF:'"),
        ("vrt://a.tif?bands=1", "begins with 'vrt:'"),
        ("file:///etc/passwd", "begins with 'file:'"),
        ("S3://bucket/a.tif", "begins with 'S3:'"),
        ("map-tiles:maps", "begins with 'map-tiles:'"),
        ("<VRTDataset/>", "is XML or JSON"),
        (" \t<VRTDataset/>", "control characters"),
        ("  <VRTDataset/>", "is XML or JSON"),
        ('{"type": "Feature"}', "is XML or JSON"),
        ("a\0.tif", "control characters"),
        ("", "control characters"),
    ],
)
def test_commands_for_gdal_are_no_names(path, message):
    with pytest.raises(UntrustedError, match=message):
        check_name(path)


@given(st.text(max_size=40))
def test_any_text_is_a_name_or_untrusted(text):
    with suppress(UntrustedError):
        check_name(text)


def test_names_are_found_once_and_in_order():
    xml = vrt(source("b.tif", 1) + source("a.tif", 1) + source("b.tif", 1))
    assert [name.text for name in read_names("x", xml.encode())] == ["b.tif", "a.tif"]


def test_a_vrt_on_a_store_names_what_lies_beside_it(store, ground):
    picture = ground.inside / "a.tif"
    for key in ("maps/a.tif", "maps/deep/ä #1.tif", "other/a.tif"):
        store.put(quote(key), picture)
    names = source("a.tif", 1) + source("deep/ä #1.tif", 1)
    names += source(f"/vsis3/{store.bucket}/maps/a.tif") + source("gone.tif", 1)
    url = store.put("maps/scene.vrt", vrt(names).encode())
    check_vrt(url, roots=[])
    store.put("maps/scene.vrt", vrt(source("deep/ä #1.tif", 1)).encode())
    with rasterio.open(picture) as dataset:
        expected = dataset.read(1)
    with rasterio.Env(**GDAL, **endpoint(store)), open_dataset(url) as dataset:
        np.testing.assert_array_equal(dataset.read(1), expected)


def endpoint(store) -> dict[str, str]:
    return {
        "AWS_S3_ENDPOINT": store.endpoint.removeprefix("http://"),
        "AWS_HTTPS": "NO",
        "AWS_VIRTUAL_HOSTING": "FALSE",
    }


def test_a_vrt_on_a_store_leads_nowhere_else(store, ground):
    store.put("other/a.tif", ground.secret)
    store.put("maps/lie.tif", vrt(source(ground.secret)).encode())
    store.put("maps/wms.tif", b"<GDAL_WMS/>")
    absolute = f"/vsis3/{store.bucket}/other/a.tif"
    for name, relative, message in [
        ("../other/a.tif", 1, "write URLs without .."),
        (absolute, 0, "input.roots"),
        (f"/vsis3/{store.bucket}-x/a.tif", 0, "input.roots"),
        (f"/vsis3/{store.bucket}/maps/../other/a.tif", 0, "write URLs without .."),
        (f"/vsis3/{store.bucket}/maps/%2e%2e/other/a.tif", 0, "write URLs without .."),
        (ground.secret, 0, "input.roots"),
        ("lie.tif", 1, r"lie\.tif names"),
        ("wms.tif", 1, "other formats can lead elsewhere"),
    ]:
        url = store.put("maps/scene.vrt", vrt(source(name, relative)).encode())
        with pytest.raises(UntrustedError, match=message):
            check_vrt(url, roots=[])
    url = store.put("maps/scene.vrt", vrt(source(absolute) + source(ground.secret)).encode())
    check_vrt(url, roots=[f"{store.url}/other/", str(ground.outside)])


def test_a_local_vrt_names_stores_below_its_roots(store, ground):
    url = store.put("maps/a.tif", ground.secret)
    xml = vrt(source(f"/vsis3/{store.bucket}/maps/a.tif"))
    ground.check(xml, store.url)
    with pytest.raises(UntrustedError, match=r"input\.roots"):
        ground.check(xml, url.removesuffix(".tif"))


def test_a_thousand_sources_of_a_store_are_looked_into_together(store, ground):
    names = []
    for number in range(40):
        store.put(f"maps/{number}.tif", ground.secret)
        names.append(source(f"{number}.tif", 1))
    url = store.put("maps/scene.vrt", vrt("".join(names)).encode())
    store.take_requests()
    check_vrt(url, roots=[])
    asked = [one for one in store.take_requests() if one.path.endswith(".tif")]
    assert len(asked) == 40
    assert {one.range for one in asked} == {"bytes=0-1023"}


def test_a_store_that_refuses_is_no_trust(store, ground):
    url = store.put("maps/scene.vrt", vrt(source("a.tif", 1)).encode())
    with pytest.raises(UntrustedError, match="cannot be read, and so not vetted"):
        check_vrt(url.replace("scene.vrt", "gone.vrt"), roots=[])


@pytest.fixture
def website(ground: Ground) -> Iterator[str]:
    """Return the URL of a server of the ground."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(ground.inside.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_vrt_by_http_is_vetted_too(website, ground):
    ground.write(vrt(source("a.tif", 1) + source(f"/vsicurl/{website}/inside/a.tif")))
    check_vrt(f"{website}/inside/scene.vrt", roots=[])
    ground.check(vrt(source(f"/vsicurl/{website}/outside/a.tif?key=a%2Fb")), f"{website}/outside")
    login = website.replace("//", "//me:secret@")
    for place in (f"{website}/inside/../outside", login, f"{website}/inside/%2E%2e/outside"):
        with pytest.raises(UntrustedError, match=r"without \.\. and login"):
            ground.check(vrt(source(f"/vsicurl/{place}/a.tif")), website)
    with pytest.raises(UntrustedError, match=r"input\.roots"):
        ground.check(vrt(source(f"/vsicurl/{website}/outside/a.tif")), f"{website}/inside")
    with pytest.raises(UntrustedError, match="cannot be read, and so not vetted"):
        check_vrt(f"{website}/inside/gone.vrt", roots=[])
