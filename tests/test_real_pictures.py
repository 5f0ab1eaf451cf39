"""The page of results says what the summaries say."""

from pathlib import Path

import numpy as np
import pytest
from scenes import textured, write_picture

from benchmarks.real_pictures import Place, describe, measure_harm
from configs.load import validate
from configs.schema import RunConfig
from transforms.functional.quality import Mean, Quality
from transforms.records import ARMS, SummaryRow

SEVERITIES = (1, 2, 4)


def config(**changes) -> RunConfig:
    read = {"blur": {"severities": list(SEVERITIES)}}
    return validate(RunConfig, {"read": read} | changes, source="test")


SHOWN = tuple(arm for arm in ARMS if arm != "unskipped")
HALF = 0.02
"""Half the width of every interval."""


def row(stratum: str, arm: str, metric: str, value: float) -> SummaryRow:
    """Return a number of 400 labels in 20 clusters."""
    return SummaryRow(
        stratum=stratum,
        truth="labels",
        arm=arm,
        metric=metric,
        value=value,
        low=value - HALF,
        high=value + HALF,
        n=400,
        clusters=20,
        minimum_detectable=0.03,
        p=None,
        p_holm=None,
        status="ok",
    )


def place(title: str = "A", *, after: float = 0.6, unsharp: float = 0.45) -> Place:
    """Return a place where blur halves a recall of .8 and deblurring brings it to `after`."""
    recall = dict(zip(SHOWN, (0.8, 0.4, 0.4, unsharp, after, 0.7), strict=True))
    psnr = dict(zip(SHOWN, (float("inf"), 25.0, 25.0, 24.0, 27.0, 29.0), strict=True))
    numbers = {}
    for severity in (0, *SEVERITIES):
        stratum = f"severity={severity}" if severity else "all"
        for arm, share in recall.items():
            ssim = 0.5 + (0.01 * severity if arm == "after" else 0)
            values = {"recall": share, "psnr": psnr[arm], "ssim": ssim}
            values |= {"precision": 0.9, "ap50": 0.25, "recall_at_precision_0.8": share}
            for metric, value in values.items():
                numbers[stratum, arm, metric] = row(stratum, arm, metric, value)
        for metric in ("recall", "recall_at_precision_0.8"):
            changes = {
                "gain": after - 0.4,
                "over_null": after - 0.4,
                "over_unsharp": after - unsharp,
            }
            for name, value in changes.items():
                numbers[stratum, "after", f"{metric}_{name}"] = row(stratum, "after", name, value)
    manifest = {
        "weights": {"net": "abcdef0123456789"},
        "arms": list(SHOWN),
        "clusters": {"by": "scene", "planned": 20},
    }
    harm = Quality(Mean.of(65025, 10_000))
    return Place(title, config(), numbers, manifest, harm)


def promise(text: str, arm: str) -> list[str]:
    """Return the cells of the promises' row of an arm."""
    [line] = [line for line in text.splitlines() if line.startswith(f"| A | {arm} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_promises_are_means_over_the_severities():
    cells = promise(describe([place()]), "after")
    assert cells[2] == "+2.00"
    assert cells[3:8] == ["+0.0100", "+0.0200", "-", "+0.0400", "-"]
    assert cells[8] == "50 %"


def test_controls_are_compared_over_all_severities_and_at_each():
    yes, no = "yes (3 of 3)", "no (0 of 3)"
    assert promise(describe([place()]), "after")[9:11] == [yes, yes]
    assert promise(describe([place(unsharp=0.6)]), "after")[9:11] == [yes, no]
    assert promise(describe([place()]), "unsharp")[9:11] == ["-", "-"]


def test_a_control_is_beaten_with_the_whole_interval_only():
    just = {"unsharp": 0.6 - HALF / 2}
    assert promise(describe([place(**just)]), "after")[9:11] == ["yes (3 of 3)", "no (0 of 3)"]


def test_gains_stand_with_their_intervals():
    [line] = [line for line in describe([place()]).splitlines() if line.startswith("| all |")]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[1:4] == ["+20.0 (+18.0 to +22.0)", "3.0", "+15.0 (+13.0 to +17.0)"]
    assert "20 clusters (scenes)" in describe([place()])


def test_the_sharp_input_is_told_for_the_network_alone():
    text = describe([place()])
    assert promise(text, "after")[11] == "40.00"
    assert promise(text, "oracle")[11] == "-"


@pytest.mark.parametrize("arm", SHOWN)
def test_every_arm_and_severity_has_a_line(arm):
    text = describe([place()])
    rungs = ["sharp"] if arm == "reference" else SEVERITIES
    assert all(text.count(f"\n| {rung} | {arm} |") == 1 for rung in rungs)
    assert "net (abcdef012345)" in text
    assert "100 labelled vehicles under each of 4 angles" in text


def test_harm_is_what_deblurring_does_to_the_sharp_picture(tmp_path: Path, monkeypatch):
    image = textured(100, 140, seed=1)
    scene = write_picture(tmp_path / "a.tif", image)

    def lift(stack):
        return (stack + np.uint8(1)).astype(np.uint8)

    monkeypatch.setattr("benchmarks.real_pictures.load_deblurrer", lambda config: lift)
    quality = measure_harm(config(input={"scenes": [str(scene)]}, deblur={"lock": False}))
    assert quality.squared_error == Mean.of(image.size, image.size)
