"""``tasuki deploy``: print the files that run workers elsewhere: systemd, Compose, Kubernetes."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import click

from tasuki.cli.exits import CommandError
from tasuki.cli.options import project_options
from tasuki.cli.project import Target
from tasuki.cli.worker.running import file_of, longest_stop, refuse_memory
from tasuki.fields.types import DriverKind

if TYPE_CHECKING:
    from tasuki.kinds.check.project import Project


_AFTER = 10
"""Seconds that a process has after the last handler, to close its connections."""

_HOME = "/srv/app"

_UID = 10001
"""A user of no name, and no one else's."""

_HEALTH = "/tmp/alive"  # noqa: S108 - in its own container


_CONFINED = """\
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {drop: [ALL]}
          volumeMounts:
            - {name: tmp, mountPath: /tmp}
"""
"""What a container of any project does without; the health file is in /tmp."""

_HARDENED = """\
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RestrictSUIDSGID=yes
LockPersonality=yes
CapabilityBoundingSet=
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
"""
"""What workers of any project do without."""


_NONE_NAMED = """\
        # No requirements.txt here, and no dependencies of [project] in pyproject.toml: write one of them.
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """The settings of a project that its files state."""

    name: str
    """Lower-case letters, digits and dashes."""
    folder: Path
    """Absolute; the working directory."""
    words: Sequence[str]
    """After ``tasuki run``."""
    grace: int
    """Seconds between TERM and KILL."""
    extras: Sequence[str]
    """Of Tasuki, for the drivers and traces."""
    files: Sequence[Path]
    """Absolute; where drivers keep their queues."""

    @property
    def requirement(self) -> str:
        """What to install."""
        return f"tasuki[{','.join(self.extras)}]" if self.extras else "tasuki"


def plan_of(target: Target, project: Project, processes: int) -> Plan:
    """The plan for a good project."""
    from tasuki.kinds.entries.queue import QueueConfig
    from tasuki.kinds.entries.telemetry import TracesConfig

    found = target.found
    name = re.sub(r"[^a-z0-9]+", "-", found.folder.resolve().name.lower()).strip("-")[:50] or "app"
    is_folder = not found.is_code and Path(found.target).is_dir()
    target_name = found.target if found.is_code else "." if is_folder else Path(found.target).name
    drivers = list(dict.fromkeys(queue.driver for queue in project.of(QueueConfig).values()))
    kinds = [kind for id in drivers if isinstance(kind := project.kinds[id], DriverKind)]
    traces = {"traces"} if project.of(TracesConfig) else set()
    return Plan(
        name=name,
        folder=found.folder.resolve(),
        words=[
            target_name,
            *(f"--override={override}" for override in target.overrides),
            *([f"--processes={processes}"] if processes > 1 else []),
        ],
        grace=ceil(longest_stop(project)) + _AFTER,
        extras=sorted({kind.short_name for kind in kinds if kind.client} | traces),
        files=[Path(path) for id in drivers if (path := file_of(project, id))],
    )


def systemd(plan: Plan, image: str | None) -> str:
    """A unit; ``image`` is not used."""
    command = [sys.executable, "-m", "tasuki", "run", *plan.words, "--health-file", f"%t/{plan.name}/alive"]
    # systemd reads WorkingDirectory as it stands, quotes and dollars included; only specifiers count.
    return f"""\
# /etc/systemd/system/{plan.name}.service
# systemctl daemon-reload && systemctl enable --now {plan.name}
[Unit]
Description=Tasuki workers of {plan.name}
After=network-online.target
Wants=network-online.target

