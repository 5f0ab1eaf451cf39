"""What a comparison of generators is told: the same pictures and budget for all of them."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from configs.base import Section
from configs.networks import Network


class Contender(Section):
    """One generator of a comparison.

    Exactly one of: `training`, what it is trained with on top of the shared training; `weights`, a
    file or a shipped name that is only evaluated; `network`, an untrained architecture of which
    only the cost is measured.
    """

    name: str = Field(pattern=r"^[a-z0-9_]+$", description="names its folder")
    title: str = Field(description="how tables and figures call it")
    family: Literal["v1", "v2", "challenger"]
    training: dict[str, Any] | None = None
    weights: str | None = None
    network: Network | None = None
    normalisation: Literal["frozen", "per_image"] = Field(
        default="frozen", description="where its norm layers take their statistics when it restores"
    )

    @model_validator(mode="after")
    def _one_source(self) -> "Contender":
        given = [
            key for key in ("training", "weights", "network") if getattr(self, key) is not None
        ]
        if len(given) != 1:
            raise ValueError(
                f"contender {self.name!r} needs exactly one of training, weights, network; "
                f"got {', '.join(given) or 'none'}"
            )
        return self


class CostMeasurement(Section):
    """How the cost of a restoration is measured: sides of square pictures in px, and repeats."""

    side: PositiveInt = Field(default=512, multiple_of=32, description="for the seconds")
    rounds: PositiveInt = Field(default=3, description="interleaved over the contenders")
    memory_side: PositiveInt = Field(default=1024, multiple_of=32, description="for the memory")


class PictureGrid(Section):
    """The crop that the visual grid shows, from one sharp picture."""

    picture: Path
    top: int = Field(default=0, ge=0)
    left: int = Field(default=0, ge=0)
    side: PositiveInt = Field(default=192, multiple_of=32)
    length: float = Field(default=11.0, gt=0, description="of the synthetic motion, px")
    angle: float = 30.0


class Comparison(Section):
    """A comparison of generators: training within one budget, the main job, tables and figures.

    `training` is shared by all that are trained (see `DeblurrerTraining`; name, run folder and
    number of steps are filled in). The budget is processor time: each contender's seconds per step
    are measured first and its number of steps follows. `run` is the main job (see `RunConfig`) that
    every contender is judged with; weights and output are filled in.
    """

    kind: Literal["comparison"]
    output: Path
    budget_seconds: PositiveFloat = Field(description="processor time of each training")
    workers: PositiveInt = Field(default=1, description="trainings at a time, on a core each")
    training: dict[str, Any]
    run: dict[str, Any]
    grid: PictureGrid
    cost: CostMeasurement = CostMeasurement()
    contenders: tuple[Contender, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _distinct_names(self) -> "Comparison":
        names = [contender.name for contender in self.contenders]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"names of contenders must differ, got {', '.join(repeated)} twice")
        return self
