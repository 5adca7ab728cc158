"""Write docs/drivers.md: every behaviour on every driver, and the case that proves it.

Made from the capabilities of the drivers and the last conformance run, whose results docs/conformance.json keeps.

.venv/bin/python scripts/drivers.py            writes the page
.venv/bin/python scripts/drivers.py --record   first takes over the results in build/conformance.json (make matrix)
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasuki.cli.commands.project.drivers import markdown, rows
from tasuki.contracts.driver import Capabilities
from tasuki.kinds.check.behaviours import BEHAVIOURS, DURABILITY
from tasuki.kinds.kind import built_in_drivers, capabilities_of
from tasuki.units import format_duration, format_size

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "drivers.md"
RESULTS = ROOT / "docs" / "conformance.json"
RUN = ROOT / "build" / "conformance.json"

HEAD = """# What each driver can do

After this page you know what your project can rely on with each driver.

- **native**: the broker does it itself.
- **emulated**: the driver builds it from other abilities of the broker, or Tasuki does it above the driver.
- **with a store**: possible once `state:` names the store of another driver.
- **refused**: not possible without breaking a promise. `tasuki check` refuses a queue that needs it, with its line
  and the drivers that can do it. No setting is ignored.

Each row names the case of the conformance suite that proves it. Each native or emulated behaviour has passed on the
brokers listed below; `docs/conformance.json` has every case, and the reason of each skipped one. `tasuki drivers`
prints the table for the installed drivers. `mariadb` is a separate package in `examples/mariadb-driver`.

