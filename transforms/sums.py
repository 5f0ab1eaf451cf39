"""Everything that a run reports, as sums over tiles: each has a zero and a `+`."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from fractions import Fraction

from transforms.functional.gain import DetectionCounts
from transforms.functional.quality import Mean, Quality
from transforms.records import Arm


@dataclass(frozen=True, eq=False)
class ArmSums:
    """The sums of one arm: quality against the reference, counts by class against the truth.

    `sharpness` is over tiles, `stability` over detections at the operating point.
    """

    quality: Quality = Quality()  # noqa: RUF009 - frozen, so safe to share
    sharpness: Mean = Mean()  # noqa: RUF009
    stability: Mean = Mean()  # noqa: RUF009
    counts: Mapping[str, DetectionCounts] = field(default_factory=dict)

    def __add__(self, other: "ArmSums") -> "ArmSums":
        return ArmSums(
            self.quality + other.quality,
            self.sharpness + other.sharpness,
            self.stability + other.stability,
            add_by_key(self.counts, other.counts),
        )

    def equals(self, other: "ArmSums") -> bool:
        """Say whether both hold the same sums."""
        plain = (self.quality, self.sharpness, self.stability, self.counts.keys())
        if plain != (other.quality, other.sharpness, other.stability, other.counts.keys()):
            return False
        return all(count.equals(other.counts[name]) for name, count in self.counts.items())


@dataclass(frozen=True)
class Changes:
    """Objects at the operating point: in both arms, only in `after`, only in `before`.

    Of the gained, as many pass the re-blur check, fail it, or leave it undecided. Where there is
    truth, so many of the gained, of those that fail the check, and of the lost are true, and so
    many false. `score_shift` is over the kept: the score in `after` minus that in `before`.
    """

    kept: int = 0
    gained: int = 0
    lost: int = 0
    gained_consistent: int = 0
    gained_inconsistent: int = 0
    gained_undecided: int = 0
    gained_true: int = 0
    gained_false: int = 0
    gained_inconsistent_true: int = 0
    gained_inconsistent_false: int = 0
    lost_true: int = 0
    lost_false: int = 0
    score_shift: Mean = Mean()  # noqa: RUF009 - frozen, so safe to share

    def __add__(self, other: "Changes") -> "Changes":
        pairs = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        return Changes(**pairs)


@dataclass(frozen=True, eq=False)
class TileSums:
    """The sums of some tiles: `TileSums()` is the zero. `area` is that which is judged, in km2."""

    arms: Mapping[Arm, ArmSums] = field(default_factory=dict)
    changes: Changes = Changes()
    tiles: int = 0
    empty: int = 0
    skipped: int = 0
    fallback: int = 0
    valid_pixels: int = 0
    skipped_pixels: int = 0
    area: Fraction = Fraction(0)

    def __add__(self, other: "TileSums") -> "TileSums":
        return TileSums(
            add_by_key(self.arms, other.arms),
            self.changes + other.changes,
            self.tiles + other.tiles,
            self.empty + other.empty,
            self.skipped + other.skipped,
            self.fallback + other.fallback,
            self.valid_pixels + other.valid_pixels,
            self.skipped_pixels + other.skipped_pixels,
            self.area + other.area,
        )


def add_by_key(left: Mapping, right: Mapping) -> dict:
    """Add what stands under the same key; what only one side has stays as it is."""
    both = {key: left[key] + right[key] for key in left if key in right}
    return {**right, **left, **both}
