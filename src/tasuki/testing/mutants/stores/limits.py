"""Mutants of buckets and places."""

# The name of a mutant says what it breaks.
# ruff: noqa: D101, D102

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict

from tasuki.clock import Clock
from tasuki.contracts.state.store import Grant, Store
from tasuki.drivers.toolkit import limits
from tasuki.drivers.toolkit.limits import Bucket
from tasuki.testing.mutants.mutant import MutantTable, StoreMutant

_TABLE = MutantTable(__name__, StoreMutant)
take = _TABLE.instead("take")

take(
    "ANewRateBeginsAFullBucket",
    "test_19_another_rate_or_burst_gives_no_second_burst",
    lambda real, key, tokens, *, rate, burst: real.take(f"{key}/{rate}/{burst}", tokens, rate=rate, burst=burst),
)
take(
    "BucketsAreOne",
    "test_17_buckets_are_apart",
    lambda real, key, tokens, *, rate, burst: real.take("bucket", tokens, rate=rate, burst=burst),
)
_TABLE.answer("take")(
    "TheWaitIsTooShort", "test_18_after_the_wait_there_is_a_token", lambda grant: grant._replace(wait=grant.wait * 0.7)
)


class TakeReadsAndWritesInTwoSteps(StoreMutant):
    noticed_by = ("test_17_takers_at_once_share_a_burst",)

    async def take(self, key: str, tokens: int, *, rate: float, burst: int) -> Grant:
        found = await self.get(f"bucket/{key}")
        now = await self.time()
        bucket = limits.at(Bucket(*json.loads(found.value)) if found else None, now, rate, burst)
        grant, bucket = limits.take(bucket, tokens)
        await asyncio.sleep(0.001)
        await self.put(f"bucket/{key}", json.dumps(bucket).encode())
        return grant


class TheFirstRateGoesOn(StoreMutant):
    noticed_by = ("test_19_a_changed_rate_holds_from_the_next_call",)

    def __init__(self, inner: Store, clock: Clock) -> None:
        super().__init__(inner, clock)
        self._rates: dict[str, float] = {}

    async def take(self, key: str, tokens: int, *, rate: float, burst: int) -> Grant:
        return await self.inner.take(key, tokens, rate=self._rates.setdefault(key, rate), burst=burst)


class TokensAreRoundedUp(StoreMutant):
    noticed_by = ("test_17_no_window_has_more_than_burst_and_rate",)

    async def take(self, key: str, tokens: int, *, rate: float, burst: int) -> Grant:
        grant = await self.inner.take(key, tokens, rate=rate, burst=burst)
        return Grant(1, 0.0) if tokens and not grant.tokens and grant.wait * rate < 0.99 else grant


class ABucketFillsWithoutEnd(StoreMutant):
    noticed_by = ("test_17_a_bucket_fills_to_its_burst_and_no_further",)

    async def take(self, key: str, tokens: int, *, rate: float, burst: int) -> Grant:
        first = await self.inner.take(f"{key}/first", tokens, rate=1e-9, burst=burst)
        return first if first.tokens else await self.inner.take(key, tokens, rate=rate, burst=burst * 2)


class TheWaitIsForAnEmptyBucket(StoreMutant):
    noticed_by = ("test_18_the_wait_is_not_longer_than_needed",)

    async def take(self, key: str, tokens: int, *, rate: float, burst: int) -> Grant:
        grant = await self.inner.take(key, tokens, rate=rate, burst=burst)
        return grant._replace(wait=1 / rate if grant.wait else 0.0)


class GivesMoreThanTheBurst(StoreMutant):
    noticed_by = ("test_19_tokens_given_are_there_again_up_to_the_burst",)

    def __init__(self, inner: Store, clock: Clock) -> None:
        super().__init__(inner, clock)
        self._given: Counter[str] = Counter()

    async def give(self, key: str, tokens: int, *, rate: float, burst: int) -> None:
        self._given[key] += tokens

    async def take(self, key: str, tokens: int, *, rate: float, burst: int) -> Grant:
        if given := min(tokens, self._given[key]):
            self._given[key] -= given
            return Grant(given, 0.0)
        return await self.inner.take(key, tokens, rate=rate, burst=burst)


