"""The example for Kubernetes: valid objects, whose parts fit together."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import jsonschema
import pytest
import yaml

from configs.load import validate
from configs.schema import RunConfig
from pipeline.worker_pool import HOST

HERE = Path(__file__).resolve().parent
FOLDER = HERE.parent / "examples" / "kubernetes"
KUBERNETES = "1.33"
OBJECTS = [
    document
    for path in sorted(FOLDER.glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
]


def only(kind: str) -> dict:
    [found] = [each for each in OBJECTS if each["kind"] == kind]
    return found


def container(pod: dict, name: str) -> dict:
    spec = pod["spec"]
    everything = [*spec["containers"], *spec.get("initContainers", [])]
    [found] = [each for each in everything if each["name"] == name]
    return found


@pytest.fixture
def flink() -> dict:
    return only("FlinkDeployment")


@pytest.fixture
def task_manager(flink) -> dict:
    return flink["spec"]["taskManager"]["podTemplate"]


@pytest.fixture
def nightly() -> dict:
    return only("CronJob")["spec"]["jobTemplate"]["spec"]


@pytest.fixture
def config() -> RunConfig:
    content = yaml.safe_load(only("ConfigMap")["data"]["nightly.yaml"])
    return validate(RunConfig, content, source="nightly.yaml")


@pytest.mark.parametrize("kind", [each["kind"] for each in OBJECTS])
def test_objects_are_valid(kind, task_manager):
    check = pytest.importorskip("kubernetes_validate").validate
    if kind == "FlinkDeployment":
        schema = json.loads((HERE / "crds" / "flinkdeployment.json").read_text())
        jsonschema.validate(only(kind)["spec"], schema)
        check(task_manager, KUBERNETES, strict=True)
    else:
        check(only(kind), KUBERNETES, strict=True)


def test_an_unknown_key_of_flinks_objects_is_seen(flink):
    schema = json.loads((HERE / "crds" / "flinkdeployment.json").read_text())
    with pytest.raises(jsonschema.ValidationError, match="replica"):
        jsonschema.validate({**flink["spec"], "taskManager": {"replica": 2}}, schema)


def test_all_live_in_one_namespace():
    assert {each["metadata"]["namespace"] for each in OBJECTS} == {"maps"}


def test_versions_of_flink_agree(flink, nightly, config):
    minor = config.engine.flink_version
    assert flink["spec"]["flinkVersion"] == f"v{minor.replace('.', '_')}"
    assert flink["spec"]["image"].startswith(f"flink:{minor}.")
    server = container(nightly["template"], "job-server")["image"]
    assert server.startswith(f"apache/beam_flink{minor}_job_server:")


def test_driver_and_workers_are_one_image_of_a_version(task_manager, nightly):
    images = {
        container(task_manager, "worker-pool")["image"],
        container(nightly["template"], "driver")["image"],
    }
    [image] = images
    assert image.rpartition(":")[2] not in ("", "latest")


def test_the_driver_knows_where_flink_is(flink, nightly, config):
    address = f"{flink['metadata']['name']}-rest:8081"
    assert config.engine.name == "flink"
    assert config.engine.master == f"http://{address}"
    assert f"--flink-master={address}" in container(nightly["template"], "job-server")["args"]


def test_the_pool_listens_where_jobs_look_for_it(task_manager, config):
    pool = container(task_manager, "worker-pool")
    port = pool["command"][-1]
    assert pool["command"][:3] == ["aerial-deblur", "worker-pool", "--port"]
    assert config.engine.worker_pool in (f"localhost:{port}", f"{HOST}:{port}")
    for probe in ("startupProbe", "livenessProbe"):
        assert f'create_connection(("{HOST}", {port})' in pool[probe]["exec"]["command"][-1]


def test_one_process_of_a_task_manager_owns_its_gpu(flink, task_manager, config):
    slots = int(flink["spec"]["flinkConfiguration"]["taskmanager.numberOfTaskSlots"])
    limits = container(task_manager, "worker-pool")["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == "1"
    assert config.engine.processes == 1
    assert config.engine.workers % slots == 0
    assert config.deblur.device == config.detect.device == "cuda"


def test_driver_and_workers_see_the_same_folder(task_manager, nightly, config):
    claim = only("PersistentVolumeClaim")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    for pod, name in ((task_manager, "worker-pool"), (nightly["template"], "driver")):
        [volume] = [each for each in pod["spec"]["volumes"] if "persistentVolumeClaim" in each]
        assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        mounts = container(pod, name)["volumeMounts"]
        [path] = [each["mountPath"] for each in mounts if each["name"] == volume["name"]]
        assert all(scenes.startswith(f"{path}/") for scenes in config.input.scenes)
        assert str(config.observe.history).startswith(f"{path}/")


def test_ours_run_without_privileges(task_manager, nightly):
    for pod, name in ((task_manager, "worker-pool"), (nightly["template"], "driver")):
        context = container(pod, name)["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}


def test_final_exit_codes_are_not_tried_again(nightly):
    [rule] = [r for r in nightly["podFailurePolicy"]["rules"] if r["action"] == "FailJob"]
    assert rule["onExitCodes"] == {
        "containerName": "driver",
        "operator": "In",
        "values": [2, 3, 4],
    }
    assert nightly["template"]["spec"]["restartPolicy"] == "Never"  # else there is no such policy
    assert nightly["backoffLimit"] > 0


@pytest.fixture
def night(tmp_path):
    """Return what starts the driver's script, with a command that stands in for ours."""
    script = tmp_path / "nightly.sh"
    script.write_text(only("ConfigMap")["data"]["nightly.sh"])
    command = tmp_path / "aerial-deblur"

    def start(body: str) -> subprocess.Popen:
        command.write_text(f'#!/bin/bash\necho "$*" >> {tmp_path}/calls\n{body}\n')
        command.chmod(0o755)
        path = f"{tmp_path}:{os.environ['PATH']}"
        environment = {"PATH": path, "NIGHT": "n1"}
        return subprocess.Popen(["bash", script], env=environment, stdout=subprocess.DEVNULL)

    start.calls = lambda: (tmp_path / "calls").read_text().splitlines()
    return start


@pytest.mark.parametrize(("ran", "ends"), [(1, 1), (2, 2), (3, 3), (4, 4), (99, 0)])
def test_the_script_ends_as_the_run_does(night, ran, ends):
    assert night(f"exit {ran}").wait(30) == ends
    assert night.calls() == ["run /config/nightly.yaml --output /maps/nights/n1"]


@pytest.mark.parametrize("judged", [0, 4])
def test_the_script_ends_as_the_gate_does(night, judged):
    assert night(f"[ $1 = run ] || exit {judged}").wait(30) == judged
    assert night.calls()[1:] == ["gate /maps/nights/n1 --against /maps/runs.parquet"]


def test_the_script_lets_the_run_cancel_its_job(night, tmp_path):
    body = f"trap 'sleep 0.2; touch {tmp_path}/cancelled; exit 143' TERM\nsleep 30 & wait"
    script = night(body)
    while not (tmp_path / "calls").exists():
        time.sleep(0.05)
    time.sleep(0.2)
    script.send_signal(signal.SIGTERM)
    assert script.wait(30) == 143
    assert (tmp_path / "cancelled").exists()
