"""Stands for work that takes a moment."""

from __future__ import annotations

import asyncio

from tasuki import Context


async def handle(body: object, context: Context) -> None:
    await asyncio.sleep(0.05)
    context.logger.info("%s: %s", context.queue, body)