[Service]
Type=exec
# {plan.name}.env sets variables such as QUEUE_URL; let root alone read it.
{_user(plan)}EnvironmentFile=-/etc/{plan.name}.env
WorkingDirectory={str(plan.folder).replace("%", "%%")}
ExecStart={" ".join(map(_escaped, command[:-1]))} {command[-1]}
ExecReload=/bin/kill -HUP $MAINPID
RuntimeDirectory={plan.name}
# TERM drains: running handlers finish within their stop_timeout.
KillMode=mixed
TimeoutStopSec={plan.grace}
# A process that reached its limit (--max-messages, --max-memory, --max-age) exits with 0.
Restart=always
RestartSec=2
# A wrong project or command line does not mend itself.
RestartPreventExitStatus=2 3
NoNewPrivileges=yes
ProtectSystem={"full" if plan.files else "strict"}
{_home(plan)}{_HARDENED}
[Install]
WantedBy=multi-user.target
"""


def _user(plan: Plan) -> str:
    """The user of the unit: the owner of the queues' files; without files systemd makes one."""
    if not plan.files:
        return "DynamicUser=yes\n"
    return (
        f"# The user that owns the files of the queues; make it with: useradd --system {plan.name}\nUser={plan.name}\n"
    )


def _home(plan: Plan) -> str:
    """What the unit sees of home folders, where the project or this Python may be."""
    places = (plan.folder, Path(sys.prefix), Path(sys.base_prefix), *plan.files)
    if any(place.is_relative_to(home) for place in places for home in ("/home", "/root", "/run/user")):
        return "# The project is in a home folder: move it, to /srv for example, and write ProtectHome=yes here.\n"
    return "ProtectHome=yes\n"


def compose(plan: Plan, image: str | None) -> str:
    """A service, built here if no image is named; files of queues are on a volume."""
    where = _image(plan, image)
    # Compose reads $ as the start of a variable.
    command = json.dumps(["tasuki", "run", *plan.words, "--health-file", _HEALTH]).replace("$", "$$")
    volumes, named = "", ""
    if plan.files:
        places = dict.fromkeys(_inside(plan, path.parent) for path in plan.files)
        volumes = "    volumes:\n" + "".join(f"      - queues{n}:{place}\n" for n, place in enumerate(places, 1))
        named = "\nvolumes:\n" + "".join(f"  queues{n}: {{}}\n" for n in range(1, len(places) + 1))
    return f"""\
# compose.yaml: docker compose up -d --build
services:
  worker:
{where}    working_dir: {_HOME}
    command: {command}
    # .env sets variables such as QUEUE_URL; a broker beside it has the name of its service, not localhost.
    env_file: [{{path: .env, required: false}}]
    restart: unless-stopped
    user: "{_UID}:{_UID}"
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    # TERM drains: running handlers finish within their stop_timeout.
    stop_grace_period: {plan.grace}s
    healthcheck:
      test: {json.dumps(["CMD", "tasuki", "health", _HEALTH])}
      interval: 20s
      timeout: 5s
      start_period: 30s
{volumes}{named}"""


def k8s(plan: Plan, image: str | None) -> str:
    """A Deployment. Raises CommandError for queues in files: pods share no disk."""
    _refuse_files(plan)
    command = json.dumps(["tasuki", "run", *plan.words, "--health-file", _HEALTH])
    return f"""\
# kubectl apply -f {plan.name}.yaml; the image has the project in {_HOME} and '{plan.requirement}' installed.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {plan.name}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: {plan.name}}}}}
  template:
    metadata: {{labels: {{app: {plan.name}}}}}
    spec:
      automountServiceAccountToken: false
      securityContext:
        runAsNonRoot: true
        runAsUser: {_UID}
        runAsGroup: {_UID}
        seccompProfile: {{type: RuntimeDefault}}
      # Longer than the longest stop_timeout: TERM drains, and running handlers finish.
      terminationGracePeriodSeconds: {plan.grace}
      containers:
        - name: worker
          image: {json.dumps(image or f"{plan.name}:latest")}
          workingDir: {_HOME}
          command: {command}
{_CONFINED}          envFrom:
            - secretRef: {{name: {plan.name}, optional: true}}  # variables such as QUEUE_URL
{_probes()}          resources:
            requests: {{cpu: 250m, memory: 128Mi}}
            limits: {{memory: 512Mi}}
      volumes:
        - {{name: tmp, emptyDir: {{}}}}
"""


