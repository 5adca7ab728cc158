"""``tasuki deploy``: what it prints is read by the parser of its kind."""

from __future__ import annotations

import configparser
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasuki.cli.commands.project.deploy import Plan, systemd
from tests.support.cli_project import write_project
from tests.unit.cli.conftest import CommandLine

REDIS = ("-o", "app:driver:kind=queue.driver.redis", "-o", "app:driver:url=${env:QUEUE_URL|redis://localhost}")


def unit(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return parser


def test_a_unit_for_systemd(tasuki: CommandLine, project: Path, tmp_path: Path) -> None:
    write_project(project, "def handle(body): ...\n", stop_timeout="25s")
    done = tasuki("deploy", "systemd", "--processes", "3", "-o", "app:tasks:meta.note=50% of $x")
    assert done.returncode == 0, done.stderr
    service = unit(done.stdout)["Service"]
    assert service["WorkingDirectory"] == str(project)
    assert service["TimeoutStopSec"] == "35"
    assert service["RestartPreventExitStatus"] == "2 3"
    assert service["Restart"] == "always", "also after --max-age, which ends with 0"
    words = shlex.split(service["ExecStart"])
    assert words[:4] == [sys.executable, "-m", "tasuki", "run"]
    assert words[4:7] == [".", "--override=app:tasks:meta.note=50%% of $$x", "--processes=3"]
    assert words[7] == "--health-file"
    assert words[8].startswith("%t/")
    assert done.stdout.startswith(f"# /etc/systemd/system/{service['User']}.service\n"), "the files are its own"
    assert (service["PrivateTmp"], service["NoNewPrivileges"]) == ("yes", "yes")
    assert service["SystemCallFilter"] == "@system-service"
    assert service["CapabilityBoundingSet"] == ""
    if verify := shutil.which("systemd-analyze"):
        path = tmp_path / "tasuki-worker.service"
        path.write_text(done.stdout)
        checked = subprocess.run([verify, "verify", str(path)], capture_output=True, text=True, check=False, timeout=60)
        assert "tasuki-worker.service" not in checked.stderr, checked.stderr


def test_a_unit_without_files_runs_as_a_user_of_its_own_and_sees_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", "/opt/venv")
    monkeypatch.setattr(sys, "base_prefix", "/usr")
    at = Plan(name="shop", folder=Path("/srv/shop"), words=["."], grace=20, extras=[], files=[])
    service = unit(systemd(at, None))["Service"]
    assert (service["DynamicUser"], service["ProtectSystem"]) == ("yes", "strict")
    assert service["ProtectHome"] == "yes"
    kept = unit(systemd(replace(at, folder=Path("/home/me/shop"), files=[Path("/srv/q.db")]), None))["Service"]
    assert (kept["User"], kept["ProtectSystem"]) == ("shop", "full")
    assert {"DynamicUser", "ProtectHome"}.isdisjoint(kept)


def test_the_folder_of_a_unit_is_written_as_systemd_reads_it(tmp_path: Path) -> None:
    plan = Plan(name="shop", folder=tmp_path / 'my "$shop" 5%', words=["."], grace=20, extras=[], files=[])
    assert unit(systemd(plan, None))["Service"]["WorkingDirectory"] == f'{tmp_path}/my "$shop" 5%%'


@pytest.mark.parametrize(
    ("text", "installed"),
    [
        ("[project]\ndependencies = ['tasuki', 'httpx']\n", ["httpx"]),
        ("[project]\ndependencies = ['httpx', 'rich>=13; python_version > \"3.8\"']\n", ["httpx", "rich>=13"]),
        ("[project]\nname = 'shop'\n", []),
        ("[build-system]\nrequires = []\n", []),
    ],
)
def test_an_image_has_the_packages_of_the_project(
    tasuki: CommandLine, project: Path, text: str, installed: list[str]
) -> None:
    (project / "pyproject.toml").write_text(text)
    build = yaml.safe_load(tasuki("deploy", "compose", "-p", ".").stdout)["services"]["worker"]["build"]
    (line,) = [each for each in build["dockerfile_inline"].splitlines() if "pip install" in each]
    words = shlex.split(line)[4:]
    assert [word.partition(";")[0] for word in words] == ["tasuki", *installed]
    assert ("# No requirements.txt here, and no dependencies" in build["dockerfile_inline"]) != bool(installed)


@pytest.mark.parametrize(
    ("text", "told"), [("[project", "Expected"), ("[project]\ndependencies = 'httpx'\n", "must be a list of texts")]
)
def test_a_pyproject_that_cannot_be_read_is_named(tasuki: CommandLine, project: Path, text: str, told: str) -> None:
    (project / "pyproject.toml").write_text(text)
    done = tasuki("deploy", "compose", "-p", ".")
    assert done.returncode != 0
    assert "pyproject.toml" in done.stderr
    assert told in done.stderr


def test_a_file_for_compose(tasuki: CommandLine, project: Path) -> None:
    (project / "requirements.txt").write_text("httpx\n")
    done = tasuki("deploy", "compose")
    document: dict[str, Any] = yaml.safe_load(done.stdout)
    worker = document["services"]["worker"]
    assert worker["command"] == ["tasuki", "run", ".", "--health-file", "/tmp/alive"]
    assert worker["healthcheck"]["test"] == ["CMD", "tasuki", "health", "/tmp/alive"]
    assert worker["stop_grace_period"] == "20s"
    assert worker["volumes"] == ["queues1:/srv/app/.tasuki"]
    assert set(document["volumes"]) == {"queues1"}
    assert "pip install --no-cache-dir 'tasuki' -r requirements.txt" in worker["build"]["dockerfile_inline"]
    build = worker["build"]["dockerfile_inline"]
    assert "\nRUN rm -rf .env .env.* .git" in build
    assert build.index("COPY . .") < build.index("FROM", 200) < build.index("COPY --from=project /srv/app ."), (
        "not in a layer"
    )
    assert "RUN install -d -o 10001 -g 10001 /srv/app/.tasuki\n" in build
    assert build.endswith("USER 10001\n")
    assert (worker["user"], worker["cap_drop"]) == ("10001:10001", ["ALL"])
    assert worker["security_opt"] == ["no-new-privileges:true"]
    done = tasuki("deploy", "compose", "--image", "shop:1", *REDIS)
    document = yaml.safe_load(done.stdout)
    worker = document["services"]["worker"]
    assert worker["image"] == "shop:1"
    assert {"build", "volumes"}.isdisjoint(worker)
    assert "volumes" not in document
    assert "--override=app:driver:url=$${env:QUEUE_URL|redis://localhost}" in worker["command"]


def test_a_deployment_for_kubernetes(tasuki: CommandLine, project: Path) -> None:
    done = tasuki("deploy", "k8s", *REDIS)
    (document,) = yaml.safe_load_all(done.stdout)
    assert (document["apiVersion"], document["kind"]) == ("apps/v1", "Deployment")
    spec = document["spec"]
    pod = spec["template"]["spec"]
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    assert pod["terminationGracePeriodSeconds"] == 20
    (container,) = pod["containers"]
    assert container["command"][:3] == ["tasuki", "run", "."]
    assert "--override=app:driver:kind=queue.driver.redis" in container["command"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    own = container["securityContext"]
    assert (own["allowPrivilegeEscalation"], own["readOnlyRootFilesystem"]) == (False, True)
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/tmp"]
    assert container["readinessProbe"]["exec"]["command"][-1] == "--ready"
    assert "'tasuki[redis]' installed" in done.stdout


def test_a_project_with_traces_installs_what_they_need(tasuki: CommandLine, project: Path) -> None:
    (project / "traces.yaml").write_text("namespace: more\nentries:\n  - {name: traces, kind: traces.config}\n")
    done = tasuki("deploy", "k8s", *REDIS)
    assert "'tasuki[redis,traces]' installed" in done.stdout, done.stderr


def test_queues_that_other_machines_cannot_reach(tasuki: CommandLine, project: Path) -> None:
    done = tasuki("deploy", "k8s")
    assert done.returncode == 1
    assert f"queues are in the file {project}/.tasuki/queue.db, and pods share no disk; move them" in done.stderr
    memory = ("-o", "app:driver:kind=queue.driver.memory")
    assert "each process would have its own" in tasuki("deploy", "k8s", *memory).stderr
    assert tasuki("deploy", "systemd", *memory).returncode == 0


@pytest.mark.parametrize("target", ["deployed_jobs.py", "_index.yaml"])
def test_the_target_is_as_seen_from_the_project(tasuki: CommandLine, project: Path, target: str) -> None:
    (project / "deployed_jobs.py").write_text("from tasuki import App\napp = App()\napp.queue('q')\n")
    tasuki.folder = project.parent
    done = tasuki("deploy", "compose", "-p", f"{project.name}/{target}")
    worker = yaml.safe_load(done.stdout)["services"]["worker"]
    assert worker["command"][2] == ("deployed_jobs:app" if target.endswith(".py") else target)
    assert worker["working_dir"] == "/srv/app"
