"""Tasks as entries: each task adds its function to one consumer of its queue."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tasuki.app.declare import Declarations, lifecycle_of_code, name_of
from tasuki.contracts.context import Retries
from tasuki.errors import InvalidEntryError
from tasuki.ids import name_for
from tasuki.registry.entry import INJECT, Entry
from tasuki.system.caller import caller

if TYPE_CHECKING:
    from tasuki.app.tasks.options import TaskRules


class DeclaredTasks:
    """The tasks of an app, and the consumers that have them.

    A queue's consumer is called ``<queue>.workers``, the function of a task ``<queue>.task.<name>``: its own name,
    as a task may be called like another queue's last part (``dead``).
    """

    def __init__(self, declared: Declarations) -> None:
        self._declared = declared
        self._workers: dict[str, Entry] = {}

    def add_workers(self, queue: str, fields: Mapping[str, Any]) -> str:
        """Give the consumer of a queue's tasks its fields; returns its id.

        Raises:
            InvalidEntryError: that was done already.
        """
        entry = self._workers_of(queue)
        if entry.data.keys() - {"queue", "funcs", "lifecycle"} or entry.data["lifecycle"] != lifecycle_of_code({}):
            raise entry.error("the workers of this queue have their options already", hint="give them all in one call")
        _data_of(entry).update({**fields, "lifecycle": lifecycle_of_code(fields.get("lifecycle", {}))})
        self._declared.on_change()
        return entry.id

    def add(
        self, queue: str, function: Callable[..., object], rules: TaskRules, inject: tuple[object, ...] = ()
    ) -> str:
        """Declare a function as a task of a queue, with types that it says are provided; returns the task's name.

        Raises:
            InvalidEntryError: the queue has a task of this name already.
        """
        name, entry = rules.get("name") or name_of(function), self._workers_of(queue)
        place, funcs = caller(), entry.data["funcs"]
        if name in funcs:
            raise InvalidEntryError(
                f"queue {queue!r} has a task {name!r} already, declared at {entry.positions['funcs', name]}",
                position=place,
                entry=entry.id,
                hint=f"give one of them another name: @….task(name={name + '2'!r})",
            )
        namespace, _, own = queue.rpartition(":")
        id = f"{namespace}:{name_for(name, f'{own}.task.')}" if namespace else name_for(name, f"{own}.task.")
        self._declared.add(id, "function.python", {}, target=function, meta={INJECT: inject} if inject else None)
        funcs[name] = {"func": id, **self._rules(id, rules)}
        entry.positions["funcs", name] = place  # type: ignore[index]
        self._declared.on_change()
        return name

    def _rules(self, id: str, rules: TaskRules) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if (retry := rules.get("retry")) is not None:
            found["retry"] = retry.fields() if isinstance(retry, Retries) else retry
        if (timeout := rules.get("handler_timeout")) is not None:
            found["handler_timeout"] = timeout
        if (idempotency := rules.get("idempotency")) is not None:
            found["idempotency"] = idempotency
        if (give_up := rules.get("on_give_up")) is not None:
            found["on_give_up"] = self._declared.add(f"{id}.on_give_up", "function.python", {}, target=give_up).id
        return found

    def _workers_of(self, queue: str) -> Entry:
        if queue not in self._workers:
            data = {"queue": queue, "funcs": {}, "lifecycle": lifecycle_of_code({})}
            self._workers[queue] = self._declared.add(f"{queue}.workers", "queue.consumer", data)
        return self._workers[queue]


def _data_of(entry: Entry) -> dict[str, Any]:
    assert isinstance(entry.data, dict)
    return entry.data
