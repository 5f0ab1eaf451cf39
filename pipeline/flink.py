"""What Flink's REST interface tells of a cluster, and how a job on it is ended."""

from dataclasses import dataclass

import requests

ENDED = ("FINISHED", "FAILED", "CANCELED")
GROWS = ("kubernetes.cluster-id", "yarn.application.id")
"""Settings of clusters that start task managers when a job asks for them."""


@dataclass(frozen=True)
class Cluster:
    """A Flink cluster at a moment."""

    version: str
    task_managers: int
    slots: int
    free_slots: int
    grows: bool


@dataclass(frozen=True)
class FlinkRest:
    """The REST interface at a URL such as http://host:8081; every call ends within `timeout` s.

    Methods raise OSError if nobody answers, and ValueError if the answer is not Flink's.
    """

    url: str
    timeout: float = 10.0

    def cluster(self) -> Cluster:
        """Return the cluster's version and slots."""
        overview = self._get("/overview")
        try:
            free = overview["slots-available"]
            return Cluster(
                version=overview["flink-version"],
                task_managers=overview["taskmanagers"],
                slots=overview["slots-total"],
                free_slots=free,
                grows=any(entry["key"] in GROWS for entry in self._get("/jobmanager/config")),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"{self.url} does not answer as Flink's REST does") from error

    def running(self) -> dict[str, str]:
        """Return the ids of jobs that have not ended, with their names."""
        jobs = self._get("/jobs/overview")["jobs"]
        return {job["jid"]: job["name"] for job in jobs if job["state"] not in ENDED}

    def cancel(self, name: str) -> None:
        """Cancel the jobs of a name that have not ended."""
        for job in [job for job, known in self.running().items() if known == name]:
            url = f"{self.url}/jobs/{job}"
            requests.patch(url, params={"mode": "cancel"}, timeout=self.timeout).raise_for_status()

    def _get(self, path: str) -> dict:
        answer = requests.get(f"{self.url}{path}", timeout=self.timeout)
        answer.raise_for_status()
        try:
            return answer.json()
        except requests.exceptions.JSONDecodeError as error:
            raise ValueError(f"{self.url} does not answer as Flink's REST does") from error
