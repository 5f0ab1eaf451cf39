"""Configuration: shipped files are valid, overrides land, every mistake names its key."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.comparison import Comparison
from configs.load import SHIPPED, ConfigError, find_config, load_yaml, override, validate
from configs.schema import ReadConfig, RunConfig
from configs.train_deblurrer import DeblurrerTraining
from configs.train_detector import DetectorTraining

KINDS = {
    "comparison": Comparison,
    "deblurrer": DeblurrerTraining,
    "detector": DetectorTraining,
}


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_configuration_is_valid(path):
    content = load_yaml(path)
    validate(KINDS.get(content.get("kind"), RunConfig), content, source=path.name)


def test_a_shipped_configuration_is_found_by_name():
    assert find_config("demo") == SHIPPED / "demo.yaml"


@given(st.integers(1, 64))
def test_an_override_changes_one_key(count):
    before = {"read": {"core": 512, "halo": 64}, "output": "a"}
    after = override(before, [f"read.core={32 * count}"])
    assert after == {"read": {"core": 32 * count, "halo": 64}, "output": "a"}
    assert before["read"]["core"] == 512


def test_an_override_makes_the_sections_it_needs():
    assert override({}, ["read.blur.lengths=[7, 9]"]) == {"read": {"blur": {"lengths": [7, 9]}}}


def test_an_override_below_a_value_is_an_error():
    with pytest.raises(ConfigError, match="needs a section at 'output'"):
        override({"output": "a"}, ["output.x=1"])


def test_every_mistake_is_named_at_once():
    wrong = {"read": {"core": 7, "shape": 1}, "color": "red"}
    with pytest.raises(ConfigError) as caught:
        validate(RunConfig, wrong, source="mine.yaml")
    for part in ("mine.yaml", "read.core", "read.shape", "color", "unknown key"):
        assert part in str(caught.value)


def test_sections_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        ReadConfig().core = 64


def test_broken_yaml_is_an_error_that_names_the_file(tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text("a: [1,")
    with pytest.raises(ConfigError, match=r"broken\.yaml"):
        load_yaml(path)