class EndedHoldersCount(StoreMutant):
    noticed_by = ("test_22_a_hold_ends_with_its_lease",)

    def __init__(self, inner: Store, clock: Clock) -> None:
        super().__init__(inner, clock)
        self._holders: defaultdict[str, set[str]] = defaultdict(set)

    async def hold(self, key: str, holder: str, *, places: int, lease: float) -> float | None:
        if len(self._holders[key] - {holder}) >= places:
            return None
        self._holders[key].add(holder)
        return await self.inner.hold(key, holder, places=places, lease=lease)

    async def release(self, key: str, holder: str) -> None:
        self._holders[key].discard(holder)
        await self.inner.release(key, holder)


class ARenewalTakesASecondPlace(StoreMutant):
    noticed_by = ("test_21_a_renewal_takes_no_second_place",)

    def __init__(self, inner: Store, clock: Clock) -> None:
        super().__init__(inner, clock)
        self._calls = 0

    async def hold(self, key: str, holder: str, *, places: int, lease: float) -> float | None:
        self._calls += 1
        return await self.inner.hold(key, f"{holder}/{self._calls}", places=places, lease=lease)


class ARenewalKeepsTheOldEnd(StoreMutant):
    noticed_by = ("test_21_a_renewal_sets_the_end_of_the_lease",)

    def __init__(self, inner: Store, clock: Clock) -> None:
        super().__init__(inner, clock)
        self._ends: dict[tuple[str, str], float] = {}

    async def hold(self, key: str, holder: str, *, places: int, lease: float) -> float | None:
        end, now = self._ends.get((key, holder), 0.0), await self.time()
        if end > now:
            return end
        begun = await self.inner.hold(key, holder, places=places, lease=lease)
        self._ends[key, holder] = begun or 0.0
        return begun


class ReleaseByTheKeyAlone(StoreMutant):
    noticed_by = ("test_21_a_release_does_nothing_to_anothers_place",)

    def __init__(self, inner: Store, clock: Clock) -> None:
        super().__init__(inner, clock)
        self._holders: defaultdict[str, set[str]] = defaultdict(set)

    async def hold(self, key: str, holder: str, *, places: int, lease: float) -> float | None:
        self._holders[key].add(holder)
        return await self.inner.hold(key, holder, places=places, lease=lease)

    async def release(self, key: str, holder: str) -> None:
        for each in self._holders.pop(key, ()):
            await self.inner.release(key, each)


class ALateRenewalIsAccepted(StoreMutant):
    noticed_by = ("test_22_a_late_renewal_is_a_new_request",)

    def __init__(self, inner: Store, clock: Clock) -> None:
        super().__init__(inner, clock)
        self._known: set[tuple[str, str]] = set()

    async def hold(self, key: str, holder: str, *, places: int, lease: float) -> float | None:
        end = await self.inner.hold(key, holder, places=places, lease=lease)
        if end is None and (key, holder) in self._known:
            return await self.inner.time() + lease
        if end is not None:
            self._known.add((key, holder))
        return end


class PlacesAreCountedInTwoSteps(StoreMutant):
    noticed_by = ("test_20_of_many_at_once_so_many_succeed_as_there_are_places",)

    def __init__(self, inner: Store, clock: Clock) -> None:
        super().__init__(inner, clock)
        self._holders: defaultdict[str, set[str]] = defaultdict(set)

    async def hold(self, key: str, holder: str, *, places: int, lease: float) -> float | None:
        is_free = len(self._holders[key] - {holder}) < places
        await asyncio.sleep(0.001)
        if not is_free:
            return None
        self._holders[key].add(holder)
        return await self.inner.hold(key, holder, places=1000, lease=lease)


class FewerPlacesAreForgotten(StoreMutant):
    noticed_by = ("test_23_with_fewer_places_none_is_added_until_holders_have_left",)

    def __init__(self, inner: Store, clock: Clock) -> None:
        super().__init__(inner, clock)
        self._most: dict[str, int] = {}

    async def hold(self, key: str, holder: str, *, places: int, lease: float) -> float | None:
        self._most[key] = max(places, self._most.get(key, 0))
        return await self.inner.hold(key, holder, places=self._most[key], lease=lease)


class TheLeaseIsReturned(StoreMutant):
    """The seconds of the lease in place of its end."""

    noticed_by = ("test_20_hold_returns_the_end_of_the_lease",)

    async def hold(self, key: str, holder: str, *, places: int, lease: float) -> float | None:
        end = await self.inner.hold(key, holder, places=places, lease=lease)
        return None if end is None else lease
