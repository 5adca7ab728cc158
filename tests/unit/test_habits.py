"""What runs elsewhere (hosted CI, hooks on a commit) runs the checks of the Makefile, and finds them there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text())


def test_hosted_ci_runs_targets_that_exist() -> None:
    jobs = read(".github/workflows/ci.yml")["jobs"]
    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    targets = {target for command in commands for target in re.findall(r"^make ([a-z-]+)", command)}

    assert "bash .ci/run" in commands
    assert targets == {"check", "conformance"}
    assert targets <= TARGETS


def test_hosted_ci_names_each_action_by_its_commit() -> None:
    jobs = read(".github/workflows/ci.yml")["jobs"]
    actions = [step["uses"] for job in jobs.values() for step in job["steps"] if "uses" in step]

    assert actions
    assert all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", action) for action in actions)


def test_hooks_are_checks_of_make_lint() -> None:
    lint = MAKEFILE[MAKEFILE.index("\nlint:") : MAKEFILE.index("\nformat:")].replace("$(VENV)", ".venv")
    lint = lint.replace("$(RUFF_FORMAT)", ".venv/bin/ruff format")

    [repository] = read(".pre-commit-config.yaml")["repos"]

    assert repository["repo"] == "local"
    for hook in repository["hooks"]:
        assert hook["entry"] in lint, hook["id"]


def test_the_spelling_of_hooks_leaves_out_what_make_lint_leaves_out() -> None:
    skipped = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["codespell"]["skip"].split(",")
    [exclude] = [
        hook["exclude"] for hook in read(".pre-commit-config.yaml")["repos"][0]["hooks"] if hook["id"] == "spelling"
    ]

    for path in skipped:
        assert re.search(exclude, path.replace("*", "x")), path
