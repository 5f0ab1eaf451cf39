"""Whatever is printed into a log becomes an object of its own."""

import json

import pytest

from pipeline.log_lines import to_json_lines

LOGGED = json.dumps({"time": "t", "level": "INFO", "logger": "a", "message": "m", "tile": "x"})


def convert(*lines):
    return [json.loads(line) for line in to_json_lines(lines, "run1", "try1")]


def test_objects_of_ours_pass_as_they_are():
    assert list(to_json_lines([f"{LOGGED}\n".encode()], "other", "other")) == [
        f"{LOGGED}\n".encode()
    ]


def test_what_was_printed_is_wrapped():
    [line] = convert(b"libpng error: bad \xff\n")
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "INFO",
        "logger": "stderr",
        "message": "libpng error: bad \\xff",
        "run_id": "run1",
        "attempt": "try1",
    }


@pytest.mark.parametrize(
    ("printed", "level", "logger", "message"),
    [
        ("ERROR:apache_beam.worker:it: failed", "ERROR", "apache_beam.worker", "it: failed"),
        ("[main] WARN org.apache.Job - a - b", "WARNING", "org.apache.Job", "a - b"),
    ],
)
def test_the_usual_forms_of_logs_are_understood(printed, level, logger, message):
    [line] = convert(f"{printed}\n".encode())
    assert (line["level"], line["logger"], line["message"]) == (level, logger, message)


def test_lines_that_only_look_like_objects_are_wrapped():
    for printed in ("{}", "{torn", '{"message": 1}'):
        [line] = convert(f"{printed}\n".encode())
        assert line["message"] == printed


def test_a_line_that_is_nested_without_end_does_not_end_the_log():
    printed = '{"a":' * 100_000
    assert [line["message"] for line in convert(printed.encode(), b"next")] == [printed, "next"]


def test_empty_lines_are_left_out_and_a_last_one_needs_no_end():
    assert [line["message"] for line in convert(b"\n", b"a\r\n", b" \n", b"b")] == ["a", "b"]
