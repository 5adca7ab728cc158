"""The project of examples/django in its own folder, used as its users do: through manage.py."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.process import TIMEOUT, Process, environ

LONGEST = 4 * TIMEOUT
"""Seconds for one command, which imports Django and may start processes that do so too."""
EXAMPLE = Path(__file__).parents[2] / "examples" / "django"


class Shop:
    """A copy of the example.

    Args:
        folder: where to make it.
        variables: added to the environment of its commands.
        like: a shop whose files and tables it gets.
    """

    def __init__(self, folder: Path, variables: Mapping[str, str] | None = None, *, like: Path | None = None) -> None:
        left_out = shutil.ignore_patterns("__pycache__", *(() if like else ("*.db*",)))
        self.folder = Path(shutil.copytree(like or EXAMPLE, folder, ignore=left_out))
        self.variables = dict(variables or {})

    def run(self, *arguments: str, stdin: str = "", folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run ``manage.py`` to its end, in the shop's folder or another."""
        return subprocess.run(
            [sys.executable, str(self.folder / "manage.py"), *arguments],
            cwd=folder or self.folder,
            env={**environ(), **self.variables},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=LONGEST,
            check=False,
        )

    def manage(self, *arguments: str) -> str:
        """The output of ``manage.py``; fails unless it succeeds."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def python(self, code: str) -> str:
        """The output of code in the shop's Python."""
        return self.manage("shell", "--verbosity", "0", "--command", code)

    def post(self, *emails: str) -> list[str]:
        """Post an order for each; what the client has got, or the error of the view."""
        return self.python(
            "from django.test import Client\n"
            f"for email in {emails!r}:\n"
            "    try: print(Client().post('/orders', {'email': email}, content_type='application/json').status_code)\n"
            "    except ValueError as error: print(error)"
        ).splitlines()

    def sent(self) -> dict[str, bool]:
        """The orders: whether the receipt of each is sent."""
        code = "import json; from orders.models import Order; print(json.dumps(dict("
        code += "(order.email, order.receipt_sent_at is not None) for order in Order.objects.all())))"
        return dict(json.loads(self.python(code)))

    @contextmanager
    def worker(self, *arguments: str) -> Iterator[Process]:
        """A running ``manage.py tasuki``."""
        command = [sys.executable, str(self.folder / "manage.py"), "tasuki", *arguments]
        process = Process(arguments, self.folder, command=command, variables=self.variables)
        try:
            process.wait_for("running; stop with")
            yield process
        finally:
            process.kill()


def postgres_variables(port: int, database: str) -> dict[str, str]:
    """The environment that moves the shop to PostgreSQL."""
    return {"POSTGRES_HOST": "127.0.0.1", "POSTGRES_PORT": str(port), "POSTGRES_DB": database}
