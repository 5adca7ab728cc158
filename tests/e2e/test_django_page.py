"""The page about Django is true: its blocks work in the project that it is about."""

from __future__ import annotations

import re

import pytest

from tests.support.django_shop import EXAMPLE, Shop
from tests.support.pages.blocks import ROOT, Block, blocks_of

pytestmark = pytest.mark.e2e

PAGE = ROOT / "docs/how-to/django.md"


def block(words: str) -> Block:
    """The block that has these words; fails unless there is one."""
    (found,) = [each for each in blocks_of(PAGE) if each.language == "python" and words in each.text]
    return found


def test_its_tests_pass_and_its_settings_are_the_ones_of_the_example(shop: Shop) -> None:
    apps = re.search(r"^INSTALLED_APPS = .*?\]", block("INSTALLED_APPS").text, re.MULTILINE)
    assert apps is not None
    assert apps[0] in (EXAMPLE / "shop" / "settings.py").read_text()
    (shop.folder / "orders" / "test_receipts.py").write_text(block("class Receipts").text)
    done = shop.run("test", "orders.test_receipts")
    assert "Ran 2 tests" in done.stderr
    assert done.returncode == 0, done.stderr


def test_its_function_in_a_process_of_its_own_runs(shop: Shop) -> None:
    tasks = shop.folder / "orders" / "tasks.py"
    tasks.write_text(f"{tasks.read_text()}\n{block('orders.rendering:render').text}")
    (shop.folder / "orders" / "rendering.py").write_text(
        "from orders.models import Order\n"
        "def render(order_id: int) -> None: Order.objects.create(email=f'rendered {order_id}')\n"
    )
    comment = block("orders.rendering:render").text.strip().splitlines()[-1]
    shop.python(f"from tasuki.contrib.django import app; {comment.removeprefix('# anywhere: ')}")
    done = shop.run("tasuki", "--until-empty")
    assert done.returncode == 0, done.stderr
    assert list(shop.sent()) == ["rendered 7"]
