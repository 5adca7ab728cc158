"""``tasuki policy``: why an actor may do something, or may not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tasuki.cli.commands.queues.publish import read_header
from tasuki.cli.commands.work.functions import find_function
from tasuki.cli.exits import CommandError
from tasuki.cli.options import printing, project_options
from tasuki.cli.output import print_table
from tasuki.cli.project import Target, find_id

if TYPE_CHECKING:
    from tasuki.kinds.check.project import Project
    from tasuki.kinds.check.rights import Rights
    from tasuki.security.admin import AdminRights
    from tasuki.security.guard import Decision, Guard
    from tasuki.security.policy import PolicyFinding

ADMIN = "queue.admin."
ACTIONS = {
    "publish": "queue.publish.queue",
    "consume": "queue.consume.queue",
    "info": "queue.info.queue",
    "cancel": "queue.cancel.queue",
    "signal": "queue.signal",
    "audit": "queue.admin.audit",
    "peek": "queue.admin.peek",
    "remove": "queue.admin.remove",
    "purge": "queue.admin.purge",
    "delete": "queue.admin.delete",
    "redrive": "queue.admin.redrive",
    "run": "queue.admin.run",
    "pause": "queue.pause.queue",
    "resume": "queue.resume.queue",
    "scale": "queue.scale.consumer",
    "call": "funcs.call",
    "env": "env.get",
    "store": "store.get",
}
"""Short words for actions; any other action is given as it is."""


def _show(report: dict[str, Any]) -> None:
    by = f"policy {report['policy']}: " if report["policy"] else ""
    who = f"actor {report['actor']}" if report["actor"] else "no actor"
    click.echo(f"{'allowed' if report['allowed'] else 'denied'}: {who}, {report['action']} on {report['resource']}")
    click.echo(f"because {by}{report['why']}")
    asked = [one for one in report["policies"] if one["action"] == report["action"]]
    have_denied = {one["policy"] for one in asked if one["says"] == "deny"}
    besides = [one for one in report["policies"] if one not in asked and one["says"] == "deny"]
    spoken = asked + [one for one in besides if one["policy"] not in have_denied]
    if spoken:
        click.echo()
        rows = [(one["policy"], one["says"], f"{one['action']} on {one['resource']!r}", one["why"]) for one in spoken]
        print_table(("POLICY", "SAYS", "ASKED", "WHY"), rows)


@click.group("policy")
def policy_command() -> None:
    """Look at what policies allow."""


@policy_command.command("explain", epilog=f"Short words for actions: {', '.join(ACTIONS)}.")
@click.argument("action")
@click.argument("resource")
@click.option("--as", "consumer", metavar="CONSUMER", help="Use the actor and policies of this consumer.")
@click.option(
    "--actor",
    "actor_id",
    metavar="ID",
    help="Use this actor; without --as, all policies of the project, and for queue.admin.… the rights at the desk.",
)
@click.option("--meta", "pairs", multiple=True, metavar="KEY=VALUE", help="Metadata of the actor; may be repeated.")
@click.option(
    "--about", multiple=True, metavar="KEY=VALUE", help="Metadata of the resource (meta.KEY); may be repeated."
)
@printing(_show)
@project_options()
def explain(
    target: Target,
    action: str,
    resource: str,
    consumer: str | None,
    actor_id: str | None,
    pairs: tuple[str, ...],
    about: tuple[str, ...],
) -> dict[str, Any]:
    """Say whether ACTION on RESOURCE is allowed, which policy decides, and what each policy says to it.

    ACTION is a word such as publish, or any action such as store.key.get. Without --as and --actor, the actor is
    the application.
    """
    from tasuki.kinds.check.rights import Rights

    project = target.load().check()
    rights = Rights(project)
    name, meta = ACTIONS.get(action, action), dict(map(read_header, pairs))
    guard = _guard(project, rights, consumer, actor_id, meta)
    if "." not in name and "*" not in name and not _is_meant(name, rights):
        from tasuki.registry.entry import did_you_mean

        hint = did_you_mean(action, ACTIONS) or f"short words are {', '.join(ACTIONS)}; others look like store.key.get"
        raise CommandError(f"action {action!r} is not known; {hint}")
    resource = _resource(project, name, resource)
    if actor_id is not None and consumer is None and name.startswith(ADMIN):
        if meta or about:
            raise click.UsageError(
                "at the desk an actor has an id alone, and a resource too: leave out --meta and --about"
            )
        return _at_the_desk(rights.admin, actor_id, name, resource)
    return _report(guard, name, resource, dict(map(read_header, about)))


def _is_meant(action: str, rights: Rights) -> bool:
    """Whether a policy names an action literally: scripts may ask for their own actions."""
    patterns = (pattern for policy in rights.policies.values() for pattern in policy.actions)
    return any(pattern.core and pattern.matches(action) for pattern in patterns)


def _guard(
    project: Project, rights: Rights, consumer: str | None, actor_id: str | None, meta: dict[str, Any]
) -> Guard | None:
    from tasuki.kinds.entries.consumer import ConsumerConfig
    from tasuki.security.actor import Actor
    from tasuki.security.guard import Guard
    from tasuki.security.policy import Scope

    if meta and actor_id is None:
        raise click.UsageError("--meta describes the actor of --actor; give --actor too")
    guard = rights.application
    if consumer is not None:
        guard = rights.consumer(find_id(consumer, project.of(ConsumerConfig), "consumer"))
        if actor_id is not None and (guard is None or guard.scope is None):
            raise CommandError(
                f"consumer {consumer!r} has no policies to apply to another actor; leave out --as or --actor"
            )
    if actor_id is None:
        return guard
    scope = guard.scope if consumer is not None and guard is not None else Scope(rights.policies.values())
    return Guard(Actor(actor_id, meta), scope, strict=rights.strict)


def _resource(project: Project, action: str, resource: str) -> str:
    """The id of a queue or function that is called by its name alone; anything else as it is."""
    from tasuki.kinds.entries.queue import QueueConfig

    if ":" in resource or "*" in resource:
        return resource
    # Policies name ids, so a bare name can only belong to an entry.
    if action.startswith("queue."):
        return find_id(resource, project.of(QueueConfig), "queue")
    return find_function(project, resource) if action.startswith("funcs.") else resource


def _at_the_desk(rights: AdminRights, actor: str, action: str, resource: str) -> dict[str, Any]:
    """What a person or program of this id may do at the desk: the answer of the function that the desk asks."""
    act = action.removeprefix(ADMIN)
    decision, found = rights.decide(actor, act, resource), rights.findings(actor, act, resource)
    return _document(decision, actor, action, resource, [(action, resource, one) for one in found])


def _report(guard: Guard | None, action: str, resource: str, about: dict[str, Any]) -> dict[str, Any]:
    from tasuki.security.actor import PolicyRequest
    from tasuki.security.guard import Guard

    guard = guard or Guard()
    asked = [(action, resource)]
    if action == "queue.publish.queue":
        asked += [("queue.publish", ""), ("queue.publish", resource)]
        about = {}  # nothing more is known of a queue when a message is published
    decision = guard.decide(action, resource, about)
    found = []
    if guard.actor is not None and guard.scope is not None:
        for verb, what in asked:
            found += [(verb, what, one) for one in guard.scope.judge(PolicyRequest(guard.actor, verb, what, about))]
    return _document(decision, guard.actor.id if guard.actor else None, action, resource, found)


def _document(
    decision: Decision, actor: str | None, action: str, resource: str, found: list[tuple[str, str, PolicyFinding]]
) -> dict[str, Any]:
    return {
        "allowed": decision.allowed,
        "actor": actor,
        "action": action,
        "resource": resource,
        "policy": decision.policy or None,
        "why": decision.why,
        "policies": [
            {"action": verb, "resource": what, "policy": one.policy, "says": one.ruling, "why": one.why}
            for verb, what, one in found
        ],
    }
