"""``queue.driver.postgres``: an address that no client could read is refused with its place, and never shown."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.unit.kinds.conftest import Make

SECRET = "hunter2secret"


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{SECRET}@h:99999/db",
        f"postgresql://me:{SECRET}@one:5432,two:x/db",
        f"postgresql://me:{SECRET}/more@h/db",
        f"postgresql://me:{SECRET}@h/db?port=5432,99999",
        f"mysql://me:{SECRET}@h/db",
    ],
)
@pytest.mark.parametrize("field", ["url", "listen_url"])
def test_an_address_that_cannot_be_read(problems: Callable[..., list[str]], url: str, field: str) -> None:
    (found,) = problems(f"  - name: pg\n    kind: queue.driver.postgres\n    {field}: '{url}'\n")
    assert found.startswith("5:")
    assert f"app:pg: {field}: " in found
    assert "port" in found or "postgresql://user" in found
    assert SECRET not in found


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{SECRET}@one:5432,two:5433/db?target_session_attrs=primary",
        "postgresql:///db?host=/run/postgresql&port=5433",
        f"postgres://me:{SECRET}%2F@[::1]:5432",
        "postgresql://${env:DB_HOST|localhost}/db",
    ],
)
def test_an_address_that_can(project: Make, url: str) -> None:
    assert project(f"  - name: pg\n    kind: queue.driver.postgres\n    url: '{url}'\n")
