"""Actors and policies from end to end: YAML in, what handlers and commands see out."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from tasuki import App
from tasuki.errors import LifecycleError, PolicyDeniedError, ProjectError
from tests.e2e.guarded import SECURITY, STRICT, project, result_of
from tests.e2e.projects import write
from tests.support.narrow import present
from tests.support.process import run

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("flavour", ["lua", "python"])
async def test_a_consumer_whose_actor_may_not_publish_is_told_so(
    tmp_path: Path, flavour: str, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "a-body-that-nobody-should-read"
    folder = project(tmp_path, flavour)
    report = await result_of(folder, {"to": "app.queue:secret", "note": secret})
    denied = "not allowed to publish to queue: app.queue:secret"
    assert (report.get("ok"), report["kind"], report["message"]) == (None, "Invalid", denied)
    assert report["details"] == {"reason": "permission_denied"}
    assert report["who"] == report["called"]["who"] == "service:worker"
    assert report["called"]["denied"] == ["Invalid", denied, "permission_denied"]
    records = [record for record in caplog.records if record.name == "tasuki.security"]
    assert len(records) == 2  # the worker's own publish, and the publish of the function it calls
    for record in records:
        assert record.levelno == logging.WARNING
        facts = vars(record)
        assert (facts["actor"], facts["action"]) == ("service:worker", "queue.publish.queue")
        assert (facts["resource"], facts["policy"]) == ("app.queue:secret", "app.security:no_secrets")
    assert secret not in caplog.text


@pytest.mark.parametrize("flavour", ["lua", "python"])
async def test_unknown_and_forbidden_queues_answer_alike(tmp_path: Path, flavour: str) -> None:
    folder = project(tmp_path, flavour)
    report = await result_of(folder, {"to": "other:nowhere"})
    assert report["message"] == "not allowed to publish to queue: other:nowhere"
    assert report["details"] == {"reason": "permission_denied"}


async def test_a_handler_cannot_have_another_write_where_it_may_not(tmp_path: Path) -> None:
    folder = project(tmp_path)
    text = (folder / "work.yaml").read_text()
    asks = '{n = 1}, {reply_to = "secret"})'
    (folder / "work.yaml").write_text(text.replace("queue.publish(body.to, {n = 1})", f"queue.publish(body.to, {asks}"))
    report = await result_of(folder, {"to": "app.queue:dead"}, dead=1)
    assert report["message"] == "not allowed to publish to queue: app.queue:secret"
    assert (report["kind"], report["details"]) == ("Invalid", {"reason": "permission_denied"})


async def test_the_actor_is_never_taken_from_the_message(tmp_path: Path) -> None:
    headers = {"actor": "admin", "x-actor": "admin", "security.scope": "all", "security.actor": "admin"}
    report = await result_of(project(tmp_path), {"to": "app.queue:secret"}, headers)
    assert report["who"] == "service:worker"
    assert report["details"] == {"reason": "permission_denied"}


async def test_without_security_everything_is_allowed(tmp_path: Path) -> None:
    folder = project(tmp_path, security="")
    text = (folder / "work.yaml").read_text()
    (folder / "work.yaml").write_text(
        text[: text.index("      security:")].replace("who = security.actor():id()", "who = '-'")
    )
    report = await result_of(folder, {"to": "app.queue:secret"})
    assert report["ok"] is True
    assert not report["called"]


def test_an_unknown_policy_or_group_stops_the_start(tmp_path: Path) -> None:
    folder = project(tmp_path, driver="sqlite", no_secrets="no_secret", workers="worker_s")
    with pytest.raises(ProjectError) as caught:
        App.load(folder).check()
    group, policy = map(str, caught.value.errors)
    assert "work.yaml:36:18: app:worker: consumer 'app:worker' names the group 'app.security:worker_s', but no" in group
    assert "did you mean 'app.security:workers'?" in group
    assert (
        "refers to policy 'app.security:no_secret', which is not defined; did you mean 'app.security:no_sec" in policy
    )
    done = run("run", ".", folder=folder)
    assert done.returncode == 3
    assert "app.security:no_secret" in done.stderr


async def test_a_consumer_that_may_not_consume_does_not_start(tmp_path: Path) -> None:
    folder = project(tmp_path, security=SECURITY.replace('endsWith ":secret"', 'endsWith ":tasks"'))
    with pytest.raises(LifecycleError, match=r"app.queue:tasks \(actor 'service:worker': policy 'app.security:no_secr"):
        async with App.load(folder).worker():
            pass


async def test_stores_settings_and_counts_are_guarded_for_python_too(tmp_path: Path) -> None:
    folder = project(tmp_path, "python")
    probe = """\