def _probes() -> str:
    """Liveness and readiness, by the health file."""
    health = ["tasuki", "health", _HEALTH]
    return f"""\
          livenessProbe:
            exec: {{command: {json.dumps(health)}}}
            initialDelaySeconds: 30
            periodSeconds: 20
            timeoutSeconds: 5
            failureThreshold: 3
          readinessProbe:
            exec: {{command: {json.dumps([*health, "--ready"])}}}
            periodSeconds: 20
            timeoutSeconds: 5
"""


def _refuse_files(plan: Plan) -> None:
    if plan.files:
        raise CommandError(
            f"queues are in the file {plan.files[0]}, and pods share no disk; move them to a broker, for example with "
            "-o ENTRY:kind=queue.driver.postgres -o 'ENTRY:url=${env:QUEUE_URL}'"
        )


def _image(plan: Plan, image: str | None) -> str:
    if image is not None:
        return f"    image: {json.dumps(image)}\n"
    own = "".join(f" {word}" for word in _dependencies(plan.folder))
    places = dict.fromkeys(_inside(plan, path.parent) for path in plan.files)
    # A new volume takes the owner of the folder that it covers.
    owned = f"        RUN install -d -o {_UID} -g {_UID} {' '.join(map(quote, places))}\n" if places else ""
    return f"""\
    build:
      context: .
      dockerfile_inline: |
        # Secrets and files of this machine stay out of the image; .dockerignore keeps them out of the build too.
{"" if own else _NONE_NAMED}        FROM python:3.13-slim AS project
        WORKDIR {_HOME}
        COPY . .
        RUN rm -rf .env .env.* .git .venv .tasuki
        FROM python:3.13-slim
        WORKDIR {_HOME}
        COPY --from=project {_HOME} .
        RUN pip install --no-cache-dir '{plan.requirement}'{own}
{owned}        USER {_UID}
"""


def _dependencies(folder: Path) -> Sequence[str]:
    """What ``pip install`` gets for the project's own code: its requirements file, or what pyproject.toml names.

    Without a bare ``tasuki``, which is installed with its extras anyway; a version that it names stays.
    """
    if (folder / "requirements.txt").is_file():
        return ["-r requirements.txt"]
    path = folder / "pyproject.toml"
    try:
        project = tomllib.loads(path.read_text("utf-8")).get("project", {}) if path.is_file() else {}
    except (OSError, ValueError) as error:
        raise CommandError(f"cannot read the dependencies of {path}: {error}") from error
    named = project.get("dependencies", []) if isinstance(project, dict) else []
    if not (isinstance(named, list) and all(isinstance(each, str) for each in named)):
        raise CommandError(f"cannot read the dependencies of {path}: project.dependencies must be a list of texts")
    return [quote(each) for each in named if each.strip() != "tasuki"]


def _inside(plan: Plan, folder: Path) -> str:
    """Where a folder is in the container; one outside of the project stays where it is."""
    return f"{_HOME}/{folder.relative_to(plan.folder)}" if folder.is_relative_to(plan.folder) else str(folder)


def _escaped(word: str) -> str:
    """A word of a unit file: no specifier, no variable, no blank of it has a meaning."""
    word = word.replace("%", "%%").replace("$", "$$")
    return json.dumps(word, ensure_ascii=False) if re.search(r"[\s\"'\\;]", word) else word


_WRITERS = {"systemd": systemd, "compose": compose, "k8s": k8s}


@click.command("deploy")
@click.argument("system", type=click.Choice(list(_WRITERS)))
@click.option("--processes", type=click.IntRange(1, 1000), default=1, show_default=True, help="Worker processes.")
@click.option("--image", metavar="NAME", help="The image of compose and k8s; default: compose builds it.")
@project_options()
def deploy_command(target: Target, system: str, processes: int, image: str | None) -> None:
    """Print a unit for systemd, a file for Compose, or a Deployment for Kubernetes that runs this project's workers.

    The time to stop follows from the stop_timeout of its consumers. Workers write the health file for 'tasuki health'.
    """
    project = target.load().check()
    if system == "k8s" or processes > 1:
        refuse_memory(project)
    plan = plan_of(target, project, processes)
    click.echo(_WRITERS[system](plan, image), nl=False)
