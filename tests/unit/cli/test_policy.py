"""``tasuki policy explain`` in this process; tests/e2e/test_policies.py has it as a process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.conftest import CommandLine

POLICIES = """\
  - name: own
    kind: security.policy
    policy:
      actions: queue.*
      resources: "app:t*"
      effect: allow
      conditions: [{field: meta.open, operator: ne, value: no}]
    groups: [g]
  - name: never
    kind: security.policy
    policy: {actions: queue.publish, resources: "app:dead", effect: deny}
  - name: boss
    kind: security.policy
    policy: {actions: [approve, "sign*"], resources: "*", effect: allow}
"""


@pytest.fixture
def secure(project: Path) -> Path:
    """The project with policies; its consumer has an actor."""
    path = project / "_index.yaml"
    text = path.read_text().rstrip().removesuffix("}")
    security = ", security: {actor: {id: me, meta: {role: x}}, groups: [g], policies: [never]}}\n"
    path.write_text(text + security + POLICIES)
    return project


@pytest.mark.usefixtures("secure")
def test_explain(tasuki: CommandLine) -> None:
    found = tasuki.json("policy", "explain", "--as", "consumer", "info", "tasks", "--about", "open=yes")
    assert (found["allowed"], found["policy"], found["actor"]) == (True, "app:own", "me")
    found = tasuki.json("policy", "explain", "--as", "consumer", "info", "tasks")
    assert (found["allowed"], found["policy"], found["why"]) == (False, None, "no policy allows it")
    found = tasuki.json("policy", "explain", "--actor", "you", "--meta", "n=1", "publish", "dead")
    assert (found["allowed"], found["policy"], found["resource"]) == (False, "app:never", "app:dead")
    found = tasuki.json("policy", "explain", "--as", "consumer", "--actor", "you", "env", "HOME")
    assert (found["actor"], found["action"], found["resource"]) == ("you", "env.get", "HOME")
    found = tasuki.json("policy", "explain", "call", "handle")
    assert (found["allowed"], found["actor"], found["resource"]) == (True, None, "app:handle")


@pytest.mark.usefixtures("secure")
def test_explain_for_people(tasuki: CommandLine) -> None:
    done = tasuki("policy", "explain", "--as", "consumer", "publish", "dead")
    assert done.stdout.splitlines() == [
        "denied: actor me, queue.publish.queue on app:dead",
        "because policy app:never: it has no conditions",
        "",
        "POLICY     SAYS       ASKED                              WHY",
        "app:own    undefined  queue.publish.queue on 'app:dead'  its resources do not match",
        "app:never  undefined  queue.publish.queue on 'app:dead'  its actions do not match",
        "app:never  deny       queue.publish on 'app:dead'        it has no conditions",
    ]
    done = tasuki("policy", "explain", "publish", "tasks")
    assert done.stdout == (
        "allowed: no actor, queue.publish.queue on app:tasks\nbecause there is no actor, and security is not strict\n"
    )


def test_what_cannot_be_explained(tasuki: CommandLine) -> None:
    assert tasuki("policy", "explain", "publish").returncode == 2
    assert "--meta describes the actor" in tasuki("policy", "explain", "--meta", "a=1", "publish", "q").stderr
    assert "'nobody' is not defined" in tasuki("policy", "explain", "--as", "nobody", "publish", "q").stderr
    done = tasuki("policy", "explain", "--as", "consumer", "--actor", "x", "publish", "q")
    assert "has no policies to apply to another actor" in done.stderr


@pytest.mark.usefixtures("secure")
def test_explain_takes_no_mistyped_name(tasuki: CommandLine) -> None:
    for arguments, problem in [
        (("publsh", "tasks"), "action 'publsh' is not known; did you mean 'publish'?"),
        (("publish", "taks"), "queue 'taks' is not defined; did you mean 'tasks'?"),
        (("call", "handel"), "function 'handel' is not defined; did you mean 'handle'?"),
    ]:
        found = tasuki("policy", "explain", *arguments)
        assert found.returncode == 1
        assert problem in found.stderr
    # Scripts ask for their own actions: security.can("approve", …).
    assert tasuki.json("policy", "explain", "--actor", "you", "approve", "order")["policy"] == "app:boss"
    # Ids of queues that are made while it runs are in no project.
    assert tasuki("policy", "explain", "publish", "reply:1").returncode == 0


@pytest.mark.usefixtures("secure")
def test_explain_of_an_actor_at_the_desk_says_what_the_desk_does(tasuki: CommandLine, project: Path) -> None:
    found = tasuki.json("policy", "explain", "--actor", "you", "purge", "tasks")
    assert (found["allowed"], found["why"]) == (True, "no policy is about the desk")
    found = tasuki.json("policy", "explain", "--actor", "you", "queue.admin.dry_run", "tasks")
    assert (found["allowed"], found["why"]) == (False, "this is off until a policy allows queue.admin.dry_run")
    kana = "conditions: [{field: actor.id, operator: eq, value: kana}]"
    policies = (
        "  - name: kana\n    kind: security.policy\n"
        f"    policy: {{actions: '*', resources: '*', effect: allow, {kana}}}\n"
        "  - name: no_purge\n    kind: security.policy\n"
        "    policy: {actions: '*.purge', resources: '*', effect: deny}\n"
    )
    path = project / "_index.yaml"
    path.write_text(path.read_text() + policies)
    done = tasuki("policy", "explain", "--actor", "kana", "purge", "tasks")
    assert done.stdout.splitlines() == [
        "denied: actor kana, queue.admin.purge on app:tasks",
        "because policy app:no_purge: it has no conditions",
        "",
        "POLICY        SAYS       ASKED                             WHY",
        "app:never     undefined  queue.admin.purge on 'app:tasks'  its actions do not match",
        "app:kana      allow      queue.admin.purge on 'app:tasks'  its conditions hold",
        "app:no_purge  deny       queue.admin.purge on 'app:tasks'  it has no conditions",
        "app:own       undefined  queue.admin.purge on 'app:tasks'  it asks nothing about the actor, so it counts for "
        "code that it is attached to, and not at the desk",
    ]
    assert tasuki.json("policy", "explain", "--actor", "kana", "peek", "tasks")["policy"] == "app:kana"
    assert tasuki.json("policy", "explain", "--actor", "you", "peek", "tasks")["allowed"] is False
    done = tasuki("policy", "explain", "--actor", "kana", "--meta", "a=b", "purge", "tasks")
    assert (done.returncode, "at the desk an actor has an id alone" in done.stderr) == (2, True)
