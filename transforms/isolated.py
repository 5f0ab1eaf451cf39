"""Isolated: reading scenes, and opening them, in processes that a broken file may kill."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from queue import SimpleQueue
from typing import Concatenate, ParamSpec, TypeVar

from configs.schema import InputConfig, RunConfig
from transforms.decoder import Decoder, DecoderError
from transforms.functional.windows import Rectangle
from transforms.headers import Headers, open_scene
from transforms.native_pixels import Native
from transforms.records import Image, Mask, Scene, Source, Window
from transforms.scene_checks import SceneError
from transforms.scene_reader import Reader, SceneReader

Result = TypeVar("Result")
P = ParamSpec("P")

MOST_FAULTS = 3
"""After so many windows that cost a decoder its life, a file is not tried again."""
OPENERS = 4
"""Processes that open scenes at the same time,"""
_EACH = 16
"""and how many scenes are worth one more."""


def open_reader(config: InputConfig, seconds: float | None) -> Reader:
    """Return a reader whose calls may take some seconds each; None reads in this process."""
    return SceneReader(config) if seconds is None else IsolatedReader(config, seconds)


class IsolatedReader:
    """A SceneReader in a process of its own, so that a file can only harm its own windows.

    Calls raise what those of SceneReader raise, and DecoderError, which is an OSError, where they
    end the process or take longer than `seconds`. A file that did so `MOST_FAULTS` times is not
    given to this reader's process again. It belongs to the thread and the process that made it.
    """

    def __init__(self, config: InputConfig, seconds: float) -> None:
        """Remember what may be opened; the process is started with the first call."""
        self._decoder = Decoder(partial(SceneReader, config), seconds)
        self._faults: Counter[str] = Counter()

    def read_window(self, window: Window) -> tuple[Image, Mask]:
        """Return the sharp pixels of a window's read rectangle, as `read` does."""
        return self.read(window.scene, window.read)

    def read(self, scene: Scene, rectangle: Rectangle) -> tuple[Image, Mask]:
        """Return uint8 (h, w, 3) RGB and bool (h, w), False where the scene has no data."""
        return self._call(SceneReader.read, scene, rectangle)

    def read_native(self, scene: Scene, rectangle: Rectangle) -> tuple[Native, Mask]:
        """Return the bands to render as they are stored, (b, h, w), and which pixels are data."""
        return self._call(SceneReader.read_native, scene, rectangle)

    def nodata(self, scene: Scene) -> float | None:
        """Return the value that stands for no data in the first rendered band."""
        return self._call(SceneReader.nodata, scene)

    def close(self) -> None:
        """End the process."""
        self._decoder.close()

    def _call(
        self,
        function: Callable[Concatenate[SceneReader, Scene, P], Result],
        scene: Scene,
        *arguments: P.args,
        **named: P.kwargs,
    ) -> Result:
        if self._faults[scene.path] >= MOST_FAULTS:
            raise DecoderError(
                f"{scene.path} has ended or stopped its decoder {MOST_FAULTS} times and is not "
                "tried again"
            )
        try:
            return self._decoder.call(function, scene, *arguments, **named)
        except DecoderError:
            self._faults[scene.path] += 1
            raise


def open_scenes(
    sources: Sequence[Source], config: RunConfig
) -> list[Scene | SceneError | DecoderError]:
    """Open the headers of scenes: what each says, or why it cannot be used, in order.

    They are opened by a few processes, unless `engine.read_seconds` is None.
    """
    seconds = config.engine.read_seconds
    if seconds is None:
        return [_or_error(partial(open_scene, source, config)) for source in sources]
    idle: SimpleQueue[Decoder[Headers]] = SimpleQueue()

    def open_one(source: Source) -> Scene | SceneError | DecoderError:
        decoder = idle.get()
        try:
            return _or_error(lambda: decoder.call(Headers.open, source))
        finally:
            idle.put(decoder)

    count = min(OPENERS, 1 + len(sources) // _EACH)
    with ExitStack() as stack:
        for _ in range(count):
            idle.put(stack.enter_context(closing(Decoder(partial(Headers, config), seconds))))
        pool = stack.enter_context(ThreadPoolExecutor(count))
        return list(pool.map(open_one, sources))


def _or_error(open_it: Callable[[], Scene]) -> Scene | SceneError | DecoderError:
    try:
        return open_it()
    except SceneError as error:
        return error
    except DecoderError as error:
        return type(error)(
            f"its header cannot be read: {error}. Copy the file again if it is damaged, convert it "
            "with gdal_translate, or leave it out"
        )
