"""Parked airliners: large bright things that are no vehicles."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from transforms.functional.render_blocks import Block, draw_block
from transforms.functional.render_canvas import (
    Canvas,
    Floats,
    Material,
    Rgb,
)


@dataclass(frozen=True)
class Aircraft:
    """A parked airliner: centre, heading in radians, length in metres, colour of its tail."""

    x: float
    y: float
    angle: float
    length: float
    livery: Rgb

    def part(self, points: list[tuple[float, float]]) -> Floats:
        """Scene coordinates (n, 2) of local points given in lengths, nose at (0.5, 0)."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        turned = np.array(points) * self.length @ np.array([[cos, sin], [-sin, cos]])
        return (turned + np.array([self.x, self.y])).astype(np.float32)

    @property
    def wings(self) -> list[Floats]:
        """Outlines of wings and tailplane."""
        wing = [(0.13, 0.03), (-0.09, 0.47), (-0.135, 0.475), (-0.06, 0.16), (-0.08, 0.03)]
        tail = [(-0.36, 0.01), (-0.455, 0.17), (-0.49, 0.17), (-0.455, 0.01)]
        return [
            self.part([(x, y * s) for x, y in shape]) for shape in (wing, tail) for s in (-1, 1)
        ]

    @property
    def engines(self) -> list[Block]:
        """Nacelles under the wings."""
        spots = self.part([(0.085, 0.165), (0.085, -0.165)])
        return [
            Block(
                float(x),
                float(y),
                self.angle,
                self.length * 0.115,
                self.length * 0.058,
                2.0,
                "tube",
                (206, 208, 208),
                fitted=False,
            )
            for x, y in spots
        ]

    @property
    def fuselage(self) -> Block:
        """The hull, as a tube."""
        return Block(
            self.x,
            self.y,
            self.angle,
            self.length,
            self.length * 0.105,
            4.5,
            "tube",
            (222, 223, 222),
            fitted=False,
        )


def cast_aircraft(canvas: Canvas, craft: Aircraft) -> None:
    """Shadow of wings, hull and fin."""
    for wing in craft.wings:
        canvas.cast(wing + canvas.sun.fall * 3.6)
    hull = craft.part(
        [
            (0.49, 0),
            (0.42, 0.05),
            (-0.25, 0.05),
            (-0.5, 0.01),
            (-0.5, -0.01),
            (-0.25, -0.05),
            (0.42, -0.05),
        ]
    )
    canvas.cast(np.vstack([hull + canvas.sun.fall * 1.5, hull + canvas.sun.fall * 5.5]))
    fin = craft.part([(-0.36, 0), (-0.47, 0)])
    canvas.cast(np.vstack([fin, craft.part([(-0.47, 0.003), (-0.5, 0)]) + canvas.sun.fall * 11.5]))


def draw_aircraft(canvas: Canvas, craft: Aircraft, rng: np.random.Generator) -> None:
    """Draw engines, wings, hull and fin from the ground up."""
    for block in craft.engines:
        draw_block(canvas, block, rng)
    for wing in craft.wings:
        canvas.polygon(wing, Material((190, 193, 196), 1.0, 2.0, 3.0))
        canvas.cover_polygon(wing)
        canvas.stroke(wing[2:], 0.35, (150, 153, 158), 0.6)
    for sign in (-1, 1):
        x, y = craft.part([(-0.03, 0.053 * sign)])[0] + canvas.sun.fall * 1.2
        canvas.mark(float(x), float(y), craft.angle, craft.length * 0.2, 1.0, (60, 62, 68), 0.4)
    draw_block(canvas, craft.fuselage, rng)
    x, y = craft.part([(0.452, 0)])[0].tolist()
    canvas.mark(x, y, craft.angle, 0.9, 1.9, (48, 54, 62), 0.85)
    fin = craft.part(
        [(-0.33, 0), (-0.42, 0.008), (-0.495, 0.006), (-0.495, -0.006), (-0.42, -0.008)]
    )
    canvas.polygon(fin, Material(craft.livery, 1.0, 2.0, 2.0))
