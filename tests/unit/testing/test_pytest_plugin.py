import subprocess
import sys

from tasuki.testing.clock import FakeClock


def test_the_clock_fixture(tasuki_clock: FakeClock) -> None:
    tasuki_clock.advance(5)
    assert tasuki_clock.monotonic() == 5


def test_loading_it_imports_nothing_heavy() -> None:
    program = (
        "import sys, pytest; before = set(sys.modules); import tasuki.testing.pytest_plugin;"
        "print(' '.join(set(sys.modules) - before))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert set(run.stdout.split()) <= {"tasuki", "tasuki.testing", "tasuki.testing.pytest_plugin"}
