"""Tools about the project's files and the documentation, which need no broker."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Annotated, Any

from msgspec import Meta

from tasuki.desk.api import answers
from tasuki.errors import TasukiError
from tasuki.mcp.arguments import Arguments
from tasuki.mcp.marking import own
from tasuki.mcp.source import Source

_PATIENCE = 60.0
"""Seconds in which a project is checked: its modules are imported."""
_MOST_TEXT = 2000


class Search(Arguments, frozen=True):
    """What to look for."""

    q: Annotated[str, Meta(min_length=1, max_length=200, description="Words.")]
    limit: Annotated[int, Meta(ge=1, le=20, description="Passages.")] = 6


class Finding(answers.Answer, frozen=True):
    """A mistake in a project, or a warning. An unknown part of the place is null."""

    severity: str
    message: str
    file: str | None = None
    line: int | None = None
    entry: str | None = None
    hint: str | None = None


class Checked(answers.Answer, frozen=True):
    """The findings about the project's files as they are now."""

    is_good: bool
    findings: list[Finding]


class DocsHit(answers.Answer, frozen=True):
    """One passage of the documentation."""

    title: str
    text: str


class DocsFound(answers.Answer, frozen=True):
    """The passages that fit best."""

    items: list[DocsHit]
    searched: str


own(Finding, "severity message file entry hint")
own(DocsHit, "title text")
own(DocsFound, "searched")


async def check_project(source: Source, _: Arguments) -> Checked:
    """Check the project's files as they are now, in its own process: all mistakes and warnings, with their places.

    The other tools show the project as it was when this server started.
    """
    process = await asyncio.create_subprocess_exec(
        *source.check,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(_PATIENCE):
            output, errors = await process.communicate()
    except TimeoutError:
        raise TasukiError(f"the check did not end within {_PATIENCE:.0f} s: a module of the project hangs") from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
    return Checked(process.returncode == 0, _findings(output, errors))


def _findings(output: bytes, errors: bytes) -> list[Finding]:
    """The findings in what ``tasuki check --json`` has printed, after what the project's modules may have printed."""
    text = output.decode("utf-8", "replace")
    for at in [0, *(at + 1 for at, character in enumerate(text) if character == "\n")]:
        if text[at : at + 1] == "[":
            with suppress(ValueError):
                return [_finding(each) for each in json.loads(text[at:])]
    raise TasukiError(f"the check failed: {errors.decode('utf-8', 'replace').strip()[-500:] or 'no output'}")


def _finding(of: dict[str, Any]) -> Finding:
    names = ("message", "file", "line", "entry", "hint")
    return Finding(of.get("severity", "error"), **{name: of[name] for name in names})


async def docs_search(source: Source, given: Search) -> DocsFound:
    """Search Tasuki's reference: commands and their options, entry kinds and their fields, the Python API."""
    found = await asyncio.to_thread(source.passages.find, given.q, given.limit)
    items = [DocsHit(each.title, each.text[:_MOST_TEXT]) for each in found]
    return DocsFound(items, "help of commands, fields of entry kinds, docstrings of the Python API; not the guides")
