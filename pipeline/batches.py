"""How many tiles go through the networks together, where `engine.batch_size` is `auto`."""

from collections import Counter
from collections.abc import Callable, Sequence

from configs.schema import RunConfig
from transforms.records import Window


def choose_batch(
    config: RunConfig, *, windows: Callable[[], Sequence[Window]], digest: str, local: bool
) -> RunConfig:
    """Return settings with a number of tiles.

    A number in the settings stays. `auto` is tried on the GPU that restores the tiles, if the
    workers are `local`, with the most frequent size of the windows; everywhere else it is the
    default. `windows` returns those of the run, `digest` is the SHA-256 of the deblurrer.
    """
    engine, deblur = config.engine, config.deblur
    if engine.batch_size != "auto":
        return config
    size = engine.batch
    if local and deblur.device != "cpu":
        read = config.read.core + 2 * config.read.halo
        from models.batch_size import choose_batch_size  # With torch.
        from transforms.deblur import open_deblurrer

        shapes = Counter((window.read.height, window.read.width) for window in windows())
        size = choose_batch_size(
            lambda: open_deblurrer(deblur),
            {
                "weights": digest,
                "dtype": deblur.dtype,
                "gpu calls": deblur.gpu,
                "normalisation": deblur.normalisation,
            },
            size=max(shapes, key=lambda shape: shapes[shape], default=(read, read)),
            device=deblur.device,
            sharing=engine.parallelism,
        )
    return config.model_copy(update={"engine": engine.model_copy(update={"batch_size": size})})
