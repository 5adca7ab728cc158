"""Django is configured before the modules of these tests import it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.django_site import set_up

set_up()


@pytest.fixture(autouse=True)
def seen() -> Iterator[list[object]]:
    """What the tasks of the site have noted; empty at first."""
    from django.db import connections

    from tests.support.django_site.tasks import seen

    seen.clear()
    yield seen
    seen.clear()
    connections.close_all()
