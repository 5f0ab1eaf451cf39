"""How well the re-blur check catches objects that deblurring invented.

    python benchmarks/hallucinations.py

writes docs/results_hallucinations.md. Pictures are blurred by us and deblurred by the shipped
network. What the detector then finds and did not find before is of several kinds: labelled vehicles
are really gained; vehicles that we painted into the deblurred picture are invented.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from configs.severity import LADDERS
from models.deblurrer import Deblurrer
from models.detector import Detector
from models.shipped import resolve_weights
from models.training.detector_data import find_pictures, read_labels
from transforms.functional.blur import motion_kernel
from transforms.functional.boxes import iou_matrix
from transforms.functional.camera import Image, decode_srgb, encode_srgb
from transforms.functional.reblur import (
    CONSISTENT_FROM,
    INCONSISTENT_BELOW,
    LEAST_SIGNAL,
    check_reblur,
    judge_reblur,
)
from transforms.functional.render import render_scene
from transforms.functional.sensor import add_noise, noise_field, smear
from transforms.functional.windows import Rectangle

Float = NDArray[np.float32]
Spot = tuple[int, int]

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results_hallucinations.md"
MUNICH = ROOT.parent / "shared" / "data" / "vehicles_munich"
CHOSEN_ON, REPORTED_ON = range(100, 112), range(200, 220)
LENGTHS = (7.0, 11.0, 15.0, 21.0)
SIZE = 640
THRESHOLD = 0.526
IOU = 0.5
CLEARANCE = 8
"""Pixels between a planted vehicle and the next vehicle."""

GAINED, UNLABELLED, PLANTED, RESHAPED = "gained", "unlabelled", "planted", "reshaped"
STRENGTHENED = {"strengthened from 0.25": 0.25, "strengthened from 0.5": 0.5}
COUNTS = {PLANTED: 12, **dict.fromkeys(STRENGTHENED, 5), RESHAPED: 5}
KINDS = {
    GAINED: "labelled vehicles: really gained",
    PLANTED: "vehicles planted into `after`, 40-100 % opaque, on a place without one: invented",
    **{
        name: f"a vehicle {share:.0%} opaque in the scene, replaced in `after` by an opaque one"
        for name, share in STRENGTHENED.items()
    },
    RESHAPED: (
        "a plain patch in the scene, replaced in `after` by a vehicle of its colour and shape"
    ),
    UNLABELLED: "what the detector finds in the untouched `after` where no vehicle is",
}
ERRORS = {"exact": ((0, 0),), "off": ((2, 10), (2, -10), (-2, 10), (-2, -10))}
"""Errors of the kernel: px of its length, degrees of its angle."""


@dataclass(frozen=True, eq=False)
class Sharp:
    """A sharp picture uint8 (h, w, 3) and the corners of its vehicles, (k, 4, 2) px."""

    image: Image
    corners: Float

    @property
    def boxes(self) -> Float:
        """Horizontal boxes xyxy (k, 4)."""
        return np.concatenate([self.corners.min(axis=1), self.corners.max(axis=1)], axis=1)


@dataclass(frozen=True, eq=False)
class CutOut:
    """A vehicle cut out of a picture: uint8 (h, w, 3), and how much of each pixel is vehicle."""

    pixels: Image
    alpha: Float


@dataclass(frozen=True, eq=False)
class Plant:
    """A cut-out of a kind, and where its top left corner goes: (row, column)."""

    kind: str
    cut_out: CutOut
    spot: Spot

    @property
    def box(self) -> Float:
        """Return the box xyxy (4,) around the vehicle."""
        rows, cols = (np.flatnonzero((self.cut_out.alpha > 0.5).any(axis=axis)) for axis in (1, 0))
        row, col = self.spot
        corners = (cols[0] + col, rows[0] + row, cols[-1] + 1 + col, rows[-1] + 1 + row)
        return np.array(corners, np.float32)


@dataclass(frozen=True, eq=False)
class Candidates:
    """Objects found in `after` and not in `before`: boxes xyxy (k, 4) and k kinds."""

    length: float
    angle: float
    before: Image
    after: Image
    boxes: Float
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class Finding:
    """What the check says of one object, with one kernel."""

    kind: str
    length: float
    kernel: str
    evidence: float
    signal: float
    verdict: str


@dataclass(frozen=True, eq=False)
class Networks:
    """The shipped networks."""

    deblurrer: Deblurrer
    detector: Detector

    def deblur(self, image: Image) -> Image:
        """Deblur one picture."""
        return self.deblurrer(image[None])[0]

    def find(self, image: Image) -> Float:
        """Return the boxes (k, 4) that the detector finds at its operating point."""
        found = self.detector(image[None])[0]
        return found.select(found.scores >= THRESHOLD).xyxy


def rendered(seeds: Iterable[int]) -> Iterator[tuple[Sharp, Sharp]]:
    """Render a scene per seed, of 12 to 15 cm per px, and another that lends its vehicles."""
    for seed in seeds:
        scenes = [
            render_scene(seed=each, height=SIZE, width=SIZE, gsd=0.12 + 0.01 * (seed % 4))
            for each in (seed, 1000 + seed)
        ]
        scene, donor = (Sharp(each.image, each.corners) for each in scenes)
        yield scene, donor


def munich() -> Iterator[tuple[Sharp, Sharp]]:
    """Read three pictures of Munich's street, which no network has seen, and three that lend."""
    for number in (74, 82, 90):
        scene, donor = (
            _read(find_pictures(MUNICH, f"{scene}{number}*")[0])
            for scene in ("MunichStreet02-MOS", "MOS")
        )
        yield scene, donor


