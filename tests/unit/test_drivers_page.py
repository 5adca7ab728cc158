"""docs/drivers.md says what the drivers claim, and what they claim has passed."""

from __future__ import annotations

import json
import re
import runpy
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import pytest

from tasuki.contracts.driver import ACTS, DUTIES, SPANS, Ability, Capabilities
from tasuki.contracts.state.store import StoreFacts
from tasuki.kinds.check.behaviours import BEHAVIOURS, DURABILITY
from tasuki.kinds.kind import built_in_drivers
from tasuki.testing.conformance import DriverConformance
from tasuki.testing.conformance.stores import StoreConformance

ROOT = Path(__file__).parents[2]
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "drivers.py"))
RESULTS: dict[str, dict[str, Any]] = SCRIPT["load"]()


def test_the_page_is_current() -> None:
    assert (ROOT / "docs" / "drivers.md").read_text() == SCRIPT["page"](), "run scripts/drivers.py"


def test_every_proof_is_there() -> None:
    for behaviour in BEHAVIOURS:
        is_file = "/" in behaviour.proof
        is_case = hasattr(DriverConformance, behaviour.proof) or hasattr(StoreConformance, behaviour.proof)
        assert (ROOT / behaviour.proof).exists() if is_file else is_case, behaviour
    assert [proof for _, proof, _ in SCRIPT["FACTS"] if not hasattr(StoreConformance, proof)] == []


def test_each_driver_has_its_results_and_its_words() -> None:
    names = {kind.short_name for kind in built_in_drivers()}
    assert names == set(DURABILITY)
    assert names | set(SCRIPT["MORE_DURABILITY"]) == set(RESULTS) == set(SCRIPT["drivers"]()), "run make matrix"


@pytest.mark.parametrize("driver", RESULTS)
def test_what_is_claimed_has_passed(driver: str) -> None:
    capabilities = SCRIPT["drivers"]()[driver]
    found = RESULTS[driver]
    store = found.get("store", {"failed": [], "passed": []})
    assert found["failed"] == store["failed"] == []
    assert found["brokers"]
    for behaviour in BEHAVIOURS:
        # A broker that is in the same process cannot be away.
        is_never_away = "unreachable" in found["not_applicable"].get(behaviour.proof, "")
        if behaviour.cell(capabilities) != "refused" and "/" not in behaviour.proof and not is_never_away:
            assert behaviour.proof in {*found["passed"], *store["passed"]}, f"{behaviour.name}: run make matrix"


def test_each_case_has_run_on_each_driver() -> None:
    cases = {name for name in dir(DriverConformance) if name.startswith("test_")}
    for driver, found in RESULTS.items():
        known = {*found["passed"], *found["not_applicable"]}
        assert cases <= known, f"{driver}: run make matrix; {sorted(cases - known)}"


def test_each_case_has_run_on_each_store() -> None:
    cases = {name for name in dir(StoreConformance) if name.startswith("test_")}
    for driver, found in RESULTS.items():
        if SCRIPT["drivers"]()[driver].has("store"):
            known = {*found["store"]["passed"], *found["store"]["not_applicable"]}
            assert cases <= known, f"the store of {driver}: run make matrix; {sorted(cases - known)}"


def test_each_fact_of_a_store_has_a_row() -> None:
    facts = asdict(StoreFacts(expiry_margin=1.5, shortest_lease=12.0))
    cells = [cell(facts) for _, _, cell in SCRIPT["FACTS"]]
    assert cells == ["memory", "no", "within 1s", "1.5s", "12s", "1MiB"]
    assert len(cells) == len(facts)


def test_the_results_of_a_store_stand_beside_its_drivers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCRIPT["record"].__globals__, "RESULTS", tmp_path / "results.json")
    facts = asdict(StoreFacts())
    (tmp_path / "run.json").write_text(
        json.dumps(
            {
                "stores/d": {"TestDStore": {"broker": "B 1", "facts": facts, "cases": {"s": "passed"}}},
                "d": {"TestD": {"broker": "B 1", "cases": {"c": "passed"}}},
                "stores/far": {"TestFar": {"broker": "", "cases": {"s": "passed"}}},
            }
        )
    )
    SCRIPT["record"](tmp_path / "run.json")
    found = {"brokers": ["B 1"], "failed": [], "not_applicable": {}}
    assert SCRIPT["load"]() == {
        "d": {**found, "passed": ["c"], "store": {"facts": facts, **found, "passed": ["s"]}},
    }


def test_cells() -> None:
    by_name = {behaviour.name: behaviour for behaviour in BEHAVIOURS}
    nothing = Capabilities()
    everything = Capabilities("broker", frozenset({"peek"}), emulates=frozenset({"native_delay"}))
    cells = [
        (by_name[name].cell(nothing), by_name[name].cell(everything))
        for name in ("confirmed outlives the process", "delay", "peek", "redrive")
    ]
    assert cells == [("refused", "native"), ("native", "emulated"), ("refused", "native"), ("emulated", "emulated")]
    limits = Capabilities(abilities=frozenset({"store"})), Capabilities(abilities=frozenset({"limits"}))
    assert [by_name["`limit`: messages in a time"].cell(each) for each in (nothing, *limits)] == [
        "with a store", "emulated", "native",
    ]  # fmt: skip


def test_every_capability_has_a_row() -> None:
    flags: set[str] = {*get_args(Ability), *DUTIES, "multi_process"}
    flags -= {"declares_priorities", "sees_silence"}  # what a queue must say, and how a death is seen
    flags |= {f"unique:{part}" for part in {*SPANS, *ACTS} - {"keep"}}  # without keep there would be nothing
    assert flags == {behaviour.capability for behaviour in BEHAVIOURS} - {""}


def test_several_suites_of_a_driver_are_one_result() -> None:
    suites = [
        {"broker": "B 2", "cases": {"a": "passed", "b": "passed", "c": "skipped: not applicable: no", "d": "passed"}},
        {"broker": "B 1", "cases": {"a": "passed", "b": "failed", "c": "skipped: x", "d": "skipped: x"}},
        {"broker": "", "cases": {"a": "skipped: not installed"}},
    ]
    assert SCRIPT["summary"](suites) == {
        "brokers": ["B 1", "B 2"],
        "passed": ["a", "d"],
        "failed": ["b"],
        "not_applicable": {"c": "no"},
    }


def test_the_page_has_no_empty_cell() -> None:
    rows = re.findall(r"^\\| [a-z`].*$", (ROOT / "docs" / "drivers.md").read_text(), re.MULTILINE)
    assert rows
    assert all(
        cell.strip()
        for row in rows
        if "largest" not in row and "longest" not in row and "at best" not in row
        for cell in row.strip("|").split("|")
    )