This page is made by `scripts/drivers.py`; `make matrix` runs the suite first.
"""

STORES = "stores/"
"""Before the name of a driver, in the results of a run: its store."""

Results = dict[str, dict[str, Any]]
"""Driver → ``brokers``, ``passed``, ``failed``, ``not_applicable``: case → reason. ``store``: the same of its store,
and the store's ``facts``.
"""


def record(run: Path = RUN) -> None:
    """Take over what a run says, for the drivers that ran."""
    found: dict[str, dict[str, dict[str, Any]]] = json.loads(run.read_text(encoding="utf-8"))
    results = load()
    for name, suites in found.items():
        if not any(entry["broker"] for entry in suites.values()):
            continue
        said, kept = summary(list(suites.values())), results.setdefault(name.removeprefix(STORES), {})
        if name.startswith(STORES):
            facts = next(suites[suite]["facts"] for suite in sorted(suites) if suites[suite].get("facts"))
            kept["store"] = {"facts": facts, **said}
        else:
            kept.update(said)
    ordered = {name: results[name] for name in sorted(results)}
    RESULTS.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")


def summary(suites: list[dict[str, Any]]) -> dict[str, Any]:
    """What several suites of one driver say together: a case has passed if it did somewhere and failed nowhere."""
    words: dict[str, set[str]] = {}
    for entry in suites:
        for case, result in entry["cases"].items():
            words.setdefault(case, set()).add(result)
    failed = sorted(case for case, said in words.items() if "failed" in said)
    passed = sorted(case for case, said in words.items() if "passed" in said and case not in failed)
    skipped = {case: min(words[case]) for case in sorted(words) if case not in passed and case not in failed}
    return {
        "brokers": sorted({entry["broker"] for entry in suites if entry["broker"]}),
        "passed": passed,
        "failed": failed,
        "not_applicable": {
            case: reason.removeprefix("skipped: ").removeprefix("not applicable: ") for case, reason in skipped.items()
        },
    }


def load() -> Results:
    """The results of the last runs."""
    results: Results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    return results


def drivers() -> dict[str, Capabilities]:
    """The drivers of this package, in their order, and the one in ``examples``; no others that may be installed."""
    sys.path.append(str(ROOT / "examples" / "mariadb-driver" / "src"))
    from tasuki_mariadb.settings import KIND

    found = {kind.short_name: capabilities_of(kind) for kind in (*built_in_drivers(), KIND)}
    return {name: capabilities for name, capabilities in found.items() if capabilities is not None}


def page() -> str:
    """The whole page."""
    results = load()
    parts = [HEAD, "## Behaviours", matrix(), "## Durability", DURABLE, durability()]
    parts += [
        "## Stores",
        STORE,
        stores(results),
        "## What the suite ran on",
        brokers(results),
        OTHER_VERSIONS,
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


OTHER_VERSIONS = """Own tests cover what other versions of these brokers decide differently. RabbitMQ 4.3 counts and
cancels deliveries in another way: `tests/faults/amqp/test_rabbitmq43.py` holds the driver against a scripted server
that behaves as its source and notes say. `make nats-newest` runs the suite and the fault tests on the newest NATS
that a package brings (2.15.1)."""

MORE_DURABILITY = {"mariadb": "`power` as it comes; less with another `innodb_flush_log_at_trx_commit` than 1"}

DURABLE = """What a confirmed message survives: nothing (`memory`), the end of a worker (`process`), a crash of the
broker (`broker`), a power failure (`power`), the loss of a machine (`node`). Drivers read the settings of the
running broker ([guarantees](semantics.md#durability))."""

STORE = """All processes share the state in a driver's store; a driver without one uses the store that `state:`
names. A case of the conformance suite of stores proves each fact on the brokers below."""

FACTS: tuple[tuple[str, str, Callable[[dict[str, Any]], str]], ...] = (
    ("entries survive", "test_29_entries_survive_a_restart", lambda facts: str(facts["durability"])),
    (
        "shared by several processes",
        "test_11_every_process_sees_a_put_that_has_returned",
        lambda facts: "yes" if facts["multi_process"] else "no",
    ),
    (
        "a watch learns of changes",
        "test_14_a_change_is_reported_soon",
        lambda facts: "at once" if facts["push"] else "within 1s",
    ),
    (
        "a key outlives its ttl by",
        "test_08_keys_are_gone_by_their_ttl_and_never_before",
        lambda facts: format_duration(facts["expiry_margin"]) if facts["expiry_margin"] else "nothing",
    ),
    (
        "shortest lease",
        "test_20_hold_returns_the_end_of_the_lease",
        lambda facts: format_duration(facts["shortest_lease"]) if facts["shortest_lease"] else "any",
    ),
    ("largest value", "test_02_values_come_back_byte_for_byte", lambda facts: format_size(facts["max_value_bytes"])),
)
"""A row, the case that proves it, and its cell."""


def matrix() -> str:
    """Behaviours and limits, driver by driver, with the proof."""
    proofs = {behaviour.name: f"`{behaviour.proof}`" for behaviour in BEHAVIOURS}
    columns = drivers()
    table = [[*row, proofs.get(row[0], "")] for row in rows(columns)]
    return markdown(("", *columns, "proof"), table, texts=("proof",))


def durability() -> str:
    """Which level each driver gives when."""
    words = {**DURABILITY, **MORE_DURABILITY}
    table = [[name, each.durability, words.get(name, "")] for name, each in drivers().items()]
    return markdown(("driver", "at best", "when"), table, texts=("when",))


def stores(results: Results) -> str:
    """What the store of each driver claims, and how many cases passed."""
    found = {name: results[name]["store"] for name in drivers() if "store" in results.get(name, {})}
    table = [[fact, *(cell(each["facts"]) for each in found.values()), f"`{proof}`"] for fact, proof, cell in FACTS]
    table.append(["brokers", *(", ".join(each["brokers"]) for each in found.values()), "-"])
    table.append(["cases passed", *(str(len(each["passed"])) for each in found.values()), "-"])
    table.append(["not applicable", *(str(len(each["not_applicable"])) for each in found.values()), "-"])
    return markdown(("", *found, "proof"), table, texts=("proof",))


def brokers(results: Results) -> str:
    """Brokers, and how many cases passed there."""
    table = []
    for name in drivers():
        if name in results:
            found = results[name]
            skipped = len(found["not_applicable"])
            table.append([name, ", ".join(found["brokers"]), str(len(found["passed"])), str(skipped)])
    return markdown(("driver", "brokers", "cases passed", "not applicable"), table, texts=("brokers",))


if __name__ == "__main__":
    if "--record" in sys.argv[1:]:
        record()
    PAGE.write_text(page(), encoding="utf-8")
