"""A small project for tests of the desk: a queue of mails with its dead letters, and what people may do with them."""

from __future__ import annotations

from collections.abc import Iterable

_MAILS = """
version: "1.0"
namespace: app
entries:
  - {{name: driver, kind: queue.driver.{driver}}}
  - {{name: mails, kind: queue.queue, driver: driver, dead_letter: {{queue: dead}}{mails}}}
  - {{name: dead, kind: queue.queue, driver: driver{dead}}}
"""


def mails(*more: str, driver: str = "memory", suffix: str = "", dead: str = "") -> str:
    """The text of the project.

    Args:
        more: entries, one a line or a ``policy``.
        driver: its kind.
        suffix: of the names of both queues at the broker, which tests share.
        dead: more fields of the dead-letter queue.
    """
    names = [f", queue_name: {name}_{suffix}" if suffix else "" for name in ("mails", "dead")]
    text = _MAILS.format(driver=driver, mails=names[0], dead=names[1] + dead)
    return text + "".join(f"  - {entry}\n" for entry in more)


def policy(actor: str, actions: Iterable[str], resources: str = '"*"') -> str:
    """An entry that allows an actor some acts: ``pause`` for ``queue.admin.pause``."""
    allowed = ", ".join(f"queue.admin.{action}" for action in actions)
    return (
        f"{{name: {actor}_may, kind: security.policy, policy: {{actions: [{allowed}], resources: {resources}, "
        f"effect: allow, conditions: [{{field: actor.id, operator: eq, value: {actor}}}]}}}}"
    )
