import pytest

from tasuki.errors import Position
from tasuki.ids import resolve_id
from tasuki.registry.entry import (
    Entry,
    Reference,
    Registry,
    did_you_mean,
    find_cycles,
    find_references,
    is_of_kind,
    noun,
    verify_references,
)


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


QUEUE = Entry("app:mail", "queue.queue", {"driver": "rabbit"}, positions={("driver",): Position("q.yaml", 14, 11)})


def registry(**kinds: str) -> Registry:
    return Registry({f"app:{name}": Entry(f"app:{name}", kind, {}) for name, kind in kinds.items()})


def test_references_are_found_at_dotted_paths_in_lists_and_in_mappings() -> None:
    data = {
        "queue": "q",
        "lifecycle": {"depends_on": ["a", "other:b", 5]},
        "imports": {"x": "lib"},
        "dead": {"queue": "d"},
    }
    fields = {
        "queue": ("k",),
        "lifecycle.depends_on.*": (),
        "imports.*": ("l",),
        "dead": (),
        "dead.queue": (),
        "missing.x": (),
    }
    assert find_references(Entry("app:e", "k", data), fields) == [
        Reference(("queue",), "app:q", ("k",)),
        Reference(("lifecycle", "depends_on", 0), "app:a"),
        Reference(("lifecycle", "depends_on", 1), "other:b"),
        Reference(("imports", "x"), "app:lib", ("l",)),
        Reference(("dead", "queue"), "app:d"),
    ]


def test_a_wildcard_over_a_single_value_finds_nothing() -> None:
    assert find_references(Entry("app:e", "k", {"a": "text"}), {"a.*": (), "a.b": ()}) == []


def verify(kinds: tuple[str, ...], **entries: str) -> list[str]:
    references = [Reference(("driver",), "app:rabbit", kinds)]
    return list(map(str, verify_references(QUEUE, references, registry(**entries))))


def test_a_missing_target_is_named_with_its_remedy() -> None:
    assert verify(("queue.driver",), rabit="queue.driver.memory", rabbits="queue.queue") == [
        "q.yaml:14:11: app:mail: queue 'app:mail' refers to driver 'app:rabbit', which is not defined"
        "; did you mean 'app:rabit'?"
    ]


def test_a_target_of_the_same_name_elsewhere_is_suggested_first() -> None:
    other = Registry({"far.away:rabbit": Entry("far.away:rabbit", "queue.driver.memory", {})})
    [error] = verify_references(QUEUE, [Reference(("driver",), "app:rabbit", ("queue.driver",))], other)
    assert error.hint == "did you mean 'far.away:rabbit'?"


def test_without_a_near_target_the_others_are_listed() -> None:
    assert verify(("queue.driver",))[0].endswith("which is not defined; declare it")
    assert verify(("queue.driver",), zmq="queue.driver.x", q="queue.queue")[0].endswith(
        "declare it, or name one of: app:zmq"
    )
    [text] = verify(("queue.driver",), **{letter * 6: "queue.driver.x" for letter in "cdefghijk"})
    assert text.endswith("app:iiiiii, app:jjjjjj, …")


def test_an_entry_is_never_told_to_refer_to_itself() -> None:
    queue = Entry("app:tasks", "queue.queue", {"dead_letter": "tasks.dead"})
    alone = Registry({queue.id: queue})
    [error] = verify_references(queue, find_references(queue, {"dead_letter": ("queue.queue",)}), alone)
    assert error.hint == "declare it"


def test_a_target_of_the_wrong_kind() -> None:
    [text] = verify(("queue.driver", "x"), rabbit="queue.queue")
    assert text.endswith("refers to driver 'app:rabbit', which is a queue.queue; name a queue.driver or x")


def test_a_good_target_and_any_kind() -> None:
    assert verify(("queue.driver",), rabbit="queue.driver.memory") == []
    assert verify((), rabbit="anything") == []


def test_families_of_kinds() -> None:
    assert is_of_kind("queue.driver.memory", ("queue.driver",))
    assert is_of_kind("queue.driver", ("queue.driver",))
    assert not is_of_kind("queue.drivers", ("queue.driver",))


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ("queue.driver.memory", "driver"),
        ("queue.queue", "queue"),
        ("queue.consumer", "consumer"),
        ("function.lua", "function"),
        ("env.storage.os", "storage"),
        ("store.memory", "store"),
        ("queue", "queue"),
    ],
)
def test_the_everyday_word_for_a_kind(kind: str, word: str) -> None:
    assert noun(kind) == word


def test_did_you_mean() -> None:
    assert did_you_mean("concurency", ["concurrency", "queue"]) == "did you mean 'concurrency'?"
    assert did_you_mean("zzz", ["concurrency"]) == ""


def test_graphs_without_circles() -> None:
    assert find_cycles({}) == []
    assert find_cycles({"a": ["b", "c"], "b": ["c"], "c": ["outside"]}) == []


def test_every_circle_is_found_once_and_reads_in_the_direction_of_the_references() -> None:
    edges = {"start": ["b"], "a": ["b"], "b": ["c"], "c": ["a"], "self": ["self"], "x": ["y"], "y": ["x"]}
    assert sorted(find_cycles(edges)) == [["a", "b", "c"], ["self"], ["x", "y"]]


def test_a_long_chain_needs_no_recursion() -> None:
    size = 5000
    edges = {str(i): [str((i + 1) % size)] for i in range(size)}
    [circle] = find_cycles(edges)
    assert circle == list(map(str, range(size)))
