"""TestApp.patch: functions of every kind fail for a while, and are put back."""

from __future__ import annotations

import asyncio

import pytest

from tasuki import App
from tasuki.testing import TestApp


class Base:
    def inherited(self) -> str:
        return "inherited"


class Smtp(Base):
    def method(self) -> str:
        return "method"

    @staticmethod
    def static() -> str:
        return "static"

    @classmethod
    def of_class(cls) -> str:
        return cls.__name__

    async def later(self) -> str:
        return "later"


@pytest.mark.parametrize("target", [Smtp, Smtp()], ids=["class", "object"])
@pytest.mark.parametrize("name", ["inherited", "method", "static", "of_class"])
def test_functions(target: type[Smtp] | Smtp, name: str) -> None:
    t, before, held = TestApp(App("memory://")), dict(vars(Smtp)), dict(getattr(target, "__dict__", {}))
    smtp = target if isinstance(target, Smtp) else Smtp()
    works = getattr(smtp, name)()
    with t.patch(target, name, ConnectionError("no"), times=1) as patch:
        with pytest.raises(ConnectionError, match="no"):
            getattr(smtp, name)()
        assert getattr(smtp, name)() == works
        assert patch.calls == 2
    assert getattr(smtp, name)() == works
    assert (dict(vars(Smtp)), dict(vars(target))) == (before, held)


def test_async_functions_and_a_name_that_is_not_there() -> None:
    t, smtp = TestApp(App("memory://")), Smtp()
    with t.patch(smtp, "later", TimeoutError), pytest.raises(TimeoutError):
        asyncio.run(smtp.later())
    assert asyncio.run(smtp.later()) == "later"
    with pytest.raises(AttributeError, match="nothing"):
        t.patch(smtp, "nothing", ValueError)
