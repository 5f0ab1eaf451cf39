"""One number of a YAML file is changed, and every other character stays."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from configs.edit import set_number
from configs.load import ConfigError

WORD = st.from_regex(r"[a-z]{1,8}", fullmatch=True)
SCALAR = st.one_of(st.integers(), st.booleans(), st.none(), WORD, st.text("a #:'\"-", max_size=9))
SECTION = st.dictionaries(WORD, st.one_of(SCALAR, st.lists(SCALAR, max_size=3)), max_size=3)
CONTENT = st.dictionaries(WORD, st.one_of(SECTION, SCALAR), max_size=4)


def put(text: str, value: float = 0.25, comment: str = "calibrated: so") -> str:
    return set_number(text, "detect", "score_threshold", value, comment=comment)


@given(
    CONTENT,
    st.none() | SECTION | SECTION.map(lambda below: below | {"score_threshold": 0.5}),
    st.sampled_from([True, False, None]),
    st.floats(1e-9, 1),
)
def test_nothing_but_the_number_changes_however_the_file_is_written(content, detect, style, value):
    others = {name: below for name, below in content.items() if name != "detect"}
    known = {} if detect is None else {"detect": detect}
    text = yaml.safe_dump(others | known, default_flow_style=style, sort_keys=False)
    changed = put(text, value)
    wanted = others | {"detect": (detect or {}) | {"score_threshold": value}}
    assert yaml.safe_load(changed) == wanted
    assert put(changed, value) == changed


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "# why\ninput: {a: 1}  # b\n\ndetect:\n    weights: 'x'\n"
            "    score_threshold: 0.5 # old\nread: {}\n",
            "# why\ninput: {a: 1}  # b\n\ndetect:\n    weights: 'x'\n    # calibrated: so\n"
            "    score_threshold: 0.25 # old\nread: {}\n",
        ),
        (
            "detect:\n  # of mine\n  weights: x\n",
            "detect:\n  # of mine\n  # calibrated: so\n  score_threshold: 0.25\n  weights: x\n",
        ),
        (
            "a: 1\ndetect: {weights: x}\n",
            "a: 1\n# calibrated: so\ndetect: {score_threshold: 0.25, weights: x}\n",
        ),
        ("detect:\n", "# calibrated: so\ndetect: {score_threshold: 0.25}\n"),
        ("detect: {}\n", "# calibrated: so\ndetect: {score_threshold: 0.25}\n"),
        ("a: 1", "a: 1\ndetect:\n  # calibrated: so\n  score_threshold: 0.25\n"),
        ("", "detect:\n  # calibrated: so\n  score_threshold: 0.25\n"),
        (
            "a: 1\r\ndetect:\r\n  weights: x\r\n",
            "a: 1\r\ndetect:\r\n  # calibrated: so\r\n  score_threshold: 0.25\r\n  weights: x\r\n",
        ),
        (
            "detect:\n  # calibrated: of old\n  score_threshold: 0.5\n",
            "detect:\n  # calibrated: so\n  score_threshold: 0.25\n",
        ),
    ],
)
def test_every_other_character_stays(before, after):
    assert put(before) == after


def test_a_small_number_stays_a_number():
    assert yaml.safe_load(put("", 1e-05)) == {"detect": {"score_threshold": 1e-05}}


@pytest.mark.parametrize(
    "text",
    [
        "read: &shared {core: 64}\ndetect: *shared\n",
        "detect: {weights: 'two\n  lines', score_threshold: 0.5}\n",
    ],
)
def test_what_cannot_be_changed_alone_is_left_to_the_user(text):
    with pytest.raises(ConfigError, match=r"set detect\.score_threshold to 0\.25 by hand"):
        put(text)