def _read(path: Path) -> Sharp:
    image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB).astype(np.uint8)
    vehicles = read_labels(path.with_suffix(".txt"), image.shape[:2], (0, 0, 0, 0))
    signs = np.float32([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    return Sharp(image, vehicles.centres[:, None] + signs * vehicles.halves[:, None])


def blurred(image: Image, *, length: float, angle: float, seed: int) -> Image:
    """Blur a sharp picture as `transforms.read` does, with the noise of the severity ladder."""
    ladder = LADDERS[1]
    field = noise_field(Rectangle(0, 0, image.shape[1], image.shape[0]), seed=seed)
    light = smear(decode_srgb(image), motion_kernel(length, angle))
    noisy = add_noise(light, field, read_noise=ladder.read_noise, shot_noise=ladder.shot_noise)
    return encode_srgb(noisy)


def cut_outs(image: Image, corners: Float) -> list[CutOut]:
    """Cut the vehicles that lie wholly inside a picture out of it, with soft edges."""
    found = []
    for each in corners:
        low = np.floor(each.min(axis=0)).astype(int) - 4
        high = np.ceil(each.max(axis=0)).astype(int) + 4
        if (low < 0).any() or (high > image.shape[1::-1]).any():
            continue
        mask = np.zeros((high[1] - low[1], high[0] - low[0]), np.float32)
        cv2.fillConvexPoly(mask, np.rint(each - low - 0.5).astype(np.int32), 1.0)
        alpha = cv2.GaussianBlur(mask, (5, 5), 0.8)
        found.append(CutOut(image[low[1] : high[1], low[0] : high[0]], alpha))
    return found


def plain(cut_out: CutOut) -> CutOut:
    """Return the cut-out with every pixel in the vehicle's mean light."""
    light = decode_srgb(cut_out.pixels)
    mean = np.average(light.reshape(-1, 3), axis=0, weights=cut_out.alpha.ravel())
    return CutOut(encode_srgb(np.broadcast_to(mean, light.shape)), cut_out.alpha)


def paste(image: Image, cut_out: CutOut, spot: Spot, *, strength: float) -> Image:
    """Return the picture with a cut-out blended in, so opaque, at (row, column)."""
    rows, cols = (slice(at, at + n) for at, n in zip(spot, cut_out.alpha.shape, strict=True))
    alpha = strength * cut_out.alpha[..., None]
    planted = image.copy()
    planted[rows, cols] = np.rint(alpha * cut_out.pixels + (1 - alpha) * image[rows, cols])
    return planted


def place(
    stock: Sequence[CutOut], taken: Float, size: Spot, rng: np.random.Generator
) -> list[Plant]:
    """Give cut-outs drawn from the stock free places in a picture of `size` (h, w)."""
    plants = []
    for kind in (kind for kind, count in COUNTS.items() for _ in range(count)):
        cut_out = stock[rng.integers(len(stock))]
        height, width = cut_out.alpha.shape
        for _ in range(60):
            row, col = (
                int(rng.integers(0, n - m)) for n, m in zip(size, (height, width), strict=True)
            )
            grown = np.float32([[col, row, col + width, row + height]]) + CLEARANCE * np.float32(
                [-1, -1, 1, 1]
            )
            if not iou_matrix(grown, taken).any():
                taken = np.concatenate([taken, grown])
                plants.append(Plant(kind, cut_out, (row, col)))
                break
    return plants


def real_part(scene: Image, plant: Plant) -> Image:
    """Return the scene with as much of a plant as is real."""
    if plant.kind == RESHAPED:
        return paste(scene, plain(plant.cut_out), plant.spot, strength=1)
    return paste(scene, plant.cut_out, plant.spot, strength=STRENGTHENED.get(plant.kind, 0.0))


def experiment(
    sharp: Sharp, donor: Sharp, networks: Networks, *, length: float, seed: int
) -> list[Candidates]:
    """Blur, deblur, plant and detect in one scene; angle and plants are drawn from the seed.

    Vehicles come from the sharp donor or, every second seed, from the deblurred one.
    """
    rng = np.random.default_rng([seed, int(length)])
    angle = float(rng.uniform(0, 180))
    lent = donor.image
    if seed % 2:
        lent = networks.deblur(blurred(lent, length=length, angle=angle, seed=seed + 1))
    stock = cut_outs(lent, donor.corners)
    size = sharp.image.shape[0], sharp.image.shape[1]
    plants = place(stock, sharp.boxes, size, rng) if stock else []
    scene = sharp.image
    for plant in plants:
        scene = real_part(scene, plant)
    before = blurred(scene, length=length, angle=angle, seed=seed)
    after = networks.deblur(before)
    painted = after
    for plant in plants:
        strength = float(rng.uniform(0.4, 1)) if plant.kind == PLANTED else 1.0
        painted = paste(painted, plant.cut_out, plant.spot, strength=strength)
    seen = networks.find(before)
    real = _untouched(sharp, plants, new_boxes(networks.find(after), seen))
    made = _planted(plants, new_boxes(networks.find(painted), seen))
    return [
        Candidates(length, angle, before, picture, *found)
        for picture, found in ((after, real), (painted, made))
    ]


def new_boxes(found: Float, seen: Float) -> Float:
    """Return the boxes found that match none seen before."""
    return found[(iou_matrix(found, seen) < IOU).all(axis=1)]


def _untouched(sharp: Sharp, plants: Sequence[Plant], new: Float) -> tuple[Float, tuple[str, ...]]:
    """Sort what was found in the untouched `after` into labelled vehicles and what is none."""
    placed = np.array([plant.box for plant in plants], np.float32).reshape(-1, 4)
    labelled = (iou_matrix(new, sharp.boxes) >= IOU).any(axis=1)
    nothing = (iou_matrix(new, np.concatenate([sharp.boxes, placed])) == 0).all(axis=1)
    kept = labelled | nothing
    return new[kept], tuple(GAINED if real else UNLABELLED for real in labelled[kept])


def _planted(plants: Sequence[Plant], new: Float) -> tuple[Float, tuple[str, ...]]:
    """Return the plants that were found, with their kinds."""
    if not plants:
        return np.zeros((0, 4), np.float32), ()
    overlap = iou_matrix(new, np.stack([plant.box for plant in plants]))
    kept = (overlap >= IOU).any(axis=1)
    return new[kept], tuple(plants[i].kind for i in overlap[kept].argmax(axis=1))


def check(candidates: Candidates) -> Iterator[Finding]:
    """Judge every object with the exact kernel, and with every wrong one."""
    for name, errors in ERRORS.items():
        for length, angle in errors:
            kernel = motion_kernel(candidates.length + length, candidates.angle + angle)
            result = check_reblur(candidates.before, candidates.after, candidates.boxes, kernel)
            for kind, evidence, signal, verdict in zip(
                candidates.kinds,
                result.evidence.tolist(),
                result.signal.tolist(),
                judge_reblur(result),
                strict=True,
            ):
                yield Finding(kind, candidates.length, name, evidence, signal, verdict)


def measure(pairs: Iterable[tuple[Sharp, Sharp]], networks: Networks, seed: int) -> list[Finding]:
    """Run the experiment on every scene at every length."""
    return [
        finding
        for index, (sharp, donor) in enumerate(pairs)
        for length in LENGTHS
        for candidates in experiment(sharp, donor, networks, length=length, seed=seed + index)
        for finding in check(candidates)
    ]


def share(findings: Iterable[Finding], verdict: str) -> float:
    """Return the share of the findings with a verdict; nan of none."""
    verdicts = [finding.verdict for finding in findings]
    return verdicts.count(verdict) / len(verdicts) if verdicts else float("nan")


def of(findings: Iterable[Finding], **wanted: str | float) -> list[Finding]:
    """Return the findings whose fields have these values."""
    return [f for f in findings if all(getattr(f, name) == v for name, v in wanted.items())]


def verdict_table(findings: Sequence[Finding]) -> Iterator[str]:
    """Verdicts by kind and kernel."""
    yield "| kind | objects | kernel | inconsistent | undecided | consistent | median evidence |"
    yield "|---|---|---|---|---|---|---|"
    for kind in KINDS:
        count = len(of(findings, kind=kind, kernel="exact"))
        for kernel in ERRORS if count else ():
            each = of(findings, kind=kind, kernel=kernel)
            cells = " | ".join(
                f"{share(each, verdict):.1%}"
                for verdict in ("inconsistent", "undecided", "consistent")
            )
            median = float(np.nanmedian([f.evidence for f in each]))
            yield f"| {kind} | {count} | {kernel} | {cells} | {median:.2f} |"
    yield ""


def length_table(findings: Sequence[Finding]) -> Iterator[str]:
    """Planted and gained objects called inconsistent, by length."""
    yield f"| called inconsistent | kernel | {' | '.join(f'{n:g} px' for n in LENGTHS)} |"
    yield "|---" * (2 + len(LENGTHS)) + "|"
    for kind in (PLANTED, GAINED):
        for kernel in ERRORS:
            cells = (
                f"{share(of(findings, kind=kind, kernel=kernel, length=n), 'inconsistent'):.1%}"
                for n in LENGTHS
            )
            yield f"| {kind} | {kernel} | {' | '.join(cells)} |"
    yield ""


def roc_table(findings: Sequence[Finding]) -> Iterator[str]:
    """The share flagged at other bars of the evidence, the signal's bar as it is."""
    head = (f"{kind}, {kernel}" for kind in (PLANTED, GAINED) for kernel in ERRORS)
    yield f"| inconsistent below | {' | '.join(head)} |"
    yield "|---" * (1 + 2 * len(ERRORS)) + "|"
    for bar in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95):
        cells = []
        for kind in (PLANTED, GAINED):
            for kernel in ERRORS:
                each = of(findings, kind=kind, kernel=kernel)
                flagged = [f.signal >= LEAST_SIGNAL and f.evidence < bar for f in each]
                cells.append(f"{np.mean(flagged):.1%}")
        yield f"| {bar:g} | {' | '.join(cells)} |"
    yield ""


def describe(
    chosen: Sequence[Finding], reported: Sequence[Finding], real: Sequence[Finding]
) -> str:
    """Return docs/results_hallucinations.md; `real` may be empty."""
    lines = [HEAD, *(f"- {kind}: {text}" for kind, text in KINDS.items()), ""]
    lines += ["## Rendered scenes that chose nothing", "", *verdict_table(reported)]
    lines += ["By length of the motion:", "", *length_table(reported)]
    lines += ["At other bars of the evidence:", "", *roc_table(reported)]
    lines += ["## Rendered scenes on which the bars were chosen", "", *verdict_table(chosen)]
    if real:
        lines += ["## Munich, street (KIT AIS), three pictures", "", *verdict_table(real)]
        lines += length_table(real)
    return "\n".join(lines).rstrip() + "\n"


HEAD = f"""\
# Can deblurring's inventions be told?

Made by `python benchmarks/hallucinations.py`. Pictures are blurred by straight motion of
{", ".join(f"{n:g}" for n in LENGTHS)} px at random angles with the noise of the severity ladder and
deblurred by `deblur_dsc`. Objects that `vehicles_yolo` finds then (score from {THRESHOLD} on) and
did not find in `before` (IoU below {IOU}) are checked: see "Re-blur check" in
[metrics.md](metrics.md). Inconsistent: evidence below {INCONSISTENT_BELOW}; consistent: from
{CONSISTENT_FROM} on; undecided: between, or a signal below {LEAST_SIGNAL:g} times the tile's usual
misfit. Kernel `off`: wrong by 2 px and 10 degrees, in all four combinations.

Kinds of objects:
"""


def main() -> None:
    """Measure all kinds and write the results."""
    torch.set_num_threads(1)
    networks = Networks(
        Deblurrer.load(resolve_weights("deblur_dsc")),
        Detector.load(resolve_weights("vehicles_yolo")),
    )
    chosen = measure(rendered(CHOSEN_ON), networks, CHOSEN_ON.start)
    reported = measure(rendered(REPORTED_ON), networks, REPORTED_ON.start)
    real = measure(munich(), networks, 300) if MUNICH.is_dir() else []
    RESULTS.write_text(describe(chosen, reported, real))


if __name__ == "__main__":
    main()
