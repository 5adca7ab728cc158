"""Django: the example as its users run it, on SQLite and on PostgreSQL."""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.support.brokers.postgres import Postgres
from tests.support.django_shop import Shop, postgres_variables
from tests.support.ports import free_port
from tests.support.process import wait_until
from tests.support.serving import serving

pytestmark = pytest.mark.e2e
_names = (f"shop_{os.getpid()}_{number}" for number in itertools.count())


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    shop = Shop(tmp_path / "shop")
    shop.manage("migrate", "--verbosity", "0")
    return shop


@pytest.fixture
def database() -> Iterator[psycopg.Connection]:
    """A connection to a database that is made for one test."""
    name, port = next(_names), Postgres.shared().port
    with psycopg.connect(f"postgresql://postgres@127.0.0.1:{port}/postgres", autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        with psycopg.connect(f"postgresql://postgres@127.0.0.1:{port}/{name}", autocommit=True) as connection:
            yield connection
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgres_shop(tmp_path: Path, database: psycopg.Connection) -> Shop:
    shop = Shop(tmp_path / "shop", postgres_variables(Postgres.shared().port, database.info.dbname))
    shop.manage("migrate", "--verbosity", "0")
    return shop


def test_a_message_waits_for_the_commit_of_its_order_and_goes_with_its_rollback(shop: Shop) -> None:
    answers = shop.post("ada@example.com", "eve@invalid.example")
    assert answers == ["202", "this order is refused, and so is its message"]
    queues = shop.manage("tasuki", "queues", "--json")
    assert '"message_count": 1' in queues
    shop.manage("tasuki", "--until-empty")
    assert shop.sent() == {"ada@example.com": True}
    assert (shop.folder / "queue.db").exists()


def test_on_postgresql_one_transaction_stores_both(postgres_shop: Shop, database: psycopg.Connection) -> None:
    answers = postgres_shop.post("ada@example.com", "eve@invalid.example")
    assert answers == ["202", "this order is refused, and so is its message"]
    stored = postgres_shop.python(
        "from django.db import connection, transaction\n"
        "from orders.tasks import send_receipt\n"
        "with transaction.atomic():\n"
        "    print(type(send_receipt.send(order_id=1)).__name__)\n"
        "    with connection.cursor() as cursor:\n"
        "        cursor.execute('SELECT count(*), count(*) FILTER (WHERE xmin = pg_current_xact_id()::xid) "
        "FROM tasuki.messages')\n"
        "        print(*cursor.fetchone())\n"
        "    transaction.set_rollback(True)\n"
    )
    assert stored.split() == ["SyncJob", "2", "1"]  # one of the two is of this transaction
    assert database.execute("SELECT count(*) FROM tasuki.messages").fetchone() == (1,)
    postgres_shop.manage("tasuki", "--until-empty")
    assert postgres_shop.sent() == {"ada@example.com": True}


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


def test_the_tests_of_the_example_pass(shop: Shop) -> None:
    done = shop.run("test")
    assert "Ran 3 tests" in done.stderr
    assert done.returncode == 0, done.stderr


def test_several_processes_and_another_folder(shop: Shop, tmp_path: Path) -> None:
    assert shop.post("ada@example.com", "bob@example.com", "cora@example.com") == ["202"] * 3
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = shop.run("tasuki", "--processes", "2", "--until-empty", folder=elsewhere)
    assert done.returncode == 0, done.stderr
    assert set(shop.sent().values()) == {True}


def test_django_checks_what_tasuki_checks(shop: Shop) -> None:
    tasks = shop.folder / "orders" / "tasks.py"
    tasks.write_text(tasks.read_text().replace('dead_letter="receipts.dead"', 'dead_letter="receipts.dead", lase="5s"'))
    done = shop.run("check")
    assert done.returncode == 1
    assert f"{tasks}:11: app:receipts: (tasuki.E002)" in done.stderr
    assert "lase" in done.stderr
    assert "did you mean 'lease'" in done.stderr


def test_a_wrong_setting_is_one_line_of_the_check(shop: Shop) -> None:
    settings = shop.folder / "shop" / "settings.py"
    settings.write_text(settings.read_text().replace('TASUKI = {"URL"', 'TASUKI = {"ULR"'))
    done = shop.run("check")
    assert done.returncode == 1
    assert "TASUKI has no key 'ULR'; did you mean 'URL'?" in done.stderr


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
