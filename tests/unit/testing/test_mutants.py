import pytest

from tasuki.contracts.store import Entry
from tasuki.errors import DriverError
from tasuki.testing.conformance import Rig, case
from tasuki.testing.mutants import MUTANTS, STORE_MUTANTS, Mutant, StoreMutant, noticed, report
from tasuki.testing.mutants import __main__ as command
from tests.conformance.mutate import paths_of, suite_of
from tests.conformance.stores.test_memory import TestMemoryStore as MemoryStore

MEMORY = suite_of("memory")


class ClosesNever(Mutant):
    noticed_by = ("test_a_closed_driver_is_unavailable",)

    async def close(self) -> None:
        return


class ChangesNothing(Mutant):
    noticed_by = ("test_05_acked_is_gone",)


class NeedsATransaction(Mutant):
    noticed_by = ("test_05_acked_is_gone",)
    needs = "transactional"


class Forgets(StoreMutant):
    noticed_by = (
        "test_26_a_broker_that_is_gone_is_unavailable",
        "test_01_get_returns_value_and_version_of_the_last_put",
    )

    async def get(self, key: str) -> Entry | None:
        return None


class StoreChangesNothing(StoreMutant):
    noticed_by = ("test_01_an_absent_key_has_no_entry",)


class NeedsProcesses(StoreMutant):
    noticed_by = ("test_01_an_absent_key_has_no_entry",)
    needs = "multi_process"


class Failing(MEMORY):  # type: ignore[valid-type, misc]
    @case()
    async def test_05_acked_is_gone(self, rig: Rig) -> None:
        raise DriverError("always")


def test_a_line_for_each_mutant() -> None:
    lines = list(report(MEMORY, [ClosesNever, ChangesNothing, NeedsATransaction]))
    assert [line.split()[:2] for line in lines] == [
        ["noticed", "ClosesNever"],
        ["MISSED", "ChangesNothing"],
        ["skipped", "NeedsATransaction"],
    ]
    assert lines[1].endswith("test_05_acked_is_gone passes")
    assert lines[2].endswith("not applicable: lacks transactional")


def test_a_line_for_each_mutant_of_a_store() -> None:
    """A case that cannot be run there notices nothing; the next one may."""
    lines = list(report(MemoryStore, [Forgets, StoreChangesNothing, NeedsProcesses]))
    assert [line.split()[:3] for line in lines] == [
        ["noticed", "Forgets", "test_01_get_returns_value_and_version_of_the_last_put:"],
        ["MISSED", "StoreChangesNothing", "test_01_an_absent_key_has_no_entry"],
        ["skipped", "NeedsProcesses", "not"],
    ]
    assert lines[2].endswith("not applicable: lacks multi_process")


def test_a_suite_that_fails_by_itself_proves_nothing() -> None:
    (line,) = report(Failing, [ChangesNothing])
    assert line.startswith("MISSED")
    assert "without a mutation: test_05_acked_is_gone: DriverError: always" in line


def test_the_case_that_noticed_a_mutant() -> None:
    found, how = noticed(MEMORY, ClosesNever)
    assert found
    assert how.startswith("test_a_closed_driver_is_unavailable: AssertionError")


def test_a_driver_has_a_suite_and_perhaps_one_of_its_store() -> None:
    assert paths_of("sqs") == ["tests.conformance.test_sqs:TestSQS"]
    assert paths_of("memory") == [
        "tests.conformance.test_memory:TestMemory",
        "tests.conformance.stores.test_memory:TestMemoryStore",
    ]


def test_every_mutant_is_run() -> None:
    assert len(MUTANTS) == len(set(MUTANTS)) >= 70
    assert Mutant not in MUTANTS
    assert len(STORE_MUTANTS) == len(set(STORE_MUTANTS)) >= 50
    assert StoreMutant not in STORE_MUTANTS


def test_the_command_ends_with_1_if_a_mutant_was_missed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "MUTANTS", (ClosesNever,))
    assert command.main(["tests.conformance.test_memory:TestMemory"]) == 0
    monkeypatch.setattr(command, "MUTANTS", (ChangesNothing,))
    assert command.main(["tests.conformance.test_memory:TestMemory"]) == 1
    assert "TestMemory: MISSED" in capsys.readouterr().out
    monkeypatch.setattr(command, "STORE_MUTANTS", (Forgets,))
    assert command.main(["tests.conformance.stores.test_memory:TestMemoryStore"]) == 0


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        (
            "no.such.module:Suite",
            "cannot import the suite 'no.such.module:Suite': No module named 'no'; give module:Class",
        ),
        ("tests.conformance.test_memory", "cannot import the suite 'tests.conformance.test_memory'"),
        ("tests.conformance.test_memory:Absent", "no attribute 'Absent'"),
        ("tasuki.errors:DriverError", "'tasuki.errors:DriverError' is no DriverConformance or StoreConformance"),
    ],
)
def test_a_path_that_names_no_suite(path: str, problem: str) -> None:
    with pytest.raises(SystemExit, match=problem):
        command.main([path])


def test_a_command_without_a_suite() -> None:
    with pytest.raises(SystemExit, match="name a suite"):
        command.main([])


def test_a_case_that_does_not_exist_notices_nothing() -> None:
    with pytest.raises(AttributeError, match="test_absent"):
        noticed(MEMORY, ChangesNothing, ["test_absent"])
