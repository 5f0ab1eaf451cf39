"""The gate: say whether a run is worse than those before it."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from upath import UPath

from configs.load import override, validate
from configs.operations import GateConfig
from pipeline import manifest
from pipeline.gate_checks import Finding, judge
from pipeline.history import has_ended, read_history, run_row
from pipeline.manifest import ExitCode, Manifest
from transforms.tables import Row


def gate(output: UPath, against: UPath, assignments: Sequence[str] = ()) -> int:
    """Compare a run with earlier ones, say what was found, and return the exit code.

    `against` is a history or a folder with the folders of runs; `assignments`, such as
    `gate.runs=30`, go before the settings of the run. Returns 4 if the run is worse, else 0, also
    where there is no basis to judge it by. Raises ValueError if either is not there, or the run
    did not come to its end.
    """
    run = manifest.read(output)
    if not has_ended(run) or not run.get("counts"):
        raise ValueError(f"{output} holds no finished run to judge, but one that is {run['state']}")
    config = _settings(run, assignments, source=str(output / manifest.NAME))
    row = run_row(output)
    earlier = _comparable(row, read_history(against))
    console = Console(soft_wrap=True)
    if len(earlier) < config.least:
        console.print(_no_basis(row, earlier, config, against), markup=False)
        return ExitCode.OK
    findings = judge(row, earlier, config)
    failed = any(finding.outcome == "worse" for finding in findings)
    console.print(describe(row, earlier[-config.runs :], findings), markup=False)
    return ExitCode.GATE_FAILED if failed else ExitCode.OK


def describe(row: Row, earlier: Sequence[Row], findings: Sequence[Finding]) -> str:
    """Return the paragraph for people: what is worse or, if nothing is, that nothing is."""
    by = {each.outcome: [f for f in findings if f.outcome == each.outcome] for each in findings}
    basis = (
        f"the {len(earlier)} runs of the same settings before it "
        f"({_name(earlier[0])} to {_name(earlier[-1])})"
    )
    if "worse" in by:
        start = f"Gate failed: run {_name(row)} is worse than {basis}"
        sentences = [start, _join(map(str, by["worse"])), *_changed(row, earlier[-1])]
    else:
        start = f"Gate passed: run {_name(row)} is in line with {basis}"
        usual = by.get("in line", [])
        sentences = [start, _join(f"{finding.name} {finding.number}" for finding in usual)]
    for outcome in ("better", "not judged"):
        if outcome in by:
            sentences.append(f"{outcome.capitalize()}: {_join(map(str, by[outcome]), plain=True)}")
    return "".join(f"{sentence}. " for sentence in sentences if sentence).strip()


def _join(parts: Iterable[str], *, plain: bool = False) -> str:
    """Return parts as one sentence without its full stop, or as the `plain` rest of one."""
    text = "; ".join(parts)
    return text if plain else text[:1].upper() + text[1:]


def _changed(row: Row, before: Row) -> list[str]:
    """Say what else is not as it was in the run before, for whoever looks for the cause."""
    changed = [
        f"{name} from {before[column]} to {row[column]}"
        for column, name in (("code_version", "code"), ("engine", "engine"), ("device", "device"))
        if before[column] != row[column]
    ]
    if before["weights"] != row["weights"]:
        changed.append("the weights")
    return [f"Since {_name(before)} there changed {', '.join(changed)}"] if changed else []


def _settings(run: Manifest, assignments: Sequence[str], *, source: str) -> GateConfig:
    """Return the gate's settings: those of the run, with what was assigned on top."""
    known = {"gate": run["config"].get("gate") or {}}
    content = override(known, assignments)
    if content.keys() != known.keys():
        raise ValueError(f"only settings of the gate can be given here, got {list(assignments)}")
    return validate(GateConfig, content["gate"], source=source)


def _comparable(row: Row, history: Sequence[Row]) -> list[Row]:
    """Return the earlier runs of the same settings that ended well, in the order of their start."""
    return [
        old
        for old in history
        if row["settings_id"] is not None
        and old["settings_id"] == row["settings_id"]
        and old["state"] == "done"
        and old["started"] < row["started"]
    ]


def _no_basis(row: Row, earlier: Sequence[Row], config: GateConfig, against: UPath) -> str:
    if row["settings_id"] is None:
        return f"Not judged: run {_name(row)} is of a version that says not what it compares with."
    return (
        f"Not judged: {against} has {len(earlier)} earlier runs that ended well with the settings "
        f"of run {_name(row)} (settings {row['settings_id']}), and gate.least asks for "
        f"{config.least}."
    )


def _name(row: Row) -> str:
    return f"{row['run_id']} of {row['started'][:16]}Z"
