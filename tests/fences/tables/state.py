"""Mutants of what processes share in a store: pauses, the audit, keys of requests, borrowed letters, depths."""

from __future__ import annotations

from tests.fences.mutant import Mutant

_DEAD = (
    "unit/app/test_borrowing.py",
    "e2e/test_borrowing.py",
    "unit/app/test_redrive_and_drain.py",
    "unit/app/test_dead_letters.py",
)
_CONTROLS = ("unit/state/test_controls.py", "unit/app/test_pausing.py", "unit/state/test_shared.py")
_KEYS = ("unit/desk/test_idempotency.py",)
_STORE = ("unit/handlers/store",)

STATE = [
    Mutant(
        "two acts take one place of the audit",
        "state/audit/ring.py",
        "following, ttl=KEPT, version=0 if found is None else found.version)",
        "following, ttl=KEPT)",
        ("unit/state/test_audit.py",),
    ),
    Mutant(
        "a pause is shortened by another process at the same moment",
        "state/pausing.py",
        "new.encode(), ttl=ttl, version=version)",
        "new.encode(), ttl=ttl)",
        _CONTROLS,
    ),
    Mutant(
        "an older change of a control replaces a later one",
        "state/controls.py",
        "        if change.version < self._versions.get(key, self._gone.get(key, 0)):\n            return\n",
        "",
        _CONTROLS,
    ),
    Mutant(
        "a put of a control that is reported late undoes its deletion",
        "state/controls.py",
        "            self._gone[key] = change.version + 1\n",
        "            self._gone[key] = 0\n",
        _CONTROLS,
    ),
    Mutant(
        "two requests with one key are carried out",
        "desk/api/idempotency.py",
        "msgspec.msgpack.encode(claim), ttl=CLAIM, version=0)",
        "msgspec.msgpack.encode(claim), ttl=CLAIM)",
        _KEYS,
    ),
    Mutant(
        "a request with a key is answered before the first has ended",
        "desk/api/idempotency.py",
        "    if not known.status:\n",
        "    if False:\n",
        _KEYS,
    ),
    Mutant(
        "a handler's conditional put is unconditional",
        "handlers/store/handler_store.py",
        "store.put(key, data, ttl=lifetime, version=version)",
        "store.put(key, data, ttl=lifetime)",
        _STORE,
    ),
    Mutant(
        "two processes borrow letters at the same time",
        "app/dead/borrowing.py",
        "        if await store.hold(place, holder, places=1, lease=_LEASE) is None:\n"
        "            raise _busy(source)\n",
        "        await store.hold(place, holder, places=1, lease=_LEASE)\n",
        _DEAD,
    ),
    Mutant(
        "two readers of a process borrow letters at the same time",
        "app/dead/borrowing.py",
        "        if key in _here:\n            raise _busy(source)\n",
        "",
        _DEAD,
    ),
    Mutant(
        "the place of a reader is kept after its borrow",
        "app/dead/borrowing.py",
        "                await asyncio.shield(store.release(place, holder))",
        "                pass",
        _DEAD,
    ),
    Mutant(
        "letters that a redrive holds are not renewed",
        "app/dead/pace.py",
        "        await self.renew()\n        if self._rate is None",
        "        if self._rate is None",
        _DEAD,
    ),
    Mutant(
        "letters that a slow redrive holds are not renewed while it waits",
        "app/dead/pace.py",
        "            await asyncio.sleep(min(left, self.step))\n            await self.renew()",
        "            await asyncio.sleep(min(left, self.step))",
        _DEAD,
    ),
    Mutant(
        "every process reads the depths of the queues",
        "app/measuring/depths.py",
        "lease=LEASE) is not None\n        except",
        "lease=LEASE) is not False\n        except",
        ("unit/app/measuring/test_depths.py",),
    ),
    Mutant(
        "the end of a session at the desk is forgotten",
        "desk/security/sessions.py",
        " and id not in self._ended",
        "",
        ("unit/desk/test_server.py", "unit/desk/test_door.py", "unit/desk/test_attacks.py"),
    ),
]
