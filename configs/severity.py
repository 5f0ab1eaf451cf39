"""The severity ladder of synthetic motion blur, fixed so that numbers compare over time.

A rung is a length of straight motion: 7, 11, 15 and 21 px are those of the model cards (so old and
new numbers can be laid side by side), and 4 px below them is where blur begins to cost detections.
Every rung comes in four directions, with the noise of a good sensor, in linear light (sRGB curve,
IEC 61966-2-1). Never edit a ladder: add another one under the next number.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Ladder:
    """Lengths in px, severity 1 first; angles in degrees; noise as in `configs.schema.BlurConfig`.

    `angles` are counter-clockwise from the direction of growing columns.
    """

    lengths: tuple[float, ...]
    angles: tuple[float, ...]
    read_noise: float
    shot_noise: float


LADDERS = {
    1: Ladder(
        lengths=(4.0, 7.0, 11.0, 15.0, 21.0),
        angles=(0.0, 45.0, 90.0, 135.0),
        read_noise=0.001,
        shot_noise=0.003,
    )
}
"""By version; severity n of a ladder is its n-th length."""
