"""Mutants of the leases of deliveries, of settling once, and of places of limits."""

from __future__ import annotations

from tests.fences.mutant import Mutant

_KEEPER = ("unit/consumers/test_keeper.py", "unit/consumers/test_consumer_losses.py", "unit/consumers/test_consumer.py")
_DELIVERY = ("unit/consumers/test_delivery.py", *_KEEPER)
_SETTLER = (
    "unit/consumers/test_settler.py",
    "unit/consumers/test_give_up.py",
    "unit/consumers/test_handover.py",
    *_KEEPER,
)
_PLACES = ("unit/consumers/test_places.py", "unit/consumers/test_limited.py", "unit/app/test_limits.py")
_EXECUTOR = ("unit/consumers/test_executor.py", "unit/consumers/test_suspects.py", *_KEEPER)
_RESULTS = ("unit/consumers/test_results.py", "unit/app/test_results.py")
_CANCEL = ("unit/app/test_cancel.py", "unit/consumers/jobs/test_cancelling.py", "unit/app/test_cancel_handlers.py")
_TRANSACTIONS = ("e2e/test_transaction_endings.py", "e2e/test_transactions.py", "properties/test_transactions.py")

CONSUMERS = [
    Mutant(
        "a lease that the broker reports as lost is kept",
        "consumers/fetching/keeper.py",
        "                elif receipt in holding.deliveries:  # else it was settled meanwhile\n"
        "                    holding.lose(due[receipt])",
        "",
        _KEEPER,
    ),
    Mutant(
        "a lease counts from the answer of its renewal",
        "consumers/fetching/keeper.py",
        "due[receipt].lease_until = now + lease",
        "due[receipt].lease_until = self._clock.monotonic() + lease",
        _KEEPER,
    ),
    Mutant(
        "a lost lease is renewed again",
        "consumers/fetching/keeper.py",
        "if not delivery.lost and delivery.lease_until - now < least_left",
        "if delivery.lease_until - now < least_left",
        _KEEPER,
    ),
    Mutant(
        "the deliveries of a silent session stay its own",
        "consumers/fetching/keeper.py",
        "        holding.take_expired(due, now)\n",
        "",
        _KEEPER,
    ),
    Mutant(
        "a lease counts from the answer of its receive",
        "consumers/run.py",
        'lease_until = float("inf") if self.lease is None else asked_at + self.lease',
        'lease_until = float("inf") if self.lease is None else self._monotonic() + self.lease',
        _KEEPER,
    ),
    Mutant(
        "a handler starts without its lease",
        "consumers/handling/executor.py",
        "if delivery.lost or delivery.lease_until <= now:",
        "if False:",
        _EXECUTOR,
    ),
    Mutant(
        "a handler starts although its lease was reported as lost",
        "consumers/handling/executor.py",
        "if delivery.lost or delivery.lease_until <= now:",
        "if delivery.lease_until <= now:",
        _EXECUTOR,
    ),
    Mutant(
        "a handler starts although its lease is over",
        "consumers/handling/executor.py",
        "if delivery.lost or delivery.lease_until <= now:",
        "if delivery.lost:",
        _EXECUTOR,
    ),
    Mutant(
        "a suspect starts that the broker has given to another worker",
        "consumers/handling/executor.py",
        "        return not stale\n",
        "        return True\n",
        _EXECUTOR,
    ),
    Mutant(
        "a message that could not be acked first is handled",
        "consumers/handling/executor.py",
        "        if self._auto_ack and not await self._prepare(delivery, worker):\n",
        "        if self._auto_ack and not await self._prepare(delivery, worker) and False:\n",
        _EXECUTOR,
    ),
    Mutant(
        "a stale ack counts as done",
        "consumers/settling/settler.py",
        "waiting.set_result(settlement.receipt not in untaken)",
        "waiting.set_result(True)",
        _SETTLER,
    ),
    Mutant(
        "a delivery is settled twice",
        "consumers/delivery.py",
        "        if self.settled:\n            return False\n        self.settled = True\n",
        "        self.settled = True\n",
        _DELIVERY,
    ),
    Mutant(
        "a dropped delivery is not lost",
        "consumers/delivery.py",
        "            self.holder.drop(self)\n            self.lost = True\n",
        "            self.holder.drop(self)\n",
        _DELIVERY,
    ),
    Mutant(
        "a handler that has returned settles its message",
        "consumers/delivery.py",
        '            raise HandlerError("released: the handler has returned", kind="Invalid", retryable=False)',
        "            pass",
        _DELIVERY,
    ),
    Mutant(
        "a dead letter is published without the lease of its message",
        "consumers/settling/settler.py",
        "            while not delivery.lost:\n",
        "            while True:\n",
        _SETTLER,
    ),
    Mutant(
        "a dead letter is published although its lease was lost while the user's function ran",
        "consumers/settling/settler.py",
        "        if delivery.lost:\n            raise StaleReceiptError(",
        "        if False:\n            raise StaleReceiptError(",
        _SETTLER,
    ),
    Mutant(
        "a stale move is tried again",
        "consumers/settling/settler.py",
        "                except StaleReceiptError:\n                    stale = {delivery.received.receipt}\n"
        "                    late: list[Settlement] = [Ack(delivery.received.receipt)]\n"
        "                    self._note_stale(late, stale)\n                    self.on_settled(late, stale)\n"
        "                    return False\n",
        "",
        _SETTLER,
    ),
    Mutant(
        "settlements are tried for longer than their leases",
        "consumers/settling/settler.py",
        'self._clock.monotonic() + self._queue.spec.lease if has_leases else float("inf")',
        'float("inf")',
        _SETTLER,
    ),
    Mutant(
        "a lost place is used for another message",
        "consumers/fetching/limited.py",
        "        places.give_lost(len(places) - self._window.held)\n",
        "",
        _PLACES,
    ),
    Mutant(
        "a place that could not be renewed is not lost",
        "consumers/fetching/places.py",
        "self._held[holder] = asked + LEASE if is_held else 0.0",
        "self._held[holder] = asked + LEASE",
        _PLACES,
    ),
    Mutant(
        "a place is given back while it is renewed",
        "consumers/fetching/places.py",
        "        async with self._turn_here():\n            if holder not in self._held or store is None:",
        "        async with asyncio.Lock():\n            if holder not in self._held or store is None:",
        _PLACES,
    ),
    Mutant(
        "a place that was given back is renewed",
        "consumers/fetching/places.py",
        "if holder not in self._held or store is None:",
        "if store is None:",
        _PLACES,
    ),
    Mutant(
        "a place whose taking was interrupted is kept",
        "consumers/fetching/places.py",
        "                self._let_go([holder])  # perhaps it was taken\n",
        "",
        _PLACES,
    ),
    Mutant(
        "a settlement gives away a place that a receive has taken",
        "consumers/fetching/limited.py",
        "            self.places.give(len(self.places) - self._window.held - self._reserved)",
        "            self.places.give(len(self.places) - self._window.held)",
        _PLACES,
    ),
    Mutant(
        "the token of a stale release is given back",
        "consumers/fetching/limited.py",
        "and not each.delay and each.receipt not in stale for each in batch)",
        "and not each.delay for each in batch)",
        _PLACES,
    ),
    Mutant(
        "the progress of a message follows its end",
        "consumers/jobs/results.py",
        "            job.writing.cancel()\n            await asyncio.wait([job.writing])\n",
        "            pass\n",
        _RESULTS,
    ),
    Mutant(
        "a cancelled message is noted over its start",
        "app/state/cancelling.py",
        'encode(JobRecord("cancelled", place.state.clock.time())), ttl=ttl, version=version)',
        'encode(JobRecord("cancelled", place.state.clock.time())), ttl=ttl)',
        _CANCEL,
    ),
    Mutant(
        "a running or ended message is noted as cancelled",
        "app/state/cancelling.py",
        'if record is None or record.status == "waiting":',
        "if True:",
        _CANCEL,
    ),
    Mutant(
        "an ack that was committed is settled again",
        "consumers/jobs/transacting.py",
        "                self._committed.add(each.received.receipt)\n",
        "",
        _TRANSACTIONS,
    ),
    Mutant(
        "the other messages of a batch wait for their leases after a stale one",
        "consumers/jobs/transacting.py",
        "                run_in_loop(delivery.holder, lambda: _let_go(opened))\n",
        "",
        _TRANSACTIONS,
    ),
]
