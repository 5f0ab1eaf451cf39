"""Every night: deblur and measure what came in, judge the run, hand it over, or call somebody.

    run -> gate -> export        alert, if any of them failed

For Airflow 3. Put it into the folder of DAGs; `aerial-deblur` must be on the PATH of the workers.
Wanted in Airflow: a pool `aerial_deblur` with one slot for each cluster or machine that runs such
jobs, and the variable `aerial_deblur_alerts`, the URL of a chat's webhook.
"""

import json
import subprocess
import urllib.request
from datetime import datetime, timedelta
from pathlib import Path

from airflow.sdk import Variable, dag, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

CONFIG = "/etc/aerial-deblur/nightly.yaml"
OUTPUT = "/maps/nights/{{ ds }}"
HISTORY = "/maps/runs.parquet"

NOTHING_TO_DO = 99
FINAL = {
    2: "bad configuration or arguments",
    3: "too many rejects",
    4: "a gate failed",
}
"""Exit codes that trying again does not change."""


def aerial_deblur(*arguments: str) -> None:
    """Run the command; end the task as its exit code says.

    99 skips what follows. Any other code, such as 1 of a run that broke down, fails the task, and
    unless it is final Airflow tries again: the run then takes up what the last try has finished.
    """
    with subprocess.Popen(["aerial-deblur", *arguments]) as process:
        try:
            code = process.wait()
        except BaseException:
            # A time limit, or somebody marked the task: let the run cancel its job on the cluster.
            process.terminate()
            raise
    if code == NOTHING_TO_DO:
        raise AirflowSkipException("nothing to do")
    if code in FINAL:
        raise AirflowFailException(f"{FINAL[code]} (exit code {code})")
    if code:
        raise RuntimeError(f"aerial-deblur {arguments[0]} ended with exit code {code}")


@dag(
    schedule="0 1 * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={"owner": "maps", "retries": 0},
    tags=["maps"],
    doc_md=__doc__,
)
def aerial_deblur_nightly() -> None:
    """Wire the tasks."""

    @task(
        pool="aerial_deblur",
        retries=3,
        retry_delay=timedelta(minutes=5),
        retry_exponential_backoff=True,
        max_retry_delay=timedelta(hours=1),
        execution_timeout=timedelta(hours=6),
    )
    def run(output: str) -> str:
        """Run the main job; the output of an unfinished run is taken up where it stopped."""
        aerial_deblur("run", CONFIG, "--output", output)
        return output

    @task(retries=1, execution_timeout=timedelta(minutes=15))
    def gate(output: str) -> str:
        """Compare the run with those before it."""
        aerial_deblur("gate", output, "--against", HISTORY)
        return output

    @task(retries=2, execution_timeout=timedelta(hours=1))
    def export(output: str) -> None:
        """Hand the detections over to the web map."""
        aerial_deblur("export", output, "--format", "pmtiles")

    @task(trigger_rule="one_failed", retries=2)
    def alert(output: str) -> None:
        """Tell the chat which night failed and what its manifest says."""
        manifest = Path(output, "run.json")
        known = json.loads(manifest.read_text()) if manifest.exists() else {}
        told = {key: known.get(key) for key in ("state", "exit_code", "error", "counts")}
        text = f"aerial-deblur: {output} needs you: {json.dumps(told)}"
        request = urllib.request.Request(
            Variable.get("aerial_deblur_alerts"),
            data=json.dumps({"text": text}).encode(),
            headers={"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=30).close()

    ran = run(OUTPUT)
    judged = gate(ran)
    exported = export(judged)
    [ran, judged, exported] >> alert(OUTPUT)


aerial_deblur_nightly()
