"""Dead letters in groups of one cause."""

from __future__ import annotations

from tasuki.top.views.view import Table, View


class DeadView(View):
    """PLACEHOLDER."""

    title = "Dead"

    async def read(self, reading, snapshot):
        return Table()
