"""``tasuki asyncapi`` as a process: over the examples, without brokers, into files, and its errors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from tests.e2e.projects import write
from tests.support.asyncapi import payload_validator, problems
from tests.support.process import run

pytestmark = pytest.mark.e2e

EXAMPLES = Path(__file__).parents[2] / "examples"
PROJECTS = ["seed", "survey", "shared-workers", "images", "shop/jobs.py", "testing/jobs.py"]


@pytest.mark.parametrize("target", PROJECTS)
def test_examples(target: str, tmp_path: Path) -> None:
    name = target.partition("/")[0]
    shutil.copytree(EXAMPLES / name, tmp_path / name, ignore=shutil.ignore_patterns(".tasuki"))
    done = run("asyncapi", target, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert problems(document) == []
    assert document["channels"]
    as_yaml = run("asyncapi", target, "--yaml", folder=tmp_path)
    assert yaml.safe_load(as_yaml.stdout) == document
    assert not list(tmp_path.rglob("*.db"))  # nothing was opened


PROJECT = """
namespace: app
entries:
  - name: driver
    kind: queue.driver.amqp
    url: ${env:BROKER|amqp://user:hunter2@nowhere.invalid:5672/}
  - {name: mails, kind: queue.queue, driver: driver, dead_letter: dead}
  - {name: dead, kind: queue.queue, driver: driver}
  - {name: send, kind: function.python, source: file://work.py, method: send}
  - {name: broken, kind: function.python, source: file://broken.py, method: send}
  - {name: sender, kind: queue.consumer, queue: mails, func: send}
  - {name: mourner, kind: queue.consumer, queue: dead, func: broken}
"""
WORK = """
from dataclasses import dataclass

@dataclass
class Mail:
    to: str

def send(mail: Mail) -> int:
    return len(mail.to)
"""


def test_yaml_with_python_handlers_without_the_broker(tmp_path: Path) -> None:
    write(tmp_path, {"p.yaml": PROJECT, "work.py": WORK, "broken.py": "1 / 0\n\ndef send(body): ...\n"})
    done = run("asyncapi", ".", "--output", "api.yaml", "--title", "Mails", "--api-version", "3.2.1", folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "the types of function 'app:broken' are unknown" in done.stderr
    text = (tmp_path / "api.yaml").read_text()
    assert "hunter2" not in text + done.stderr
    document = yaml.safe_load(text)
    assert problems(document) == []
    assert document["info"] == {"title": "Mails", "version": "3.2.1"}
    assert document["servers"]["app.driver"]["host"] == "nowhere.invalid:5672"
    assert payload_validator(document, "app.mails").is_valid({"to": "ada"})
    assert not payload_validator(document, "app.mails").is_valid({})


def test_title_and_version_of_pyproject(tmp_path: Path) -> None:
    code = "from tasuki import App\n\napp = App()\napp.queue('mails', str)\n"
    pyproject = '[project]\nname = "shop"\nversion = "4.0"\n[tool.tasuki]\napp = "jobs:app"\n'
    write(tmp_path, {"jobs.py": code, "pyproject.toml": pyproject})
    assert json.loads(run("asyncapi", folder=tmp_path).stdout)["info"] == {"title": "shop", "version": "4.0"}


def test_errors(tmp_path: Path) -> None:
    write(tmp_path, {"p.yaml": PROJECT.replace("queue: mails", "queue: mials"), "work.py": WORK, "broken.py": ""})
    assert run("asyncapi", folder=tmp_path).returncode == 3
    write(tmp_path, {"p.yaml": PROJECT, "broken.py": "def send(body): ...\n"})
    done = run("asyncapi", "--output", "no/such/folder/api.json", folder=tmp_path)
    assert done.returncode == 1
    assert "cannot write no/such/folder/api.json: No such file or directory" in done.stderr
