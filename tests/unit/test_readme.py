"""The README says what the code says."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from tasuki.cli.commands.drivers import command

README = Path(__file__).parents[2] / "README.md"
BEGIN, END = "<!-- drivers: tasuki drivers --markdown -->", "<!-- /drivers -->"


def test_the_table_of_drivers_is_that_of_their_capabilities() -> None:
    shown = README.read_text().partition(BEGIN)[2].partition(END)[0].strip()
    assert shown == CliRunner().invoke(command, ["--markdown"]).output.strip()
