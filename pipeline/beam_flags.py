"""The flags that go to Beam: ours by default, checked before submission."""

import argparse
from collections.abc import Sequence

from apache_beam.options.pipeline_options import PipelineOptions, _BeamArgumentParser

from configs.operations import EngineConfig

LOCAL_RUNNER = "FnApiRunner"
LOSSY_MODE = "multi_threading"


def beam_options(engine: EngineConfig, flags: Sequence[str]) -> PipelineOptions:
    """Return the options of a run; the user's flags win over ours.

    Raises ValueError for a flag that Beam does not know, and for settings that are known to lose
    elements or to choose another engine depending on the network.
    """
    known, unknown = _parser().parse_known_args(list(flags))
    if unknown:
        raise ValueError(f"Beam knows no such flags: {' '.join(unknown)}")
    if known.runner in ("DirectRunner", "SwitchingDirectRunner"):
        raise ValueError(
            f"--runner={known.runner} picks an engine by what it can download; "
            f"use --runner={LOCAL_RUNNER} (the default) or name the engine you want"
        )
    if known.direct_running_mode == LOSSY_MODE:
        raise ValueError(
            f"--direct_running_mode={LOSSY_MODE} loses elements in Beam 2.77; "
            "use in_memory or multi_processing (engine.workers > 1)"
        )
    mode = "in_memory" if engine.workers == 1 else "multi_processing"
    ours = [
        f"--runner={LOCAL_RUNNER}",
        f"--direct_running_mode={mode}",
        f"--direct_num_workers={engine.workers}",
    ]
    return PipelineOptions([*ours, *flags])


def _parser() -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = _BeamArgumentParser(
        add_help=False, allow_abbrev=False, conflict_handler="resolve"
    )
    for options in PipelineOptions.__subclasses__():
        options._add_argparse_args(parser)
    return parser
