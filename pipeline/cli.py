"""The command `aerial-deblur`: demo, run, plan, replay, gate, calibrate, train, and more."""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import BrokenRunError
from pipeline.importing import importing
from pipeline.leaving import leave

if TYPE_CHECKING:
    from configs.schema import RunConfig

DESCRIPTION = """\
Deblur aerial and street-level scenes, detect objects before and after, and report what
deblurring did to detection, with controls.

  aerial-deblur demo                  a rendered scene, end to end
  aerial-deblur run my.yaml --input 'scenes/*.tif' --output out/night
  aerial-deblur plan my.yaml          what a run would do; reads no pixel
"""

OK, BROKEN, BAD_CONFIG = 0, 1, 2
INTERRUPTED = 128 + signal.SIGINT


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code (see docs/running.md)."""
    try:
        return leave(_run_command(arguments))
    except KeyboardInterrupt:
        print("aerial-deblur: interrupted", file=sys.stderr)
        return leave(INTERRUPTED)
    except SystemExit as ended:
        leave(ended.code if isinstance(ended.code, int) else BROKEN)
        raise


def _run_command(arguments: Sequence[str] | None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Libraries below warn of what does not concern a user, such as cloud clients not installed.
    logging.getLogger().setLevel(logging.ERROR)
    own, beam_flags = _split_at_dashes(given)
    options = _parser().parse_args(own)
    try:
        return int(options.command(options, beam_flags))
    except (ValueError, OSError, BrokenRunError) as error:
        if os.environ.get("AERIAL_DEBLUR_TRACEBACK"):
            raise
        print(f"aerial-deblur: {error}", file=sys.stderr)
        return BROKEN if isinstance(error, BrokenRunError) else BAD_CONFIG


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="aerial-deblur",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="render the demo scene and run the main job on it")
    demo.set_defaults(command=_demo)

    run = commands.add_parser(
        "run",
        help="the main job: deblur, detect, measure, write Parquet",
        epilog="Flags after -- go to Apache Beam, for example: -- --runner=FnApiRunner",
    )
    _add_run_options(run)
    _add_engine_options(run)
    run.set_defaults(command=_run)

    plan = commands.add_parser("plan", help="what a run would do: scenes, windows, MPix, time")
    _add_run_options(plan)
    plan.set_defaults(command=_plan, engine=None, flink_master=None)

    replay = commands.add_parser("replay", help="process one window of an earlier run again")
    replay.add_argument("output", help="the folder of the run, or its URL on an object store")
    replay.add_argument("key", help="the window's key, as in the tables tiles and rejected")
    replay.add_argument(
        "--input", nargs="+", default=[], metavar="GLOB", help="scenes, where URLs need their keys"
    )
    replay.set_defaults(command=_replay)

    gate = commands.add_parser("gate", help="is a run worse than those before it?")
    _add_gate(gate)

    history = commands.add_parser("history", help="collect runs, one row each, in a Parquet file")
    history.add_argument(
        "outputs", nargs="+", metavar="OUT", help="the folder of a run, or its URL"
    )
    history.add_argument(
        "--to", required=True, metavar="FILE", help="the file, such as runs.parquet"
    )
    history.set_defaults(command=_history)

    pool = commands.add_parser("worker-pool", help="start the workers of jobs on Flink or Spark")
    pool.add_argument("--port", type=int, default=50000, help="where jobs ask for workers")
    pool.set_defaults(command=_worker_pool)

    export = commands.add_parser("export", help="a table of a run as FlatGeobuf or PMTiles")
    _add_export(export)

    calibrate = commands.add_parser(
        "calibrate", help="choose the score threshold on a sharp labelled set"
    )
    _add_calibrate(calibrate)

    train = commands.add_parser("train", help="train a deblurrer or a detector")
    train.add_argument("config", help="a YAML file or the name of a shipped one")
    _add_set_option(train)
    train.set_defaults(command=_train)

    compare = commands.add_parser("compare", help="train generators on one budget and compare them")
    compare.add_argument("config", help="a YAML file or the name of a shipped one")
    _add_set_option(compare)
    compare.set_defaults(command=_compare)

    models = commands.add_parser("models", help="what is shipped: size, digest, licence, numbers")
    models.set_defaults(command=_models)
    actions = models.add_subparsers(metavar="ACTION")
    inspect = actions.add_parser("inspect", help="what a weight file holds, by loading it strictly")
    inspect.add_argument("weights", help="a file, or the name of shipped weights")
    inspect.set_defaults(command=_inspect)
    _add_probe(commands.add_parser("probe", help="what a deblurrer does to synthetic charts"))
    quantize = commands.add_parser("quantize", help="make the 8-bit network of a deblurrer")
    quantize.add_argument("weights", help="a file, or the name of shipped weights")
    quantize.add_argument("--pictures", metavar="GLOB", help="calibrate on these, not on ours")
    quantize.add_argument("--crops", type=int, default=24, help="so many pictures of 256 px")
    quantize.set_defaults(command=_quantize)
    _add_bench(commands.add_parser("bench", help="how fast networks and a small run are here"))
    return parser


def _add_probe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("weights", help="a file, or the name of shipped weights")
    parser.add_argument("--normalisation", choices=("frozen", "per_image"), default="frozen")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers as JSON")
    parser.add_argument("--figure", type=Path, metavar="FILE", help="draw charts and answers, PNG")
    parser.set_defaults(command=_probe)


def _add_bench(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--parts",
        nargs="+",
        choices=("generator", "detector", "run"),
        default=["generator", "detector", "run"],
    )
    parser.add_argument(
        "--weights",
        nargs="+",
        default=["deblur_dsc"],
        metavar="NAME",
        help="deblurrers: files, names of shipped ones, or published_mobilenet: random weights",
    )
    parser.add_argument("--detector", default="vehicles_yolo", metavar="NAME")
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 1024], metavar="PX")
    parser.add_argument("--batches", type=int, nargs="+", default=[1], metavar="N")
    parser.add_argument(
        "--backends",
        nargs="+",
        choices=("torch", "openvino", "onnxruntime"),
        help="default: all that are installed",
    )
    parser.add_argument(
        "--dtypes",
        nargs="+",
        choices=("float32", "bfloat16", "float16", "int8"),
        default=["float32"],
        help="each where a backend has it",
    )
    parser.add_argument(
        "--processes", type=int, nargs="+", metavar="N", help="default: as many as cores"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a lap, about")
    parser.add_argument("--run-size", type=int, default=2048, metavar="PX", help="of its scene")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers as JSON")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables")
    parser.set_defaults(command=_bench)


def _add_engine_options(parser: argparse.ArgumentParser) -> None:
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--force", action="store_true", help="do all anew, in place of any run")
    again.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="SCENE",
        help="do these scenes again, and take all others from what the output holds",
    )
    parser.add_argument("--engine", metavar="NAME", help="local, flink, spark, prism, ...")
    parser.add_argument("--flink-master", metavar="HOST:PORT", help="Flink's REST address")


def _add_gate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("output", help="the folder of a finished run, or its URL on a store")
    parser.add_argument(
        "--against",
        required=True,
        metavar="HISTORY",
        help="a file of runs (see history), or a folder with the folders of runs",
    )
    _add_set_option(parser)
    parser.set_defaults(command=_gate)


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("output", help="the folder of a finished run, or its URL on a store")
    parser.add_argument("--format", required=True, choices=("flatgeobuf", "pmtiles"))
    parser.add_argument("--table", default="detections", choices=("detections", "ledger", "tiles"))
    parser.add_argument("--to", metavar="FILE", help="the file to write; default: in the run")
    parser.set_defaults(command=_export)


def _add_calibrate(parser: argparse.ArgumentParser) -> None:
    _add_scene_options(parser)
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument(
        "--precision", type=float, metavar="P", help="the lowest threshold with this precision"
    )
    target.add_argument(
        "--false-per-km2",
        type=float,
        metavar="N",
        help="the lowest threshold with at most N false detections per square kilometre",
    )
    parser.add_argument(
        "--write", type=Path, metavar="FILE", help="a YAML file to write the threshold into"
    )
    parser.set_defaults(command=_calibrate, output=None, engine=None, flink_master=None)


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    _add_scene_options(parser)
    parser.add_argument("--output", metavar="DIR", help="the folder to write, instead of output")


def _add_scene_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", help="a YAML file, or the name of a shipped one such as demo")
    parser.add_argument(
        "--input", nargs="+", metavar="GLOB", help="scenes to read, instead of input.scenes"
    )
    parser.add_argument(
        "--labels", metavar="PATH", help="GeoJSON or GeoParquet file, or folder of YOLO txt"
    )
    _add_set_option(parser)


def _add_set_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        dest="assignments",
        action="append",
        default=[],
        metavar="KEY.PATH=VALUE",
        help="override one setting, such as read.core=1024; may be repeated",
    )


def _split_at_dashes(arguments: list[str]) -> tuple[list[str], list[str]]:
    if "--" not in arguments:
        return arguments, []
    at = arguments.index("--")
    return arguments[:at], arguments[at + 1 :]


def _load(options: argparse.Namespace) -> "RunConfig":
    from configs.load import find_config, load_yaml, override, validate
    from configs.schema import RunConfig

    path = find_config(options.config)
    content = override(load_yaml(path), options.assignments)
    given = {"scenes": options.input, "labels": options.labels}
    section = {key: value for key, value in given.items() if value is not None}
    content = {**content, "input": {**(content.get("input") or {}), **section}}
    engine = {"name": options.engine, "master": options.flink_master}
    section = {key: value for key, value in engine.items() if value is not None}
    if section:
        content["engine"] = {**(content.get("engine") or {}), **section}
    if options.output is not None:
        content["output"] = options.output
    return validate(RunConfig, content, source=str(path))


def _run(options: argparse.Namespace, beam_flags: list[str]) -> int:
    with importing():
        from pipeline.run import run

    return run(_load(options), beam_flags, force=options.force, only=options.only)


def _demo(options: argparse.Namespace, beam_flags: list[str]) -> int:
    with importing():
        from pipeline.demo import run_demo

    return run_demo(beam_flags)


def _plan(options: argparse.Namespace, beam_flags: list[str]) -> int:
    with importing():
        from rich.console import Console

        from pipeline.beam_flags import beam_options
        from pipeline.planning import describe, plan_run

    plan = plan_run(_load(options))
    beam_options(plan.config.engine, beam_flags)
    Console().print(describe(plan))
    return OK


def _replay(options: argparse.Namespace, beam_flags: list[str]) -> int:
    from upath import UPath

    from pipeline.run import replay

    if beam_flags:
        raise ValueError(f"replay takes no Beam flags, got {' '.join(beam_flags)}")
    return replay(UPath(options.output), options.key, scenes=options.input)


def _gate(options: argparse.Namespace, beam_flags: list[str]) -> int:
    from upath import UPath

    from pipeline.gate import gate

    if beam_flags:
        raise ValueError(f"gate takes no Beam flags, got {' '.join(beam_flags)}")
    return gate(UPath(options.output), UPath(options.against), options.assignments)


def _history(options: argparse.Namespace, beam_flags: list[str]) -> int:
    from upath import UPath

    from pipeline.history import collect_runs

    if beam_flags:
        raise ValueError(f"history takes no Beam flags, got {' '.join(beam_flags)}")
    return collect_runs([UPath(output) for output in options.outputs], UPath(options.to))


def _worker_pool(options: argparse.Namespace, beam_flags: list[str]) -> int:
    from pipeline.worker_pool import serve

    if beam_flags:
        raise ValueError(f"worker-pool takes no Beam flags, got {' '.join(beam_flags)}")
    return serve(options.port)


def _export(options: argparse.Namespace, beam_flags: list[str]) -> int:
    from upath import UPath

    from pipeline.export import export

    if beam_flags:
        raise ValueError(f"export takes no Beam flags, got {' '.join(beam_flags)}")
    target = None if options.to is None else UPath(options.to)
    return export(UPath(options.output), options.table, options.format, target)


def _calibrate(options: argparse.Namespace, beam_flags: list[str]) -> int:
    from pipeline.calibrate import calibrate
    from transforms.functional.operating_point import Target

    if beam_flags:
        raise ValueError(f"calibrate takes no Beam flags, got {' '.join(beam_flags)}")
    target = (
        Target("false_per_km2", options.false_per_km2)
        if options.precision is None
        else Target("precision", options.precision)
    )
    return calibrate(_load(options), target, write=options.write)


def _train(options: argparse.Namespace, beam_flags: list[str]) -> int:
    from pipeline.train import train

    if beam_flags:
        raise ValueError(f"train takes no Beam flags, got {' '.join(beam_flags)}")
    return train(options.config, options.assignments)


def _compare(options: argparse.Namespace, beam_flags: list[str]) -> int:
    from pipeline.compare import compare

    if beam_flags:
        raise ValueError(f"compare takes no Beam flags, got {' '.join(beam_flags)}")
    return compare(options.config, options.assignments)


def _models(options: argparse.Namespace, beam_flags: list[str]) -> int:
    from rich.console import Console

    from pipeline.shipped import describe_models

    Console().print(describe_models())
    return OK


def _inspect(options: argparse.Namespace, beam_flags: list[str]) -> int:
    from rich.console import Console

    from pipeline.shipped import inspect_weights

    Console().print(inspect_weights(options.weights))
    return OK


def _probe(options: argparse.Namespace, beam_flags: list[str]) -> int:
    from rich.console import Console

    from configs.schema import DeblurConfig
    from pipeline.probe import probe

    if beam_flags:
        raise ValueError(f"probe takes no Beam flags, got {' '.join(beam_flags)}")
    config = DeblurConfig(
        weights=options.weights,
        normalisation=options.normalisation,
        device=options.device,
        dtype=options.dtype,
    )
    Console().print(probe(config, json_file=options.json, figure=options.figure))
    return OK


def _quantize(options: argparse.Namespace, beam_flags: list[str]) -> int:
    from rich.console import Console

    from pipeline.quantize import describe, quantize

    if beam_flags or options.crops < 1:
        raise ValueError("quantize takes no Beam flags, and --crops of at least 1")
    path, rungs = quantize(options.weights, pictures=options.pictures, crops=options.crops)
    Console().print(describe(path, rungs))
    return OK


def _bench(options: argparse.Namespace, beam_flags: list[str]) -> int:
    from rich.console import Console

    from pipeline.bench import Order, bench, field_of

    if beam_flags:
        raise ValueError(f"bench takes no Beam flags, got {' '.join(beam_flags)}")
    order = Order(
        parts=tuple(options.parts),
        weights=tuple(options.weights),
        detector=options.detector,
        run_side=options.run_size,
        field=field_of(options),
    )
    bench(order, Console(), json_file=options.json, page=options.markdown)
    return OK
