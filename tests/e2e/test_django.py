"""Django: the example as its users run it, on SQLite and on PostgreSQL."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.django_shop import Shop

pytestmark = pytest.mark.e2e


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


def test_the_tests_of_the_example_pass(shop: Shop) -> None:
    done = shop.run("test")
    assert "Ran 3 tests" in done.stderr
    assert done.returncode == 0, done.stderr


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
