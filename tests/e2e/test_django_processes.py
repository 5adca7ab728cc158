"""Django: workers that lose their connections, reload and come in numbers, and a server that forks."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.support.django_shop import Shop
from tests.support.ports import free_port
from tests.support.process import wait_until
from tests.support.serving import serving

pytestmark = pytest.mark.e2e


def test_a_worker_whose_connections_are_killed_handles_the_next_messages(
    postgres_shop: Shop, database: psycopg.Connection
) -> None:
    def connections() -> list[int]:
        rows = database.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%orders_order%' "
            "AND pid <> pg_backend_pid()"
        )
        return [pid for (pid,) in rows]

    def waiting() -> int:
        rows = database.execute("SELECT count(*) FROM orders_order WHERE receipt_sent_at IS NULL").fetchone()
        return int(rows[0]) if rows else 0

    with postgres_shop.worker("--concurrency", "1") as worker:
        assert postgres_shop.post("ada@example.com") == ["202"]
        wait_until(lambda: not waiting(), "the first receipt")
        (kept,) = wait_until(connections, "the worker's connection, which CONN_MAX_AGE keeps")
        database.execute("SELECT pg_terminate_backend(%s)", [kept])
        assert postgres_shop.post("bob@example.com", "cora@example.com", "dan@example.com") == ["202"] * 3
        wait_until(lambda: not waiting(), "the receipts after that")
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0
    assert '"message_count": 0' in postgres_shop.manage("tasuki", "info", "receipts.dead", "--json")
    # At most the one message that met the dead connection was tried twice.
    assert sum("attempt=" in line and "OperationalError" in line for line in worker.lines) <= 1


def test_reload_takes_a_changed_task_and_the_check_guards_it(shop: Shop) -> None:
    tasks = shop.folder / "orders" / "tasks.py"
    with shop.worker("--reload", "--log-format", "text") as worker:
        tasks.write_text(tasks.read_text().replace("receipt for %s", "a new receipt for %s"))
        worker.wait_for("orders.tasks changed: restarting")
        worker.wait_for("running; stop with")
        assert shop.post("ada@example.com") == ["202"]
        worker.wait_for("a new receipt for ada@example.com")
        tasks.write_text(tasks.read_text().replace("import Retries", "import Retrys"))
        worker.wait_for("change refused, the old version goes on")


def test_several_processes_and_another_folder(shop: Shop, tmp_path: Path) -> None:
    assert shop.post("ada@example.com", "bob@example.com", "cora@example.com") == ["202"] * 3
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = shop.run("tasuki", "--processes", "2", "--until-empty", folder=elsewhere)
    assert done.returncode == 0, done.stderr
    assert set(shop.sent().values()) == {True}


def test_gunicorn_that_loads_the_project_before_it_forks(shop: Shop) -> None:
    """The project publishes at its import too: each child opens the App again."""
    (shop.folder / "serve.py").write_text(
        "import os\n"
        "from django.core.wsgi import get_wsgi_application\n"
        "os.environ['DJANGO_SETTINGS_MODULE'] = 'shop.settings'\n"
        "web = get_wsgi_application()\n"
        "from orders.models import Order\n"
        "from orders.tasks import send_receipt\n"
        "send_receipt.send(Order.objects.create(email='parent').pk)\n"
    )
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "--preload", "--workers", "3", "--bind", f"127.0.0.1:{port}"]
    with serving([*command, "serve:web"], shop.folder, port):
        url = f"http://127.0.0.1:{port}/orders"
        answers = [httpx.post(url, json={"email": f"{number}@example.com"}) for number in range(6)]
    assert [answer.status_code for answer in answers] == [202] * 6
    shop.manage("tasuki", "--until-empty")
    assert list(shop.sent().values()) == [True] * 7
