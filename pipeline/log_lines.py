"""Every line of the input as one JSON object on the output: a program of its own, started by a run.

    python log_lines.py RUN_ID ATTEMPT < lines > lines_of_json

What our processes log are such objects already, and pass. The rest is what others print: libraries
in C, a dying interpreter, Java, Beam before it knows how to log. It ends with the last writer.
"""

import json
import re
import signal
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

KNOWN = (
    re.compile(r"(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL):(?P<logger>[\w.]+):(?P<message>.*)"),
    re.compile(r"\[.*?\] (?P<level>[A-Z]+) (?P<logger>[\w.$]+) - (?P<message>.*)"),
)
"""How Python's logging writes lines where nobody told it how, and how Java's job servers do."""
JAVA_LEVELS = {"TRACE": "DEBUG", "WARN": "WARNING"}
PRINTED = "stderr"
"""The logger of lines that were printed, not logged."""


def to_json_lines(lines: Iterable[bytes], run_id: str, attempt: str) -> Iterator[bytes]:
    """Yield every line, with its end, as JSON; empty ones are left out."""
    for line in lines:
        text = line.decode(errors="backslashreplace").rstrip("\r\n")
        if is_logged(text):
            yield f"{text}\n".encode()
        elif text.strip():
            yield wrap(text, run_id, attempt)


def is_logged(text: str) -> bool:
    """Say whether a line is an object as our processes log it."""
    if not text.startswith("{"):
        return False
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return {"time", "level", "logger", "message"} <= found.keys()


def wrap(text: str, run_id: str, attempt: str) -> bytes:
    """Return a printed line as an object, which is as old as we know of it."""
    found = next((match for known in KNOWN if (match := known.fullmatch(text))), None)
    line = found.groupdict() if found else {"level": "INFO", "logger": PRINTED, "message": text}
    line |= {
        "level": JAVA_LEVELS.get(line["level"], line["level"]),
        "run_id": run_id,
        "attempt": attempt,
        "time": datetime.now(UTC).isoformat(),
    }
    return f"{json.dumps(line, ensure_ascii=False)}\n".encode(errors="backslashreplace")


def main() -> None:
    """Write until nobody is left who could print; whoever is told to end may still do so."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    run_id, attempt = sys.argv[1:]
    for line in to_json_lines(iter(sys.stdin.buffer.readline, b""), run_id, attempt):
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
