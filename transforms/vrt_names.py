"""What a VRT names: every name of a file in its XML, and the refusal of what is code."""

import re
from dataclasses import dataclass
from xml.parsers import expat

DEEPEST_XML = 32
"""Elements within each other: GDAL reads them by recursion, and its stack is limited."""

_SUBCLASSES = {
    *("vrtdataset", "vrtwarpeddataset", "vrtpansharpeneddataset"),
    *("vrtrasterband", "vrtsourcedrasterband", "vrtwarpedrasterband"),
    *("vrtderivedrasterband", "vrtpansharpenedrasterband"),
}
_OPEN_OPTIONS = {"overview_level", "num_threads", "georef_sources", "use_tile_as_block"}
_PROSE = {
    *("srs", "sourcesrs", "targetsrs", "projection", "coordinateoperation", "cutline"),
    *("description", "category", "unittype", "id", "info", "name", "f", "key", "domain"),
}
"""Words for people, and coordinate systems: no file, whatever they look like."""
_FILE_KEYS = {"overview_file", "x_dataset", "y_dataset"}
"""Metadata that GDAL takes for names of files."""
_FILE_WORD = re.compile(r"(filename|dataset|dempath|grids?|_ds|_file)$")
_LIKE_A_FILE = re.compile(r"<|.*[/\\]|[a-z][\w+.-]+:|.*\.[a-z]\w{0,7}$", re.S | re.I)


class UntrustedError(ValueError):
    """A name, or a VRT, that GDAL must not be asked to open; the message says what to do."""


@dataclass(frozen=True)
class Name:
    """Something in a VRT that is, or may be, the name of a file; `relative` to the VRT."""

    text: str
    relative: bool


def read_names(vrt: str, content: bytes) -> list[Name]:
    """Return every name in the XML of a VRT, each once, in order; `vrt` stands in messages.

    Raises UntrustedError, with the remedy, for code, and for XML that others may read differently.
    """
    return _Scan(vrt).names(content)


@dataclass
class _Open:
    """An element that is being read."""

    tag: str
    attributes: dict[str, str]
    text: str = ""
    mixed: bool = False


class _Scan:
    """One pass over the XML of a VRT. GDAL ignores case, and takes attributes for elements."""

    def __init__(self, vrt: str) -> None:
        self._vrt = vrt
        self._names: dict[Name, None] = {}
        self._open: list[_Open] = []
        # GDAL takes everything for UTF-8, whatever the file says of itself.
        parser = self._parser = expat.ParserCreate("utf-8")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.CommentHandler = self._comment
        parser.StartDoctypeDeclHandler = self._markup
        parser.ProcessingInstructionHandler = self._markup
        parser.StartCdataSectionHandler = self._markup

    def names(self, content: bytes) -> list[Name]:
        """Return every name, each once; raises UntrustedError for code, and for what is no VRT."""
        try:
            self._parser.Parse(content, True)
        except expat.ExpatError as error:
            raise self._refusal(f"is no well-formed XML ({error}): write it again") from error
        return list(self._names)

    def _refusal(self, why: str) -> UntrustedError:
        return UntrustedError(f"{self._vrt} {why}")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        tag = tag.lower()
        lowered = {name.lower(): value for name, value in attributes.items()}
        if not self._open and tag != "vrtdataset":
            raise self._refusal(f"is no VRT: it begins with <{tag}>")
        if len(self._open) >= DEEPEST_XML or len(lowered) < len(attributes):
            raise self._refusal("has elements nested too deeply, or attributes twice: write it so "
                                "that GDAL's own tools would have written it")  # fmt: skip
        for element in self._open[-1:]:
            element.mixed = True
        for name, value in lowered.items():
            if name != "relativetovrt" and _FILE_WORD.search(name):
                raise self._refusal(f"has {name} as an attribute: make it an element")
            self._leaf(name, value, {})
        self._open.append(_Open(tag, lowered))

    def _end(self, _: str) -> None:
        element = self._open.pop()
        if element.text.strip() and element.mixed:
            raise self._refusal(f"has text beside other things in <{element.tag}>: remove these")
        if element.text.strip():
            self._leaf(element.tag, element.text, element.attributes)
        elif element.tag in ("pixelfunctioncode", "pixelfunctionlanguage"):
            self._leaf(element.tag, "", {})

    def _text(self, text: str) -> None:
        self._open[-1].text += text

    def _comment(self, text: str) -> None:
        if "<" in text:
            raise self._refusal("has elements in a comment: remove them")
        for element in self._open[-1:]:
            element.mixed = True

    def _markup(self, *_: object) -> None:
        raise self._refusal("has a DOCTYPE, a processing instruction or CDATA: remove it")

    def _leaf(self, word: str, value: str, attributes: dict[str, str]) -> None:
        """Judge one element or attribute that has a value."""
        self._refuse_code(word, value)
        key = attributes.get("key", attributes.get("name", "")).lower()
        if word == "ooi" and key not in _OPEN_OPTIONS:
            raise self._refusal(f"has the open option {key!r}, which it must not set: remove it")
        if word == "ooi" or (word == "mdi" and key not in _FILE_KEYS):
            return
        if word in _PROSE:
            if _names_grid(value.lower()):
                raise self._refusal(f"names a file of a shift in <{word}>: use a plain CRS")
        elif _FILE_WORD.search(word) or word == "mdi":
            relative = attributes.get("relativetovrt", "0")
            if relative not in ("0", "1"):
                raise self._refusal(f"has relativeToVRT={relative!r}: wanted is 0 or 1")
            self._names[Name(value, relative == "1")] = None
        elif _LIKE_A_FILE.match(value.strip()):
            self._names[Name(value.strip(), True)] = None

    def _refuse_code(self, word: str, value: str) -> None:
        plain = re.fullmatch(r"\w+", value.strip()) and value.strip().lower() != "expression"
        if (
            word == "pixelfunctioncode"
            or (word == "pixelfunctionlanguage" and value.strip().lower() != "c")
            or (word == "pixelfunctiontype" and not plain)
        ):
            raise self._refusal(
                "has a pixel function that is code: use one that is built into GDAL, or compute "
                "the pixels first (gdal_translate)"
            )
        if word == "subclass" and value.strip().lower() not in _SUBCLASSES:
            raise self._refusal(
                f"is or has a {value}, which may not be read: convert it with gdal_translate"
            )


def _names_grid(crs: str) -> bool:
    """Say whether a CRS, in lower case, names a file of a shift that lies in some folder.

    PROJ writes `grids=FILE`, WKT `PARAMETERFILE["...", "FILE"]`. The time that it takes grows with
    the text: a single pattern for both would try every start with every end.
    """
    named = [word.partition("grids=")[2] for word in re.split(r"[\s\]]", crs)]
    named += [part.partition("parameterfile[")[2] for part in crs.split("]")]
    return any("/" in text or "\\" in text for text in named)
