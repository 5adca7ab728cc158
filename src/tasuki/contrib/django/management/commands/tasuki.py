"""``manage.py tasuki``: the worker of the project, and all other commands of Tasuki."""

from __future__ import annotations

import os
import sys
import sysconfig
from typing import Any

from django.core.management.base import BaseCommand, CommandParser, handle_default_options

from tasuki.cli import main
from tasuki.cli.group import COMMANDS
from tasuki.contrib.django.project import TARGET, respect_logging
from tasuki.registry.finding import VARIABLE


class Command(BaseCommand):
    """Hands its arguments to ``tasuki``; the first one is a command of it, else ``run``."""

    help = "Run the workers of this project, or any other command of tasuki: manage.py tasuki queues"

    def run_from_argv(self, argv: list[str]) -> None:
        """See BaseCommand. Options of Tasuki are not Django's, so its parser has no part in this."""
        options, words = split(argv[2:])
        handle_default_options(options)
        os.environ[VARIABLE] = TARGET  # processes that this one starts work with the same project
        extend_path()
        respect_logging()
        sys.exit(main(words_of(words)))

    def add_arguments(self, parser: CommandParser) -> None:
        """See BaseCommand. Every argument of ``call_command`` is one of Tasuki's, options too."""
        parser.add_argument("words", nargs="*")
        parse = parser.parse_args

        def parse_words(args: Any = None, namespace: Any = None) -> Any:
            found = parse([], namespace)
            found.words = list(args or ())
            return found

        parser.parse_args = parse_words

    def handle(self, *args: Any, words: list[str], **options: Any) -> None:
        """For ``call_command("tasuki", "queues")``. Raises SystemExit unless the command succeeds."""
        os.environ[VARIABLE] = TARGET
        respect_logging()
        if code := main(words_of(words)):
            sys.exit(code)


class Defaults:
    """The options that every command of ``manage.py`` takes."""

    settings: str | None = None
    pythonpath: str | None = None


def split(words: list[str]) -> tuple[Defaults, list[str]]:
    """``--settings`` and ``--pythonpath``, and the other words."""
    options, rest = Defaults(), []
    waiting = iter(words)
    for word in waiting:
        name, equals, value = word.partition("=")
        if name in ("--settings", "--pythonpath"):
            setattr(options, name[2:], value if equals else next(waiting, None))
        else:
            rest.append(word)
    return options, rest


def words_of(words: list[str]) -> list[str]:
    """A command line of Tasuki: ``run``, unless a command is named."""
    is_named = bool(words) and (words[0] in COMMANDS or words[0] in ("--version",))
    return words if is_named else ["run", *words]


def extend_path() -> None:
    """Let processes that this one starts import what this one can: ``manage.py`` may have added folders to the path."""
    pythons_own = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib", "scripts"))
    folders = [os.path.abspath(entry) for entry in sys.path if os.path.exists(entry or ".")]
    added = [folder for folder in folders if folder != os.getcwd() and not folder.startswith(pythons_own)]
    known = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, dict.fromkeys([*added, *known])))
