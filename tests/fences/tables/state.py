"""Mutants of what processes share in a store: pauses, the audit, keys of requests, borrowed letters, depths."""

from __future__ import annotations

from tests.fences.mutant import Mutant

STATE = [
    Mutant(
        "two acts take one place of the audit",
        "state/audit.py",
        "following, ttl=KEPT, version=0 if found is None else found.version)",
        "following, ttl=KEPT)",
        ("unit/state/test_audit.py::test_acts_of_many_at_once_are_all_kept",),
    ),
    Mutant(
        "a pause is shortened by another process at the same moment",
        "state/pauses.py",
        "new.encode(), ttl=ttl, version=version)",
        "new.encode(), ttl=ttl)",
        ("unit/state/test_pauses.py::test_of_two_pauses_at_the_same_time_the_longer_one_holds",),
    ),
    Mutant(
        "an older change of a control replaces a later one",
        "state/shared.py",
        "if _rank(change) < _rank(ours):",
        "if False:",
        ("unit/state/test_shared.py::test_a_change_of_this_process_is_kept_until_the_watch_reports_it",),
    ),
    Mutant(
        "a change of a control undoes a later one that was reported meanwhile",
        "state/shared.py",
        "if any(_rank(report) >= _rank(change) for report in reports):",
        "if False:",
        ("unit/state/test_cancels.py::test_a_later_order_of_another_process_holds",),
    ),
    Mutant(
        "two requests with one key are carried out",
        "desk/api/serving.py",
        "msgspec.msgpack.encode(claim), ttl=CLAIM, version=0)",
        "msgspec.msgpack.encode(claim), ttl=CLAIM)",
        ("unit/desk/test_idempotency.py::test_of_several_at_once_one_is_carried_out",),
    ),
    Mutant(
        "a request with a key is answered before the first has ended",
        "desk/api/serving.py",
        "    if not known.status:\n",
        "    if False:\n",
        ("unit/desk/test_idempotency.py::test_of_several_at_once_one_is_carried_out",),
    ),
    Mutant(
        "a handler's conditional put is unconditional",
        "handlers/store.py",
        "store.put(key, data, ttl=seconds, version=version)",
        "store.put(key, data, ttl=seconds)",
        ("unit/handlers/store/test_handler_store.py::test_one_version_counter_for_all_keys",),
    ),
    Mutant(
        "two processes borrow letters at the same time",
        "dead/peek_by_receive.py",
        "        if await store.hold(place, holder, places=1, lease=_LEASE) is None:\n"
        "            raise _busy(source)\n",
        "        await store.hold(place, holder, places=1, lease=_LEASE)\n",
        ("unit/app/test_borrowing.py::test_one_reader_at_a_time_over_all_processes",),
    ),
    Mutant(
        "two readers of a process borrow letters at the same time",
        "dead/peek_by_receive.py",
        "        if key in _here:\n            raise _busy(source)\n",
        "",
        ("unit/app/test_borrowing.py::test_one_reader_at_a_time",),
    ),
    Mutant(
        "the place of a reader is kept after its borrow",
        "dead/peek_by_receive.py",
        "                await asyncio.shield(store.release(place, holder))",
        "                pass",
        ("unit/app/test_borrowing.py::test_all_letters_or_the_first_of_them",),
    ),
    Mutant(
        "letters that a redrive holds are not renewed",
        "dead/moving/by_receive.py",
        "            await self._held.renew()\n",
        "",
        ("unit/app/test_dead_letters.py::test_the_leases_of_what_is_held_are_renewed",),
    ),
    Mutant(
        "letters that a slow redrive holds are not renewed while it waits",
        "dead/moving/moving.py",
        "                await self._meanwhile()\n",
        "                pass\n",
        ("unit/app/test_dead_letters.py::test_the_leases_of_what_is_held_are_renewed",),
    ),
    Mutant(
        "every process reads the depths of the queues",
        "app/measuring/depths.py",
        "lease=LEASE) is not None\n        except",
        "lease=LEASE) is not False\n        except",
        ("unit/app/measuring/test_depths.py::test_one_of_two_processes_reads",),
    ),
    Mutant(
        "the end of a session at the desk is forgotten",
        "desk/security/sessions.py",
        " and id not in self._ended",
        "",
        ("unit/desk/test_login.py::test_logging_out_ends_the_session_and_every_copy_of_its_cookie",),
    ),
    Mutant(
        "a watch keeps what a restore in place has taken back",
        "drivers/sqlite/state/reader.py",
        "if _schema(connection) != self._schema:",
        "if newest < self._removal:",
        ("faults/sqlite/test_restored.py::test_a_watch_that_looks_after_a_restore_and_the_next_write_reports_both",),
    ),
]
