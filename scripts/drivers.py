"""Write docs/drivers.md: every behaviour on every driver, and the case that proves it.

Made from the capabilities of the drivers and the last conformance run, whose results docs/conformance.json keeps.

.venv/bin/python scripts/drivers.py            writes the page
.venv/bin/python scripts/drivers.py --record   first takes over the results in build/conformance.json (make matrix)
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tasuki.cli.commands.project.drivers import markdown, rows
from tasuki.contracts.driver import Capabilities
from tasuki.drivers.kinds import KINDS
from tasuki.kinds.capabilities import capabilities_of
from tasuki.kinds.check.behaviours import BEHAVIOURS, DURABILITY

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "drivers.md"
RESULTS = ROOT / "docs" / "conformance.json"
RUN = ROOT / "build" / "conformance.json"

HEAD = """# What each driver can do

The same project runs on each of these drivers; this page says what it can rely on there. **native**: the broker does it
itself. **emulated**: its driver builds it out of other means of the broker, or Tasuki does it above the driver.
**refused**: it cannot be had honestly, and `tasuki check` refuses a queue that needs it, at its line, and names the
drivers that can. Nothing is ever ignored. `mariadb` is a package of its own, in `examples/mariadb-driver`.

Each row names the case of the conformance suite that proves it; the suite ran on the brokers below, and each native or
emulated behaviour here has passed there. `tasuki drivers` prints the same table for the drivers that are installed.

This page is made by `scripts/drivers.py`; `make matrix` runs the suite first.
"""

Results = dict[str, dict[str, Any]]
"""Driver → ``brokers``, ``passed``, ``failed``, ``not_applicable``: case → reason."""


def record(run: Path = RUN) -> None:
    """Take over what a run says, for the drivers that ran."""
    found: dict[str, dict[str, dict[str, Any]]] = json.loads(run.read_text(encoding="utf-8"))
    results = load()
    for driver, suites in found.items():
        if any(entry["broker"] for entry in suites.values()):
            results[driver] = summary(list(suites.values()))
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

    found = {kind.short_name: capabilities_of(kind) for kind in (*KINDS, KIND)}
    return {name: capabilities for name, capabilities in found.items() if capabilities is not None}


def page() -> str:
    """The whole page."""
    results = load()
    parts = [HEAD, "## Behaviours", matrix(), "## Durability", DURABLE, durability(), "## What the suite ran on"]
    parts += [brokers(results), OTHER_VERSIONS, "## What does not apply", NOT_APPLICABLE, not_applicable(results)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


OTHER_VERSIONS = """Tests of their own cover what these brokers decide differently in other versions. RabbitMQ 4.3
counts and cancels deliveries in another way: `tests/faults/amqp/test_rabbitmq43.py` holds the driver against a scripted
server that behaves as its source and notes say. `make nats-newest` runs the suite and the fault tests on the newest
NATS that a package brings (2.15.1)."""

MORE_DURABILITY = {"mariadb": "`power` as it comes; less with another `innodb_flush_log_at_trx_commit` than 1"}

DURABLE = """What a confirmed message survives: nothing (`memory`), the end of a worker (`process`), a crash of the
broker (`broker`), a power failure (`power`), the loss of a machine (`node`). Drivers look at how the running broker is
set up: a publish says the level that it really has; a start warns when that is less than one machine could give, and is
refused when a queue or driver asks for more (`durability`, `requires`)."""

NOT_APPLICABLE = """Cases that were skipped, by reason: the driver does not claim what the case is about, or the tests
cannot bring its broker there."""


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


def brokers(results: Results) -> str:
    """Brokers, and how many cases passed there."""
    table = []
    for name in drivers():
        if name in results:
            found = results[name]
            skipped = len(found["not_applicable"])
            table.append([name, ", ".join(found["brokers"]), str(len(found["passed"])), str(skipped)])
    return markdown(("driver", "brokers", "cases passed", "not applicable"), table, texts=("brokers",))


def not_applicable(results: Results) -> str:
    """Per driver, the reasons with their cases."""
    lines = []
    for name in drivers():
        reasons: dict[str, list[str]] = {}
        for case, reason in results.get(name, {}).get("not_applicable", {}).items():
            reasons.setdefault(reason.replace(f"driver {name} ", "it "), []).append(f"`{case}`")
        lines += [f"- **{name}**: {reason}: {', '.join(cases)}" for reason, cases in sorted(reasons.items())]
    return "\n".join(lines)


if __name__ == "__main__":
    if "--record" in sys.argv[1:]:
        record()
    PAGE.write_text(page(), encoding="utf-8")
