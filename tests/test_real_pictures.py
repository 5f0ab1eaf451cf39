"""The page of results says what the summaries say."""

import pytest

from benchmarks.real_pictures import Place, describe

LENGTHS = (7.0, 11.0, 15.0, 21.0)


def place(title: str, labels: int, after: float) -> Place:
    """Return a place where blur halves a recall of .8 and deblurring brings it to `after`."""
    recall = {"reference": 0.8, "before": 0.4, "null": 0.4, "after": after}
    psnr = {"reference": float("inf"), "before": 25.0, "null": 25.0, "after": 27.0}
    numbers = {}
    for length in LENGTHS:
        for arm, share in recall.items():
            values = {"recall": share, "psnr": psnr[arm], "ssim": 0.5}
            values |= dict.fromkeys(("precision", "ap50", "recall_at_precision_0.8"), 0.25)
            for metric, value in values.items():
                key = f"blur_length={length:g}", arm, metric
                numbers[key] = {"value": value, "n": labels}
    return Place(title, LENGTHS, 4, 0.3, numbers, {"weights": {"net": "abcdef0123456789"}})


def test_promises_are_means_by_labels():
    text = describe([place("A", 100, 0.6), place("B", 300, 0.4)])
    lines = {line.split("|")[1].strip(): line for line in text.splitlines() if "%" in line}
    assert "| +2.00 | +0.0000 | 0.800 | 0.400 | 0.600 | 50 % |" in lines["A"]
    assert "| 0 % |" in lines["B"]
    assert "| 0.450 | 12 % |" in lines["both, by labels"]


@pytest.mark.parametrize("arm", ["reference", "before", "null", "after"])
def test_every_arm_and_length_has_a_line(arm):
    text = describe([place("A", 100, 0.6)])
    lines = [line for line in text.splitlines() if f" px | {arm} |" in line]
    assert len(lines) == (1 if arm == "reference" else len(LENGTHS))
    assert "net (abcdef012345)" in text
