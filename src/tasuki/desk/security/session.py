"""Session: who asks for a page, or for an act."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Session:
    """Who asks, and what the forms for this client carry."""

    id: str
    actor: str
    form_token: str
    client: str
    is_new: bool = False
    is_by_token: bool = False
    """It began with the token, and can be ended; other sessions begin by themselves."""
    is_by_header: bool = False
    """A program that sends the token each time: no other page can make it do so."""
