"""Moving: the arguments of one statement, and its answer. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tasuki.contracts.driver import Move
from tasuki.drivers.postgres import columns as rows
from tasuki.drivers.toolkit.moves import is_receipt
from tasuki.errors import DriverError

_NEVER_A_RECEIPT = (-1, -1)


def refusal(driver: str, move: Move) -> DriverError | None:
    """Why a move cannot be tried, or None."""
    return next((told for message in move.messages if (told := rows.refusal(driver, move.to, message))), None)


class Moving:
    """Moves to one queue, by rising seq, as the function of the schema takes them."""

    def __init__(self, moves: Sequence[Move]) -> None:
        receipts = [move.receipt if is_receipt(move.receipt) else _NEVER_A_RECEIPT for move in moves]
        self._order = sorted(range(len(moves)), key=receipts.__getitem__)
        self._receipts = [receipts[place] for place in self._order]
        self.moves = [moves[place] for place in self._order]

    def arguments(self) -> tuple[Any, ...]:
        """seqs, tokens, numbers of messages, and the columns of the messages."""
        messages = [message for move in self.moves for message in move.messages]
        return (
            [seq for seq, _ in self._receipts],
            [token for _, token in self._receipts],
            [len(move.messages) for move in self.moves],
            *rows.arrays(messages),
            *rows.lane_column(messages),
        )

    def outcomes(self, answers: Sequence[int]) -> list[int]:
        """The answers, in the order of the moves as they were given."""
        by_place = dict(zip(self._order, answers, strict=True))
        return [by_place[place] for place in range(len(answers))]
