"""Logs of ``manage.py tasuki``: each line once, as the project's LOGGING says; and commands that publish first."""

from __future__ import annotations

import pytest

from tests.support.django_shop import LONGEST, Shop
from tests.support.process import run

pytestmark = pytest.mark.e2e

OF_ROOT = """
LOGGING = {"version": 1, "disable_existing_loggers": False,
           "formatters": {"own": {"format": "own %(levelname)s %(name)s %(message)s"}},
           "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "own"}},
           "root": {"handlers": ["console"], "level": "WARNING"}}
"""
OF_A_LOGGER = OF_ROOT.replace('"root": {', '"loggers": {"orders": {').replace('"WARNING"}}', '"WARNING"}}}')
TASKS = """
import logging

from tasuki.contrib.django import queue

receipts = queue("receipts", dead_letter={"queue": "receipts.dead", "max_attempts": 1})


@receipts.task
def send_receipt(order_id: int) -> None:
    logging.getLogger("orders").warning("receipt %s", order_id)
    logging.getLogger("orders").info("not shown")
    if order_id < 0:
        raise ValueError("no")
"""
COMMAND = """
from django.core.management import call_command
from django.core.management.base import BaseCommand

from orders.tasks import send_receipt


class Command(BaseCommand):
    def handle(self, **options):
        send_receipt.send(2)
        call_command("tasuki", "--until-empty", "--log-level", "info")
        send_receipt.send(3)
"""


def lines(text: str, words: str) -> list[str]:
    return [line for line in text.splitlines() if words in line]


def prepare(shop: Shop, logging: str) -> None:
    settings = shop.folder / "shop" / "settings.py"
    settings.write_text(settings.read_text() + logging)
    (shop.folder / "orders" / "tasks.py").write_text(TASKS)
    shop.python("from orders.tasks import send_receipt; send_receipt.send(1); send_receipt.send(-1)")


def test_the_handlers_and_levels_of_logging_are_respected(shop: Shop) -> None:
    prepare(shop, OF_ROOT)
    done = shop.run("tasuki", "--until-empty")
    assert lines(done.stderr, "receipt 1") == ["own WARNING orders receipt 1"]
    assert len(lines(done.stderr, "ValueError: no")) >= 1
    assert all(line.startswith("own ") for line in lines(done.stderr, "tasuki."))
    assert lines(done.stderr, "running; stop with") == []
    shop.python("from orders.tasks import send_receipt; send_receipt.send(1)")
    done = shop.run("tasuki", "--until-empty", "--log-level", "info")
    assert len(lines(done.stderr, "own INFO tasuki")) > 1, "the option is of Tasuki's own records"
    assert lines(done.stderr, "not shown") == []


def test_a_logger_with_handlers_writes_its_lines_once_and_tasuki_all_others(shop: Shop) -> None:
    prepare(shop, OF_A_LOGGER)
    done = shop.run("tasuki", "--until-empty", "--log-format", "text")
    assert lines(done.stderr, "receipt 1") == ["own WARNING orders receipt 1"]
    assert len(lines(done.stderr, "running; stop with")) == 1


@pytest.mark.parametrize("logging", [OF_ROOT, OF_A_LOGGER])
def test_tasuki_run_and_its_processes_do_the_same(shop: Shop, logging: str, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(shop, logging)
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "shop.settings")
    for words in ([], ["--processes", "2"]) if logging == OF_ROOT else ([],):
        shop.python("from orders.tasks import send_receipt; send_receipt.send(7)")
        done = run("run", "tasuki.contrib.django:app", "--until-empty", *words, folder=shop.folder, timeout=LONGEST)
        assert lines(done.stderr, "receipt 7") == ["own WARNING orders receipt 7"], done


def test_a_command_that_publishes_may_call_the_worker(shop: Shop) -> None:
    prepare(shop, OF_ROOT)
    folder = shop.folder / "orders" / "management" / "commands"
    folder.mkdir(parents=True)
    for package in (folder, folder.parent):
        (package / "__init__.py").write_text("")
    (folder / "work.py").write_text(COMMAND)
    done = shop.run("work")
    assert done.returncode == 0, done.stderr
    assert len(lines(done.stderr, "receipt 1")) == 1
    assert len(lines(done.stderr, "receipt 2")) == 1
    assert '"message_count": 1' in shop.manage("tasuki", "info", "receipts", "--json")
