"""Compare generators: train each within one budget, judge all by the main job, tell what they cost.

Whatever is finished in the output folder is not done again, so an interrupted comparison goes on.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from configs.comparison import Comparison, Contender
from configs.load import ConfigError, find_config, load_yaml, override, validate
from configs.schema import RunConfig
from models.checkpoints import load_generator
from models.cost import cpu_seconds_per_mpix, macs_per_pixel, peak_memory_mib
from models.deblurrer import Deblurrer
from models.networks import parameter_count
from pipeline.comparison_figures import draw_figures
from pipeline.comparison_table import Cost, Result, read_curve, read_summary, write_tables
from pipeline.contenders import curve_of, train_contenders, training_of, weights_of
from pipeline.manifest import ExitCode
from pipeline.run import run


def compare(name: str, assignments: Sequence[str] = ()) -> int:
    """Run a comparison from a YAML file or the name of a shipped one; return the exit code."""
    path = find_config(name)
    content = override(load_yaml(path), assignments)
    config = validate(Comparison, content, source=str(path))
    check(config)
    console = Console(stderr=True)
    steps = train_contenders(config, console)
    judged = [one for one in config.contenders if one.network is None]
    for contender in judged:
        judge(config, contender)
    costs = measure_costs(config)
    results = [
        Result(
            contender=one,
            cost=costs[one.name],
            steps=steps.get(one.name),
            curve=read_curve(curve_of(config, one)),
            summary=read_summary(run_folder(config, one)) if one in judged else {},
        )
        for one in config.contenders
    ]
    console.print(write_tables(config.output, results))
    draw_figures(config, results)
    console.print(f"Written to {config.output}", markup=False)
    return ExitCode.OK


def check(config: Comparison) -> None:
    """Raise ConfigError unless every training and run of the comparison is a valid one."""
    for contender in config.contenders:
        if contender.training is not None:
            training_of(config, contender)
        if contender.network is None:
            run_config(config, contender)
    if not config.grid.picture.is_file():
        raise ConfigError(f"grid.picture must be a picture, got {config.grid.picture}")


def run_folder(config: Comparison, contender: Contender) -> Path:
    """Return the folder of the main job that judges a contender."""
    return config.output / contender.name / "run"


def run_config(config: Comparison, contender: Contender) -> RunConfig:
    """Return the main job that judges a contender."""
    deblur = {
        **config.run.get("deblur", {}),
        "weights": str(weights_of(config, contender)),
        "normalisation": contender.normalisation,
    }
    content = {**config.run, "deblur": deblur, "output": run_folder(config, contender)}
    return validate(RunConfig, content, source=f"run of {contender.name}")


def judge(config: Comparison, contender: Contender) -> None:
    """Run the main job with a contender, unless that is done."""
    code = run(run_config(config, contender), force=True)
    if code not in (ExitCode.OK, ExitCode.NOTHING_TO_DO):
        raise RuntimeError(f"the run of {contender.name} ended with exit code {code}")


def measure_costs(config: Comparison) -> Mapping[str, Cost]:
    """Return what every contender costs on this machine, measured in one go."""
    files = {one.name: (weights_of(config, one), one.normalisation) for one in config.contenders}
    networks = {
        name: Deblurrer.load(path, normalisation=mode) for name, (path, mode) in files.items()
    }
    cost = config.cost
    seconds = cpu_seconds_per_mpix(networks, side=cost.side, rounds=cost.rounds)
    del networks
    costs = {}
    for name, (path, mode) in files.items():
        generator, _ = load_generator(path)
        costs[name] = Cost(
            parameters=parameter_count(generator),
            kmacs_per_pixel=macs_per_pixel(generator) / 1e3,
            seconds_per_mpix=seconds[name],
            memory_mib=peak_memory_mib(path, mode, side=cost.memory_side),
        )
    return costs
