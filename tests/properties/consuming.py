"""A simulation of consuming: one seed is one world with its faults, its script of handler outcomes and its schedule.

Every outcome is a function of message and attempt, so that a world without faults has exactly one right end, and one
with faults has bounds on how far it may be from that.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

from tasuki.clock import Clock
from tasuki.consumers.consumer import Consumer
from tasuki.consumers.definition import ConsumerOptions
from tasuki.consumers.fetching.following import MOST
from tasuki.consumers.handling.shared import Share, SharedWorkers
from tasuki.consumers.handling.suspects import SuspectGate
from tasuki.consumers.run import Run
from tasuki.consumers.settling.verdict import RetryPolicy
from tasuki.contracts.driver import Ack
from tasuki.contracts.handler import Context, Handler, Reject, Retry
from tasuki.errors import BrokerUnavailableError, StopTimeoutError
from tests.unit.consumers.model import ModelBroker, ModelDriver
from tests.unit.consumers.parts import STEADY, FakeHost, LoopKeeper, make_queue

FAILURES = ["raise", "false", "retry", "nack", "hang", "swallow"]
OUTCOMES = ["ok", "ok", "ok", "ok", "slow", "early", "reject", "undecodable", *FAILURES]
LIMIT = 4.0
"""handler_timeout."""


class World:
    """All that one seed decides."""

    def __init__(self, seed: int, *, faults: bool) -> None:
        self.dice = dice = random.Random(seed)
        self.faults = faults
        self.messages = dice.randint(5, 40)
        self.max_attempts = dice.randint(1, 4)
        self.has_dead_letter = dice.random() < 0.8
        self.lease = dice.choice([3.0, 10.0])
        self.auto_ack = dice.random() < 0.1
        concurrency, prefetch = dice.randint(1, 5), dice.randint(1, 12)
        self.options = ConsumerOptions(
            concurrency, prefetch, follows=seed % 3 == 0, auto_ack=self.auto_ack, handler_timeout=LIMIT
        )
        self.share = Share(SharedWorkers(self.options.concurrency)) if seed % 2 else None
        """In half of the worlds all consumers share their workers."""
        # Swarm testing: each world has a subset of the faults only.
        self.trouble = {
            verb: dice.choice([0.0, 0.0, 0.1, 0.4]) for verb in ("receive", "start", "settle", "extend", "publish")
        }
        self.kills = dice.random() < 0.5
        self.thieves = dice.random() < 0.3
        self.script = dice.randint(0, 2**32)

    def outcome(self, body: int, attempt: int) -> str:
        """What the handler does with this message at this attempt."""
        dice = random.Random(f"{self.script}/{body}")
        outcomes = [dice.choice(OUTCOMES) for _ in range(7)]
        if "undecodable" in outcomes and outcomes[0] != "undecodable":
            outcomes = ["ok" if outcome == "undecodable" else outcome for outcome in outcomes]
        if not self.has_dead_letter:
            outcomes = ["raise" if outcome in ("reject", "undecodable") else outcome for outcome in outcomes]
            outcomes[5:] = ["ok", "ok"]
        return outcomes[min(attempt, len(outcomes)) - 1]

    def end(self, body: int) -> tuple[str, int]:
        """How it must end when nothing interferes: ``done`` or the reason of the dead letter, and after how many."""
        for attempt in range(1, 100):
            outcome = self.outcome(body, attempt)
            if outcome == "undecodable":
                return ("undecodable", attempt)
            if self.auto_ack or outcome not in ("reject", *FAILURES) or outcome == "swallow":
                return ("done", attempt)
            if outcome == "reject":
                return ("rejected", attempt)
            if self.has_dead_letter and attempt == self.max_attempts:
                return ("max_attempts", attempt)
        raise AssertionError


class Worker(Handler):
    """The handler of one consumer; it knows the truth about what ran."""

    def __init__(self, simulation: Simulation) -> None:
        super().__init__("app:handle")
        self.simulation = simulation
        self.running = 0

    async def start(self) -> None:
        return None

    async def handle(self, body: int, context: Context) -> Any:
        simulation = self.simulation
        simulation.ran.append((body, context.attempt))
        self.running += 1
        assert self.running <= simulation.world.options.concurrency, "concurrency exceeded"
        assert not context.delivery.lease_lost, "started without its lease"
        try:
            return await self._act(simulation.world.outcome(body, context.attempt), body, context)
        finally:
            self.running -= 1

    async def _act(self, outcome: str, body: int, context: Context) -> Any:
        if outcome in ("slow", "hang", "swallow"):
            await self._wait(outcome)
        elif outcome in ("retry", "reject", "raise"):
            raise {"retry": Retry(after=1.5), "reject": Reject("reject"), "raise": ValueError("raise")}[outcome]
        elif outcome == "early" and not self.simulation.world.auto_ack:
            context.ack()
        elif outcome == "nack" and not self.simulation.world.auto_ack:
            context.nack(0.5)
        if outcome in ("nack", "false"):
            return False
        self.simulation.effects[body] += 1
        return None

    async def _wait(self, outcome: str) -> None:
        try:
            await asyncio.sleep(LIMIT * 0.8 if outcome == "slow" else 3600)
        except asyncio.CancelledError:
            if outcome != "swallow" or self.simulation.is_over:
                raise
            await asyncio.sleep(0.2)


class Simulation:
    """Runs a world and checks the invariants on the way and at the end."""

    def __init__(self, world: World, clock: Clock) -> None:
        self.world = world
        self.dice = world.dice
        self.clock = clock
        self.broker = ModelBroker(clock)
        self.is_faulty = world.faults
        self.ran: list[tuple[int, int]] = []
        self.effects: Counter[int] = Counter()
        self.published: dict[str, int] = {}
        self.consumers: list[Consumer] = []
        self.kills = self.thefts = self.late_stops = 0
        self.is_over = False

    async def trouble(self, verb: str, when: str) -> None:
        """Delays, refusals, and replies that are lost after the deed."""
        if not self.is_faulty or verb not in self.world.trouble:
            return
        if self.dice.random() < 0.3:
            await asyncio.sleep(self.dice.choice([0, 0.01, 0.5]))
        if self.dice.random() < self.world.trouble[verb]:
            raise BrokerUnavailableError(f"{verb}: {when}")

    def consumer(self) -> Consumer:
        """A consumer in its own process: with its own client of the broker."""
        world, driver = self.world, ModelDriver(self.broker, trouble=self.trouble)
        queue = make_queue(driver, clock=self.clock, lease=world.lease)
        dead = make_queue(driver, "dead", clock=self.clock)
        return Consumer(
            f"app:consumer{len(self.consumers)}",
            queue=queue,
            handler=Worker(self),
            host=FakeHost(),
            keeper=LoopKeeper(self.clock),
            policy=RetryPolicy(STEADY, world.max_attempts, world.has_dead_letter),
            options=world.options,
            dead_letters=dead if world.has_dead_letter else None,
            clock=self.clock,
            share=world.share,
            gate=SuspectGate(),
        )

    async def run(self) -> None:
        try:
            await self._run()
        finally:
            self.is_over = True

    async def _run(self) -> None:
        await self.publish()
        watching = asyncio.create_task(self.watch())
        self.consumers = [self.consumer() for _ in range(self.dice.randint(1, 3))]
        for consumer in self.consumers:
            await consumer.start()
        if self.world.faults:
            for _ in range(self.dice.randint(0, 12)):
                await asyncio.sleep(self.dice.choice([0.01, 0.3, 2.0, 7.0]))
                await self.interfere()
        self.is_faulty = False
        await self.heal()
        async with asyncio.timeout(3600):  # liveness: without faults everything comes to its end
            while self.broker.ids("tasks"):
                await asyncio.sleep(0.5)
        for consumer in self.consumers:
            await self.stop(consumer, 60)
        assert not watching.done(), watching.exception()
        watching.cancel()
        self.check()

    async def publish(self) -> None:
        driver = ModelDriver(self.broker)
        queue = make_queue(driver, clock=self.clock, lease=self.world.lease)
        await driver.declare(queue.spec)
        await driver.declare(make_queue(driver, "dead", clock=self.clock, lease=self.world.lease).spec)
        for body in range(self.world.messages):
            delay = self.dice.choice([0, 0, 0, 3.0])
            self.published[(await queue.publish(body, delay=delay)).id] = body
        for stored in self.broker.queues["tasks"].stored:
            if self.world.outcome(self.published[stored.id], 1) == "undecodable":
                stored.body = b"\xff" + stored.body

    async def watch(self) -> None:
        """What must hold at every moment."""
        while True:
            for consumer in self.consumers:
                options = self.world.options
                most = MOST if options.follows else max(options.prefetch, options.concurrency)
                if self.world.trouble["publish"]:
                    most *= 2  # some may be kept, as their dead letters cannot be published yet
                assert consumer.now.held <= most, "prefetch exceeded"
                driver = consumer.queue.driver
                assert isinstance(driver, ModelDriver)
                # Messages that a stop could not release, without the broker, stay leased beside the next window.
                if not driver.dead and not self.world.trouble["settle"]:
                    assert self.broker.held_by(driver) <= most, "prefetch exceeded at the broker"
                if (run := consumer.run) is not None and not run.stopping and not driver.dead:
                    assert all(not task.done() for task in (*run.tasks, run.fetching)), "alive but idle"
            await asyncio.sleep(0.05)

    async def interfere(self) -> None:
        number = self.dice.randrange(len(self.consumers))
        consumer = self.consumers[number]
        what = self.dice.choice(["stop", "stop", "start", "kill", "steal"])
        if what == "stop":
            await self.stop(consumer, self.dice.choice([0.0, 0.5, 5.0]))
        elif what == "start":
            if consumer.run is None:
                await consumer.start()
        elif what == "kill" and self.world.kills:
            self.kills += 1
            await self.kill(consumer)
            self.consumers[number] = self.consumer()
            await self.consumers[number].start()
        elif what == "steal" and self.world.thieves:
            # A pause of the whole process that was longer than the lease: others have taken what it holds.
            self.thefts += 1
            for stored in self.broker.queues["tasks"].stored:
                stored.lease_until = 0.0

    async def stop(self, consumer: Consumer, seconds: float) -> None:
        try:
            await consumer.stop(seconds)
        except StopTimeoutError:
            self.late_stops += 1

    async def kill(self, consumer: Consumer) -> None:
        """As SIGKILL does: nothing that it would still say reaches the broker."""
        driver = consumer.queue.driver
        assert isinstance(driver, ModelDriver)
        driver.dead = True
        if (run := consumer.run) is not None:
            consumer.keeper.remove(run.holding)
            while tasks := self.tasks_of(run):
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks, timeout=5)
            run.pool.take_back()  # the places of messages that were to start
            run.has_ended = True

    def tasks_of(self, run: Run) -> list[asyncio.Task[None]]:
        workers = [worker.task for worker in run.pool.workers if worker.task is not None]
        queues = (run.queue, run.consumer.dead_letters)
        batchers = [queue._batcher._flusher for queue in queues if queue is not None]
        tasks = [*run.tasks, run.fetching, *workers, *run.settler._moves, *filter(None, batchers)]
        return [task for task in tasks if not task.done()]

    async def heal(self) -> None:
        for consumer in self.consumers:
            if consumer.run is None:
                await consumer.start()

    def check(self) -> None:
        world, dead = self.world, self.broker.queues["dead"].stored
        buried = Counter(stored.id for stored in dead)
        acked = self.broker.queues["tasks"].acked
        assert len(acked) == len(set(acked)) == len(self.published), "settled twice, or lost"
        assert set(acked) == set(self.published)
        for id, body in self.published.items():
            if not world.auto_ack:
                assert self.effects[body] or buried[id], f"lost: message {body}"
        assert set(buried) <= set(self.published), "dead-lettered what nobody published"
        for receipt, kinds in self.broker.verdicts.items():
            assert len(kinds) == 1, f"receipt {receipt} was settled in several ways: {kinds}"
        for body, attempt in self.ran:
            assert not world.has_dead_letter or attempt <= world.max_attempts, f"message {body}: attempt {attempt} ran"
        for stored in dead:
            self.check_dead_letter(self.published[stored.id], stored.headers)
        for consumer in self.consumers:
            assert (consumer.now.held, consumer.now.running, consumer.queue.consumer_count) == (0, 0, 0)
        assert world.share is None or world.share.workers.running == 0
        if not world.faults:
            self.check_exactly(buried)

    def check_dead_letter(self, body: int, headers: dict[str, Any]) -> None:
        world, reason, attempts = self.world, headers["x_dead_letter_reason"], headers["attempts"]
        assert headers["x_original_queue"] == "app:tasks"
        if reason == "max_attempts":
            assert attempts >= world.max_attempts
            assert attempts == world.max_attempts or self.world.faults
        elif reason == "worker_died":
            assert attempts == world.max_attempts + 1
            assert self.kills or self.thefts
        else:
            expected = {"rejected": "reject", "undecodable": "undecodable"}[reason]
            assert expected in {world.outcome(body, attempt) for attempt in range(1, attempts + 1)}

    def check_exactly(self, buried: Counter[str]) -> None:
        """Without faults there is one right end for each message, and one right list of attempts."""
        ends = {body: self.world.end(body) for body in self.published.values()}
        reasons = {
            self.published[stored.id]: (stored.headers["x_dead_letter_reason"], stored.headers["attempts"])
            for stored in self.broker.queues["dead"].stored
        }
        assert set(buried.values()) <= {1}
        assert reasons == {body: end for body, end in ends.items() if end[0] != "done"}
        assert sorted(self.ran) == sorted(
            (body, attempt)
            for body, (reason, last) in ends.items()
            for attempt in range(1, last + 1)
            if reason != "undecodable"
        )
        done = {body: 1 for body, end in ends.items() if end[0] == "done"}
        if not self.world.auto_ack:
            assert dict(self.effects) == done
        settled = [what for consumer in self.consumers for what in consumer.queue.driver.calls if what[0] == "settle"]  # type: ignore[attr-defined]
        assert sum(isinstance(one, Ack) for _, batch in settled for one in batch) == len(self.published)
