"""The token that a desk makes for its project: printed as a link, the same for all desks of it, as real processes."""

from __future__ import annotations

import re
import signal
import stat
import urllib.error
import urllib.request
from functools import partial
from http.cookiejar import CookieJar
from pathlib import Path

import pytest

from tests.support.cli_project import write_project
from tests.support.ports import free_port
from tests.support.process import Process, run, wait_until

pytestmark = pytest.mark.e2e

HANDLER = "def handle(body): pass\n"
LINK = re.compile(r"desk:? +(http://127\.0\.0\.1:\d+/)\?token=([\w-]{43})")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "project").mkdir()
    return write_project(tmp_path / "project", HANDLER)


class Desk:
    """A command that serves a desk, whose state folder is the test's; always killed in the end."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        variables = {"XDG_STATE_HOME": str(folder.parent / "state"), "TASUKI_ADMIN_TOKEN": ""}
        self.process = Process(arguments, folder, variables=variables)

    def __enter__(self) -> Process:
        return self.process

    def __exit__(self, *_: object) -> None:
        self.process.kill()


def status(address: str, path: str, token: str = "") -> int:
    """The status of a program's request; redirects are not followed."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{address}{path}", headers=headers), timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def answers(address: str) -> bool:
    try:
        return status(address, "livez") in (200, 503)
    except OSError:
        return False


def test_the_desk_prints_a_link_that_opens_it_and_nothing_else_does(folder: Path) -> None:
    with Desk(folder, "desk", "--admin", "127.0.0.1:0", "--admin-actor", "kana") as process:
        found = LINK.search(process.wait_for("desk: http"))
        assert found is not None, process.output
        address, token = found.groups()
        wait_until(lambda: answers(address), "the desk")
        for path in ("api/v1/queues", "metrics", "openapi.json"):
            assert (status(address, path), status(address, path, token)) == (401, 200)
        assert status(address, "api/v1/queues", "x" * 43) == 401

        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        with browser.open(f"{address}queues", timeout=30) as page:
            assert "/login?back=/queues" in page.url
        with browser.open(f"{address}?token={token}", timeout=30) as page:
            assert (page.url, page.status) == (address, 200)
            assert token not in page.read().decode()
        with browser.open(f"{address}confirm?act=pause&kind=queue&id=app:tasks", timeout=30) as page:
            form = re.search(r'name="token" value="([^"]*)"', page.read().decode())
        assert form is not None
        act = f"token={form[1]}&act=pause&kind=queue&id=app:tasks".encode()
        with browser.open(f"{address}acts/pause", act, timeout=30) as page:
            assert page.status == 200

        process.wait_for("desk: pause queue app:tasks")
        log = process.output.partition("stop with Ctrl-C")[2]
        assert "desk: kana logged in from 127.0.0.1" in log
        assert "desk: a wrong token from 127.0.0.1" in log
        assert token not in log


def test_a_worker_has_the_same_token_and_its_log_does_not_show_it(folder: Path) -> None:
    with Desk(folder, "dev") as process:
        found = LINK.search(process.wait_for("  desk  "))
        assert found is not None, process.output
    token = found[2]
    for options in ((), ("--processes", "2")):
        port = free_port()
        with Desk(folder, "run", "--admin", f"127.0.0.1:{port}", *options) as process:
            line = process.wait_for("and the token for it is in")
            address = f"http://127.0.0.1:{port}/"
            wait_until(partial(answers, address), "the desk")
            assert (status(address, "api/v1/queues"), status(address, "api/v1/queues", token)) == (401, 200)
            process.send(signal.SIGTERM)
            assert process.wait() == 0
            assert token not in process.output
    place = re.search(r"is in ([^\s\"]+)", line)
    assert place is not None, line
    assert Path(place[1]).read_text().strip() == token
    assert stat.S_IMODE(Path(place[1]).stat().st_mode) == 0o600
    assert not (folder / ".tasuki" / "desk").exists()


def test_where_the_token_cannot_be_kept_the_worker_runs_and_shows_it(folder: Path) -> None:
    (folder.parent / "state").write_text("a file")
    with Desk(folder, "run", "--admin", "127.0.0.1:0") as process:
        process.wait_for("running; stop with")
        found = LINK.search(process.output)
        assert found is not None, process.output
        assert "its token ends with this process, as it cannot be kept" in process.output
        wait_until(lambda: answers(found[1]), "the desk")
        assert (status(found[1], "metrics"), status(found[1], "metrics", found[2])) == (401, 200)


def test_a_given_token_is_in_no_link_and_counts_with_a_proxy_alone(folder: Path) -> None:
    (folder / "token").write_text("t" * 30)
    options = ("--admin-token-file", "token", "--admin-proxy", "127.0.0.1", "--admin-host", "desk.example")
    with Desk(folder, "desk", "--admin", "127.0.0.1:0", *options) as process:
        found = re.search(r"desk: (http://127\.0\.0\.1:\d+/) ", process.wait_for("desk: http"))
        assert found is not None, process.output
        wait_until(lambda: answers(found[1]), "the desk")
        request = urllib.request.Request(
            f"{found[1]}login",
            b"token=" + b"t" * 30,
            {"Host": "desk.example", "X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"},
        )
        with urllib.request.build_opener(_NoRedirect()).open(request, timeout=30) as answer:
            cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-tasuki=")
        assert cookie.endswith("; Secure")
        process.wait_for("logged in from 203.0.113.7")
    assert not (folder.parent / "state").exists()


class _NoRedirect(urllib.request.HTTPErrorProcessor):
    def http_response(self, request: object, response: object) -> object:
        return response


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--admin", "0.0.0.0:0", "--admin-open"), "--admin-open is for this machine alone"),
        (("--admin-open", "--admin-host", "desk.example"), "would answer to desk.example without a token"),
        (("--admin-open", "--admin-proxy", "127.0.0.1"), "an open desk has no token and no proxy"),
        (("--admin-open", "--admin-token-file", "token"), "an open desk has no token and no proxy"),
        (("--admin-proxy", "127.0.0.1"), "can be reached from other machines, and needs a token"),
        (
            ("--admin-host", "desk.example"),
            "can be reached from other machines, and needs a token. Make one with python",
        ),
        (("--admin-proxy", "localhost", "--admin-actor-header", "x-user"), "--admin-proxy localhost is no IP address"),
        (("--admin-proxy", "10.0.0.0/8", "--admin-token-file", "token"), "--admin-proxy 10.0.0.0/8 is no IP address"),
    ],
)
def test_what_would_open_the_desk_to_others_is_refused(folder: Path, options: tuple[str, ...], problem: str) -> None:
    (folder / "token").write_text("t" * 30)
    given = options if "--admin" in options else ("--admin", "127.0.0.1:0", *options)
    done = run("desk", *given, folder=folder)
    assert (done.returncode, problem in done.stderr, "***" in done.stderr) == (1, True, False), done.stderr
