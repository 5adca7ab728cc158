"""Clauses 17 to 19: buckets of tokens."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

from tasuki.contracts.state.store import Grant
from tasuki.testing.conformance.clock import Taken, check_windows
from tasuki.testing.conformance.rig import case
from tasuki.testing.conformance.stores.rig import StoreRig, StoreSuite

_SLOW = 1e-6
"""Tokens a second: none comes during a case."""


class Tokens(StoreSuite):
    """No window gives more than the burst and what came meanwhile."""

    @case()
    async def test_17_take_grants_what_is_there(self, rig: StoreRig) -> None:
        async def take(tokens: int) -> int:
            return (await rig.store.take("key", tokens, rate=_SLOW, burst=10)).tokens

        assert [await take(tokens) for tokens in (0, 3, 1, 4, 5, 1)] == [0, 3, 1, 4, 2, 0]

    @case()
    async def test_17_a_bucket_fills_to_its_burst_and_no_further(self, rig: StoreRig) -> None:
        rate = 10 / rig.term
        assert (await rig.store.take("key", 100, rate=rate, burst=5)).tokens == 5
        await rig.until(await rig.store.time() + rig.term)  # ten tokens
        before = await rig.store.time()
        granted = (await rig.store.take("key", 100, rate=rate, burst=5)).tokens
        more = (await rig.store.take("key", 100, rate=rate, burst=5)).tokens
        assert granted == 5
        assert more <= (await rig.store.time() - before) * rate

    @case()
    async def test_17_no_window_has_more_than_burst_and_rate(self, rig: StoreRig) -> None:
        numbers = random.Random(17)  # noqa: S311 - no secret
        stores = [rig.store, await rig.another_store()]
        rate, burst = 40 / rig.term, 5
        taken: list[Taken] = []

        async def take(worker: int) -> None:
            store = stores[worker % 2]
            before = await store.time()
            tokens = (await store.take("key", numbers.randint(1, 4), rate=rate, burst=burst)).tokens
            taken.append(Taken(before, await store.time(), tokens))

        for _ in range(40):
            await asyncio.gather(*map(take, range(numbers.randint(1, 6))))
            await rig.advance(rig.term * numbers.choice((0.0, 0.01, 0.02, 0.05)))
        check_windows(taken, rate, burst)
        assert sum(each.tokens for each in taken) > burst, "no token has come"

    @case()
    async def test_17_takers_at_once_share_a_burst(self, rig: StoreRig) -> None:
        stores = [rig.store, await rig.another_store()]
        for number in range(5):
            grants = await asyncio.gather(
                *(stores[n % 2].take(f"key-{number}", 1 + n % 3, rate=_SLOW, burst=10) for n in range(30))
            )
            assert sum(grant.tokens for grant in grants) == 10

    @case()
    async def test_17_buckets_are_apart(self, rig: StoreRig) -> None:
        for key in ("a", "A", "a/b", "%", "_", "日本"):
            assert (await rig.store.take(key, 9, rate=_SLOW, burst=2)).tokens == 2
        await rig.put("a")
        assert await rig.store.hold("a", "a", places=1, lease=rig.far)
        assert (await rig.store.take("a", 9, rate=_SLOW, burst=2)).tokens == 0
        assert [entry.key for entry in await rig.all()] == ["a"], "a bucket or a place is among the entries"
        await rig.store.delete("a")
        assert (await rig.store.take("a", 9, rate=_SLOW, burst=2)).tokens == 0

    @case()
    async def test_18_after_the_wait_there_is_a_token(self, rig: StoreRig) -> None:
        rate = 1 / rig.term
        assert (await rig.store.take("key", 5, rate=rate, burst=2)).tokens == 2
        for _ in range(2):
            grant = await rig.store.take("key", 5, rate=rate, burst=2)
            while grant.tokens:  # the machine is so slow that one has come
                grant = await rig.store.take("key", 5, rate=rate, burst=2)
            assert 0 < grant.wait <= rig.term * 1.001, f"{grant.wait} s for a token each {rig.term} s"
            await rig.until(await rig.store.time() + grant.wait)
            assert (await rig.store.take("key", 1, rate=rate, burst=2)).tokens == 1

    @case()
    async def test_18_the_wait_is_not_longer_than_needed(self, rig: StoreRig) -> None:
        rate = 1 / rig.term
        await rig.store.take("key", 1, rate=rate, burst=1)
        began = await rig.store.time()
        await rig.advance(rig.term / 2)
        waited = await rig.store.time() - began
        grant = await rig.store.take("key", 1, rate=rate, burst=1)
        assert grant.tokens or grant.wait <= (rig.term - waited) * 1.001 + 0.002, f"{grant} after {waited} s"

    @case()
    async def test_18_a_take_that_is_granted_or_asks_for_nothing_need_not_wait(self, rig: StoreRig) -> None:
        assert await rig.store.take("key", 2, rate=_SLOW, burst=2) == Grant(2, 0.0)
        assert await rig.store.take("key", 0, rate=_SLOW, burst=2) == Grant(0, 0.0)

    @case()
    async def test_19_another_rate_or_burst_gives_no_second_burst(self, rig: StoreRig) -> None:
        store = rig.store
        assert (await store.take("key", 10, rate=_SLOW, burst=10)).tokens == 10
        for rate, burst in ((_SLOW * 2, 10), (_SLOW, 10), (_SLOW, 1000), (_SLOW / 100, 5), (_SLOW, 10)):
            assert (await store.take("key", 1, rate=rate, burst=burst)).tokens == 0, f"rate {rate}, burst {burst}"

    @case()
    async def test_19_a_changed_rate_holds_from_the_next_call(self, rig: StoreRig) -> None:
        """Neither has the time before it filled the bucket at the new rate, nor does it go on at the old one."""
        store, slow, fast = rig.store, 1 / rig.far, 50 / rig.term
        await store.take("key", 100, rate=slow, burst=100)
        await rig.until(await store.time() + rig.term)
        before = await store.time()
        first = (await store.take("key", 100, rate=fast, burst=100)).tokens
        assert first <= 1 + (await store.time() - before) * fast, "the new rate was counted for the time before"
        await rig.until(await store.time() + rig.term)
        assert (await store.take("key", 100, rate=slow, burst=100)).tokens >= 50 - first - 1, (
            "the new rate did not hold"
        )
        await rig.until(await store.time() + rig.term)
        assert (await store.take("key", 100, rate=slow, burst=100)).tokens <= 50, "the old rate went on"

    @case()
    async def test_19_a_lower_rate_makes_no_full_bucket(self, rig: StoreRig) -> None:
        store = rig.store
        await store.take("key", 100, rate=10 / rig.term, burst=100)
        await store.take("key", 1, rate=1000 / rig.term, burst=100)
        await rig.advance(rig.term / 100)
        granted = [(await store.take("key", 100, rate=_SLOW, burst=100)).tokens for _ in range(3)]
        assert granted[1:] == [0, 0]

    @case()
    async def test_19_a_smaller_burst_holds_at_once(self, rig: StoreRig) -> None:
        store = rig.store
        assert (await store.take("key", 1, rate=_SLOW, burst=100)).tokens == 1
        assert (await store.take("key", 100, rate=_SLOW, burst=10)).tokens == 10
        assert (await store.take("key", 100, rate=_SLOW, burst=100)).tokens == 0

    @case()
    async def test_19_tokens_given_are_there_again_up_to_the_burst(self, rig: StoreRig) -> None:
        store = rig.store
        await store.take("key", 10, rate=_SLOW, burst=10)
        await store.give("key", 4, rate=_SLOW, burst=10)
        assert (await store.take("key", 10, rate=_SLOW, burst=10)).tokens == 4
        await store.give("key", 100, rate=_SLOW, burst=10)
        assert (await store.take("key", 100, rate=_SLOW, burst=10)).tokens == 10
        await store.give("key", 100, rate=_SLOW, burst=3)
        assert (await store.take("key", 100, rate=_SLOW, burst=10)).tokens == 3
        await store.give("new", 5, rate=_SLOW, burst=10)
        assert (await store.take("new", 100, rate=_SLOW, burst=10)).tokens == 10


class Places(StoreSuite):
    """There are so many places, and no more."""

    @case()
    async def test_20_there_are_no_more_holders_than_places(self, rig: StoreRig) -> None:
        async def hold(holder: str) -> bool:
            return await rig.store.hold("key", holder, places=3, lease=rig.far) is not None

        assert [await hold(holder) for holder in "abcde"] == [True, True, True, False, False]
        await rig.store.release("key", "b")
        assert [await hold(holder) for holder in "de"] == [True, False]

    @case()
    async def test_20_of_many_at_once_so_many_succeed_as_there_are_places(self, rig: StoreRig) -> None:
        stores = [rig.store, await rig.another_store()]
        for places in (1, 3, 10):
            asked = (stores[n % 2].hold(f"{places}", f"{n}", places=places, lease=rig.far) for n in range(12))
            ends = await asyncio.gather(*asked)
            assert len([end for end in ends if end is not None]) == places

    @case()
    async def test_20_hold_returns_the_end_of_the_lease(self, rig: StoreRig) -> None:
        store, shortest = rig.store, rig.store.facts.shortest_lease
        for lease in (rig.far, rig.term, 0.01):
            before = await store.time()
            end = await store.hold(f"{lease}", "a", places=1, lease=lease)
            after = await store.time()
            assert end is not None
            lasts = max(lease, shortest)
            assert before + lasts - 0.01 <= end <= after + lasts + 0.01, f"{end - before} s instead of {lasts} s"

    @case()
    async def test_20_places_under_other_keys_are_apart(self, rig: StoreRig) -> None:
        for key in ("a", "A", "a/b", "%", "_", "a:b", "日本"):
            assert await rig.store.hold(key, "holder", places=1, lease=rig.far) is not None
            assert await rig.store.hold(key, "other", places=1, lease=rig.far) is None
        assert await rig.store.hold("a:b", "c", places=2, lease=rig.far) is not None
        assert await rig.store.hold("a", "b:c", places=2, lease=rig.far) is not None
        assert await rig.all() == []

    @case()
    async def test_20_never_more_holders_than_places_while_they_change(self, rig: StoreRig) -> None:
        stores = [rig.store, await rig.another_store()]
        held: Counter[str] = Counter()
        most = 0

        async def work(worker: int) -> None:
            nonlocal most
            store, name, got = stores[worker % 2], f"worker-{worker}", 0
            while got < 10:
                if await store.hold("key", name, places=3, lease=rig.far) is None:
                    await asyncio.sleep(0.001)
                    continue
                got += 1
                held[name] += 1
                most = max(most, held.total())
                await asyncio.sleep(0)
                held[name] -= 1
                await store.release("key", name)

        await asyncio.gather(*map(work, range(8)))
        assert most <= 3, f"{most} holders of 3 places"

    @case()
    async def test_21_a_renewal_takes_no_second_place(self, rig: StoreRig) -> None:
        async def hold(holder: str) -> bool:
            return await rig.store.hold("key", holder, places=2, lease=rig.far) is not None

        assert [await hold(holder) for holder in ("a", "a", "a", "b", "c", "a", "b", "c")] == [
            *(True, True, True, True, False),
            *(True, True, False),
        ]
        await rig.store.release("key", "a")
        assert [await hold(holder) for holder in ("c", "d", "c")] == [True, False, True]

    @case()
    async def test_21_a_renewal_sets_the_end_of_the_lease(self, rig: StoreRig) -> None:
        store, before = rig.store, await rig.store.time()
        for key, first, second in (("longer", rig.term, rig.far), ("shorter", rig.far, rig.term)):
            await store.hold(key, "a", places=1, lease=first)
            await store.hold(key, "a", places=1, lease=second)
        await rig.outlast(rig.term)
        another = await store.hold("longer", "b", places=1, lease=rig.far)
        assert another is None or await store.time() >= before + rig.far
        assert await store.hold("shorter", "b", places=1, lease=rig.far) is not None

    @case()
    async def test_21_a_release_does_nothing_to_anothers_place(self, rig: StoreRig) -> None:
        store = rig.store
        await store.release("key", "never")
        assert await store.hold("key", "a", places=1, lease=rig.far)
        await store.release("key", "b")
        await store.release("other", "a")
        assert await store.hold("key", "b", places=1, lease=rig.far) is None
        await store.release("key", "a")
        await store.release("key", "a")
        assert await store.hold("key", "b", places=1, lease=rig.far)
        await store.release("key", "a")
        assert await store.hold("key", "c", places=1, lease=rig.far) is None

    @case()
    async def test_22_a_hold_ends_with_its_lease(self, rig: StoreRig) -> None:
        store = rig.store
        before = await store.time()
        assert await store.hold("key", "a", places=1, lease=rig.term)
        refused = await store.hold("key", "b", places=1, lease=rig.far)
        assert refused is None or await store.time() >= before + rig.term
        await rig.outlast(rig.term)
        assert await store.hold("key", "b", places=1, lease=rig.far) is not None, "the ended hold still counts"

    @case()
    async def test_22_a_late_renewal_is_a_new_request(self, rig: StoreRig) -> None:
        store = rig.store
        for key in ("taken", "free"):
            assert await store.hold(key, "a", places=1, lease=rig.term)
        await rig.outlast(rig.term)
        assert await store.hold("taken", "b", places=1, lease=rig.far) is not None
        assert await store.hold("taken", "a", places=1, lease=rig.far) is None
        assert await store.hold("free", "a", places=1, lease=rig.far) is not None
        assert await store.hold("free", "b", places=1, lease=rig.far) is None

    @case()
    async def test_23_with_fewer_places_none_is_added_until_holders_have_left(self, rig: StoreRig) -> None:
        async def hold(holder: str, places: int) -> bool:
            return await rig.store.hold("key", holder, places=places, lease=rig.far) is not None

        assert [await hold(holder, 3) for holder in "abc"] == [True, True, True]
        assert not await hold("d", 1)
        await rig.store.release("key", "a")
        assert not await hold("d", 2)
        await rig.store.release("key", "b")
        assert not await hold("d", 1)
        assert await hold("d", 2)
        assert [await hold(holder, 3) for holder in "ef"] == [True, False]
