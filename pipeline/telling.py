"""Telling others of a run: Prometheus, the history, OpenLineage.

It is the run that counts: that somebody could not be told is a warning.
"""

from collections.abc import Callable

from configs.schema import RunConfig
from pipeline.history import record_run
from pipeline.lineage import Event, emit
from pipeline.manifest import ExitCode, Manifest
from pipeline.prometheus import report_run


def tell_of_start(config: RunConfig, run: Manifest) -> list[str]:
    """Tell that a run has begun; `run` is its manifest. Return what went wrong."""
    return _attempt(lambda: emit(config, run, "START"), f"{config.observe.lineage}")


def tell_of_end(config: RunConfig, run: Manifest) -> list[str]:
    """Tell how a run has ended, well or not; `run` is its manifest. Return what went wrong."""
    event: Event = "FAIL" if run["exit_code"] == ExitCode.BROKEN else "COMPLETE"
    problems = report_run(config.observe, config.output, run)
    problems += _attempt(lambda: emit(config, run, event), f"{config.observe.lineage}")
    history = config.observe.history
    if history is not None:
        problems += _attempt(lambda: record_run(config.output, history), str(history))
    return problems


def _attempt(tell: Callable[[], None], target: str) -> list[str]:
    try:
        tell()
    except (ValueError, OSError) as error:
        return [f"{target} does not know of this run: {error}"]
    return []
