"""python -m tests.fuzz TARGET SECONDS: fuzz one target, by coverage if atheris is installed, else by blind mutation."""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path

SEEDS = Path(__file__).parent / "seeds"


def by_coverage(name: str, seconds: int) -> None:
    import atheris  # type: ignore[import-untyped]  # ships none, and is not installed everywhere

    with atheris.instrument_imports(include=["tasuki"]):
        from tests.fuzz.targets import TARGETS
    found = tempfile.mkdtemp()  # findings go into the first folder, so not into the seeds
    atheris.Setup([sys.argv[0], f"-max_total_time={seconds}", "-timeout=10", found, str(SEEDS / name)], TARGETS[name])
    atheris.Fuzz()


def blindly(name: str, seconds: int) -> None:
    from tests.fuzz.targets import TARGETS

    seed = time.time_ns()
    print(f"{name}: without atheris, random seed {seed}")
    chance = random.Random(seed)
    corpus = [path.read_bytes() for path in sorted((SEEDS / name).iterdir())]
    end, runs = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        data = bytearray(chance.choice(corpus))
        for _ in range(chance.randint(1, 6)):
            at = chance.randint(0, len(data))
            data[at : at + chance.randint(0, 4)] = chance.randbytes(chance.randint(0, 4))
        runs += 1
        try:
            TARGETS[name](bytes(data))
        except BaseException:
            print(f"{name}: run {runs}: {bytes(data)!r}")
            raise
    print(f"{name}: {runs} runs, no defect")


if __name__ == "__main__":
    try:
        import atheris  # noqa: F401
    except ImportError:
        blindly(sys.argv[1], int(sys.argv[2]))
    else:
        by_coverage(sys.argv[1], int(sys.argv[2]))
