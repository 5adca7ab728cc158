"""The table of SPEC §5: what becomes of a delivery, for any policy, attempt and ending."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tasuki.backoff import Backoff
from tasuki.consumers.settling.verdict import ACK, RetryPolicy

delays = st.floats(0, 1e6)
backoffs = st.builds(
    lambda initial, longest, factor, jitter: Backoff(min(initial, longest), max(initial, longest), factor, jitter),
    delays,
    delays,
    st.floats(1, 1000),
    st.floats(0, 1),
)
policies = st.builds(RetryPolicy, backoffs, st.integers(1, 100), st.booleans(), st.booleans())
attempts = st.integers(1, 1_000)
reasons = st.sampled_from(["rejected", "expired", "undecodable", "invalid"])


@given(policies, attempts, st.text(), st.none() | delays)
def test_a_failure(policy: RetryPolicy, attempt: int, error: str, delay: float | None) -> None:
    verdict = policy.failed(attempt, error, delay)
    assert verdict.error == error
    if policy.has_dead_letter and attempt >= policy.max_attempts:
        assert (verdict.action, verdict.reason) == ("dead_letter", "max_attempts")
    else:
        assert verdict.action == "nack"
        assert not verdict.kept
        assert 0 <= verdict.delay <= max(policy.backoff.max_delay, delay or 0)
        assert delay is None or verdict.delay == delay


@given(policies, attempts, reasons, st.text())
def test_a_rejection(policy: RetryPolicy, attempt: int, reason: str, error: str) -> None:
    verdict = policy.rejected(reason, error)  # type: ignore[arg-type]
    if policy.has_dead_letter:
        assert (verdict.action, verdict.reason, verdict.error) == ("dead_letter", reason, error)
    elif reason == "expired" and policy.drops_expired:
        assert verdict == ACK._replace(reason="expired")
    else:
        assert (verdict.action, verdict.delay, verdict.kept) == ("nack", policy.backoff.max_delay, True)


@given(policies, attempts)
def test_what_may_start_may_fail_once_more_at_most(policy: RetryPolicy, attempt: int) -> None:
    """Whatever must not start would have been dead-lettered by the failure of the attempt before."""
    if policy.exhausted(attempt):
        assert policy.failed(attempt - 1, "").action == "dead_letter"
    if attempt > 1 and policy.failed(attempt - 1, "").action == "dead_letter":
        assert policy.exhausted(attempt)
