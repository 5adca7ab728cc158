from tasuki.kinds.entries.store import MemoryStoreConfig
from tests.unit.kinds.conftest import Make, Problems


def test_a_store(project: Make) -> None:
    text = "  - {name: a, kind: store.memory}\n  - {name: b, kind: store.memory, max_size: 0, cleanup_interval: 1s}\n"
    configs = project(text).of(MemoryStoreConfig)
    assert (configs["app:a"].max_size, configs["app:a"].cleanup_interval) == (10_000, 300.0)
    assert (configs["app:b"].max_size, configs["app:b"].cleanup_interval) == (0, 1.0)


def test_bad_values(problems: Problems) -> None:
    assert problems("  - {name: a, kind: store.memory, max_size: -1, cleanup_interval: 0}\n") == [
        "3:35: app:a: max_size must be at least 0, not the number -1",
        "3:49: app:a: cleanup_interval must be more than 0, not the number 0",
    ]
