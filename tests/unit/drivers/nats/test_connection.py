import asyncio

import pytest

from tasuki.drivers.nats.protocol import connection, exchange
from tasuki.drivers.nats.protocol.connection import Pulse
from tasuki.drivers.nats.protocol.exchange import Exchange, Repeating


class Line:
    """A connection that is asked, and may answer."""

    def __init__(self) -> None:
        self.asked = 0
        self.is_sending = False
        self.dead = asyncio.Event()

    def pulse(self, timeout: float = 10.0) -> Pulse:
        return Pulse(timeout, ask=self.ask, is_sending=lambda: self.is_sending, give_up=self.dead.set)

    def ask(self) -> None:
        self.asked += 1


def beaten(monkeypatch: pytest.MonkeyPatch, number: int, timeout: float = 10.0, *, is_sending: bool = False) -> Line:
    """A line, and its pulse after this many beats without an answer."""

    async def beat() -> Line:
        line = Line()
        line.is_sending = is_sending
        made = line.pulse(timeout)
        made.is_awaited = True
        for _ in range(number):
            made.cancel()
            made._beat()
        made.cancel()
        return line

    return asyncio.run(beat())


@pytest.mark.parametrize(
    ("seconds", "timeout", "is_sending", "is_dead"),
    [
        (4.0, 10.0, False, False),
        (4.5, 10.0, False, True),
        (1.5, 1.0, False, True),
        (9.5, 10.0, True, False),  # a large batch is on its way
        (10.5, 10.0, True, True),
    ],
)
def test_how_long_a_connection_may_be_silent(
    monkeypatch: pytest.MonkeyPatch, seconds: float, timeout: float, is_sending: bool, is_dead: bool
) -> None:
    line = beaten(monkeypatch, round(seconds / connection.BEAT), timeout, is_sending=is_sending)
    assert line.dead.is_set() is is_dead
    assert line.asked == 1


def test_an_answer_ends_the_silence() -> None:
    async def listen() -> None:
        line = Line()
        made = line.pulse()
        for _ in range(50):
            made.is_awaited = True
            made.cancel()
            made._beat()
            made.heard()
        made.cancel()
        assert not line.dead.is_set()
        assert line.asked == 50

    asyncio.run(listen())


def test_nothing_is_asked_where_nothing_is_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    async def wait() -> None:
        line = Line()
        made = line.pulse()
        for _ in range(50):
            made.cancel()
            made._beat()
        made.cancel()
        assert line.asked == 0

    asyncio.run(wait())


def test_a_request_is_sent_again_while_nothing_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "REPEATED_AFTER", 0.001)

    async def repeat() -> None:
        made, sent, enough = Exchange(["a", "b"]), [], asyncio.Event()

        def send(of: Exchange) -> None:
            sent.append(of.unanswered())
            if len(sent) == 1:
                of.answer(0, b"")
            if len(sent) == 3:
                of.answer(1, b"")
                enough.set()

        repeating = Repeating(made, send)
        async with asyncio.timeout(60):
            await enough.wait()
            await made.done
        repeating.cancel()
        assert sent == [[0, 1], [1], [1]]

    asyncio.run(repeat())
