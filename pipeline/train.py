"""Train what a configuration describes: its `kind` says whether a deblurrer or a detector."""

from collections.abc import Sequence

from configs.load import ConfigError, find_config, load_yaml, override, validate


def train(name: str, assignments: Sequence[str]) -> int:
    """Train from a YAML file or the name of a shipped one; return the exit code."""
    path = find_config(name)
    content = override(load_yaml(path), assignments)
    kind = content.get("kind")
    if kind == "deblurrer":
        from configs.train_deblurrer import DeblurrerTraining
        from models.training.deblur_loop import train_deblurrer

        written = train_deblurrer(validate(DeblurrerTraining, content, source=str(path)))
    elif kind == "detector":
        from configs.train_detector import DetectorTraining
        from models.training.detector_loop import train_detector

        written = train_detector(validate(DetectorTraining, content, source=str(path)))
    else:
        raise ConfigError(f"{path}: kind must be 'deblurrer' or 'detector', got {kind!r}")
    print(f"wrote {written}")
    return 0
