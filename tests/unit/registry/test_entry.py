from tasuki.errors import Position
from tasuki.ids import resolve_id
from tasuki.registry.entry import Entry, Registry


def test_an_id_is_split_at_its_first_colon() -> None:
    entry = Entry("app.queue:tasks:old", "k", {})
    assert (entry.namespace, entry.name) == ("app.queue", "tasks:old")


def test_a_bare_name_is_of_the_own_namespace() -> None:
    assert resolve_id("tasks", "app") == "app:tasks"
    assert resolve_id("other:tasks", "app") == "other:tasks"


def test_the_place_of_a_key_is_its_own_or_the_nearest_around_it() -> None:
    entry = Entry("a:b", "k", {}, positions={(): Position("x", 1, 1), ("a",): Position("x", 2, 1)})
    assert entry.position(("a", "b", 0)) == Position("x", 2, 1)
    assert entry.position(("z",)) == Position("x", 1, 1)
    assert Entry("a:b", "k", {}).position(("z",)) is None


def test_a_registry_finds_by_id_and_by_family_of_kinds() -> None:
    entries = [
        Entry("a:1", "queue.driver.memory", {}),
        Entry("a:2", "queue.drivers", {}),
        Entry("a:3", "queue.driver", {}),
    ]
    registry = Registry({entry.id: entry for entry in entries})
    assert list(registry) == entries
    assert registry.get("a:1") is entries[0]
    assert registry.get("a:9") is None
    assert [entry.id for entry in registry.of_kind("queue.driver")] == ["a:1", "a:3"]
