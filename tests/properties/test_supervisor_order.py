import itertools

from hypothesis import given
from hypothesis import strategies as st

from tasuki.supervisor import spec

NAMES = st.sampled_from("abcdefgh")
ANY_GRAPH = st.dictionaries(NAMES, st.lists(NAMES, max_size=4))


@st.composite
def acyclic_graphs(draw: st.DrawFn) -> dict[str, list[str]]:
    """Graphs in which a name depends only on earlier ones, in any order of keys."""
    names = draw(st.lists(NAMES, unique=True))
    graph = {
        name: draw(st.lists(st.sampled_from(names[:at]), unique=True)) if at else [] for at, name in enumerate(names)
    }
    return {name: graph[name] for name in draw(st.permutations(names))}


@given(acyclic_graphs())
def test_every_service_starts_after_all_that_it_needs(graph: dict[str, list[str]]) -> None:
    assert spec.find_cycle(graph) == []
    started: set[str] = set()
    for wave in spec.start_order(graph):
        assert wave
        assert all(set(graph[id]) <= started for id in wave)
        started |= set(wave)
    assert started == set(graph)


@given(acyclic_graphs())
def test_starting_what_may_start_ends_and_takes_the_same_waves(graph: dict[str, list[str]]) -> None:
    waiting, up, waves = list(graph), set[str](), []
    while waiting:
        ready = spec.may_start(graph, waiting, up)
        assert ready
        waves.append(set(ready))
        up |= set(ready)
        waiting = [id for id in waiting if id not in up]
    assert waves == [set(wave) for wave in spec.start_order(graph)]


@given(acyclic_graphs(), st.data())
def test_nothing_stops_before_its_dependents(graph: dict[str, list[str]], data: st.DataObject) -> None:
    live = set(data.draw(st.lists(st.sampled_from(sorted(graph)), unique=True))) if graph else set()
    while live:
        ready = spec.may_stop(graph, live)
        assert ready
        for id in ready:
            assert not any(id in graph[other] for other in live)
        live -= set(ready)


@given(ANY_GRAPH)
def test_a_cycle_is_found_exactly_when_there_is_one(graph: dict[str, list[str]]) -> None:
    circle = spec.find_cycle(graph)
    if circle:
        assert circle[0] == circle[-1]
        assert all(later in graph[earlier] for earlier, later in itertools.pairwise(circle))
    else:
        assert {id for wave in spec.start_order(graph) for id in wave} == set(graph)


@given(ANY_GRAPH)
def test_any_set_of_live_services_can_be_stopped(graph: dict[str, list[str]]) -> None:
    live, rounds = set(graph), 0
    while live:
        live -= set(spec.may_stop(graph, live))
        rounds += 1
    assert rounds <= len(graph)


@given(acyclic_graphs(), NAMES, NAMES)
def test_dependencies_and_dependents_are_each_others_mirror(graph: dict[str, list[str]], a: str, b: str) -> None:
    needs = a in graph and b in graph and a in spec.with_dependencies(graph, [b])
    assert needs == (a in graph and b in graph and b in spec.with_dependents(graph, [a]))


@given(ANY_GRAPH)
def test_missing_ones_are_those_that_are_not_keys(graph: dict[str, list[str]]) -> None:
    missing = spec.find_missing(graph)
    assert {dependency for _, dependency in missing} == {d for needs in graph.values() for d in needs} - set(graph)
