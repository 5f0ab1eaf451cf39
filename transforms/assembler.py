"""Assemblers: mosaics are made in this process, or in another that a scene may kill."""

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from configs.schema import RunConfig
from transforms.decoder import Decoder, DecoderCrash
from transforms.mosaic_status import Receipt
from transforms.records import Rejected, Scene
from transforms.scene_mosaic import PREFIX, Mosaic, assemble_mosaic, reject_scene
from transforms.workplace import Workplace


@dataclass(frozen=True)
class PlainAssembler:
    """Makes mosaics in this process; `tags` go into each."""

    config: RunConfig
    tags: Mapping[str, str]
    place: Workplace

    def assemble(
        self, scene: Scene, receipts: Iterable[Receipt], scratch: Path | None = None
    ) -> Mosaic | Rejected:
        """Return the mosaic of a scene, or why there is none; see `assemble_mosaic`."""
        return assemble_mosaic(scene, receipts, self.config, self.tags, self.place, scratch)

    def close(self) -> None:
        """Do nothing."""


class IsolatedAssembler:
    """Makes mosaics in a process of its own: a scene that ends it twice has none."""

    def __init__(self, config: RunConfig, tags: Mapping[str, str], place: Workplace) -> None:
        """Take what `PlainAssembler` does; the process is started for the first mosaic."""
        self._place = place
        self._decoder = Decoder(partial(PlainAssembler, config, tags, place), None)

    def assemble(self, scene: Scene, receipts: Iterable[Receipt]) -> Mosaic | Rejected:
        """Return the mosaic of a scene, or why there is none; it may take any time."""
        with tempfile.TemporaryDirectory(prefix=PREFIX) as folder:
            try:
                return self._decoder.call(
                    PlainAssembler.assemble, scene, list(receipts), Path(folder)
                )
            except DecoderCrash as error:
                message = (
                    f"{error}. Copy the file again if it is damaged, or leave mosaic.write out"
                )
                return reject_scene(scene, type(error).__name__, message, self._place)

    def close(self) -> None:
        """End the process."""
        self._decoder.close()


def open_assembler(
    config: RunConfig, tags: Mapping[str, str], place: Workplace
) -> PlainAssembler | IsolatedAssembler:
    """Return what makes mosaics: in this process if `engine.read_seconds` is None."""
    isolated = config.engine.read_seconds is not None
    return (IsolatedAssembler if isolated else PlainAssembler)(config, tags, place)