from tasuki import Context
from tasuki.errors import PolicyDeniedError

async def work(body, context: Context):
    answers = {}
    for name, ask in {
        "store": lambda: context.project.resource("cache"),
        "env": lambda: context.project.env("TOKEN"),
        "info": lambda: context.queues.info("app.queue:secret"),
        "call": lambda: context.call("other:f"),
    }.items():
        try:
            found = ask()
            if name in ("info", "call"):
                found = await found
            answers[name] = str(found)
        except PolicyDeniedError as error:
            answers[name] = str(error)
    await context.publish("app.queue:results", {"answers": answers, "called": None, "who": None})
"""
    write(folder, {"work.py": probe})
    assert (await result_of(folder, {"to": "x"}))["answers"] == {
        "store": "not allowed to access store: app:cache",
        "env": "not allowed to access environment variable: TOKEN",
        "info": "not allowed to see queue: app.queue:secret",
        "call": "not allowed: other:f",
    }


async def test_a_reload_changes_the_rights_of_what_runs(tmp_path: Path) -> None:
    folder = project(tmp_path)
    async with App.load(folder).worker() as app:
        consumer = app._runtime.live().consumers["app:worker"]
        assert not present(consumer.guard).decide("queue.publish.queue", "app.queue:secret").allowed
        write(folder, {"security.yaml": SECURITY.replace("effect: deny", "effect: allow")})
        await app.reload()
        assert app._runtime.live().consumers["app:worker"] is consumer
        assert present(consumer.guard).decide("queue.publish.queue", "app.queue:secret").allowed
        write(
            folder,
            {"security.yaml": SECURITY.replace("team, operator: eq, value: blue", "team, operator: eq, value: red")},
        )
        with pytest.raises(PolicyDeniedError, match="not allowed to consume"):
            await app.reload()
        assert present(consumer.guard).decide("queue.publish.queue", "app.queue:secret").allowed


def explain(folder: Path, *arguments: str) -> Any:
    done = run("policy", "explain", *arguments, "--json", folder=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_explain_says_which_policy_decides_and_why(tmp_path: Path) -> None:
    folder = project(tmp_path, driver="sqlite")
    denied = explain(folder, "--as", "worker", "publish", "secret")
    assert (denied["allowed"], denied["actor"]) == (False, "service:worker")
    assert (denied["action"], denied["resource"]) == ("queue.publish.queue", "app.queue:secret")
    assert (denied["policy"], denied["why"]) == ("app.security:no_secrets", "its conditions hold")
    allowed = explain(folder, "--as", "app:worker", "publish", "app.queue:results")
    assert (allowed["allowed"], allowed["policy"]) == (True, "app.security:own_queues")
    other = explain(folder, "--actor", "bob", "--meta", "team=red", "consume", "tasks")
    assert (other["allowed"], other["policy"], other["why"]) == (False, None, "no policy allows it")
    assert {one["policy"]: one["why"] for one in other["policies"]} == {
        "app.security:own_queues": "the condition does not hold: actor.meta.team eq 'blue'",
        "app.security:no_secrets": "its expression does not hold",
    }
    assert explain(folder, "publish", "tasks")["why"] == "there is no actor, and security is not strict"
    assert explain(folder, "--as", "worker", "call", "helper")["resource"] == "app:helper"
    assert (
        explain(folder, "--as", "worker", "--actor", "x", "store.key.get", "s", "--about", "key=1")["allowed"] is False
    )
    done = run("policy", "explain", "--as", "worker", "publish", "secret", folder=folder)
    assert done.stdout.startswith(
        "denied: actor service:worker, queue.publish.queue on app.queue:secret\nbecause policy"
    )
    assert run("policy", "explain", "publish", "tasks", folder=folder).stdout.startswith("allowed: no actor")
    assert run("policy", "explain", "--meta", "a=b", "publish", "tasks", folder=folder).returncode == 2
    assert run("policy", "explain", "--as", "nobody", "publish", "tasks", folder=folder).returncode == 1


def test_the_command_line_passes_the_same_gate(tmp_path: Path) -> None:
    folder = project(tmp_path, driver="sqlite", security=SECURITY + STRICT)
    for arguments in (("publish", "tasks", "1"), ("purge", "tasks", "-y"), ("peek", "tasks"), ("info", "tasks")):
        done = run(*arguments, folder=folder)
        assert done.returncode == 1, arguments
        assert "error: not allowed to" in done.stderr
    assert run("call", "helper", "x", folder=folder).returncode == 1
    assert run("redrive", "dead", folder=folder).returncode == 1
    assert run("publish", "tasks", "1", "-o", "app.security:config:strict=false", folder=folder).returncode == 0
