from dataclasses import replace

from tasuki.errors import Position
from tasuki.registry.entry import Entry, Registry, compare
from tasuki.registry.loader import Source


def registry(**data: object) -> Registry:
    return Registry({id: Entry(id, "k", {"v": value}) for id, value in data.items()})


EDGES = {"queue": ["driver"], "consumer": ["queue", "function"], "other": []}


def test_nothing_changed() -> None:
    old = registry(driver=1, queue=1)
    changes = compare(old, registry(driver=1, queue=1), EDGES)
    assert not changes
    assert changes.unchanged == {"driver", "queue"}


def test_what_refers_to_something_changed_is_affected_through_any_number_of_steps() -> None:
    old = registry(driver=1, queue=1, function=1, consumer=1, other=1)
    changes = compare(old, registry(driver=2, queue=1, function=1, consumer=1, other=1), EDGES)
    assert changes
    assert changes.changed == {"driver"}
    assert changes.affected == {"queue", "consumer"}
    assert changes.unchanged == {"function", "other"}


def test_added_and_removed() -> None:
    changes = compare(registry(queue=1, gone=1), registry(queue=1, driver=1), EDGES)
    assert changes.added == {"driver"}
    assert changes.removed == {"gone"}
    assert changes.affected == {"queue"}
    assert changes.unchanged == frozenset()


def test_a_changed_entry_is_not_also_affected_and_a_new_one_neither() -> None:
    changes = compare(registry(driver=1, queue=1), registry(driver=2, queue=2, consumer=1), EDGES)
    assert changes.changed == {"driver", "queue"}
    assert changes.added == {"consumer"}
    assert changes.affected == frozenset()


def test_where_an_entry_stands_does_not_matter_but_its_source_does() -> None:
    entry = Entry("f", "function.lua", {"source": Source("return 1")}, positions={(): Position("a.yaml", 1, 1)})
    moved = replace(entry, positions={(): Position("b.yaml", 9, 9)})
    edited = replace(entry, data={"source": Source("return 2")})
    assert not compare(Registry({"f": entry}), Registry({"f": moved}), {})
    assert compare(Registry({"f": entry}), Registry({"f": edited}), {}).changed == {"f"}


def test_entries_that_refer_to_each_other_are_visited_once() -> None:
    edges = {"a": ["b"], "b": ["a"]}
    assert compare(registry(a=1, b=1), registry(a=2, b=1), edges).affected == {"b"}
