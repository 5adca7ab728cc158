"""Names of letters."""

from __future__ import annotations

from tasuki.contracts.driver import Outgoing
from tasuki.queues.dead.letter import Names, id_of, name_of


def test_names_mean_what_they_say() -> None:
    one, two = Outgoing("a", b"1", {"n": 1}), Outgoing("a", b"2", {"n": 1})
    assert id_of(name_of(one)) == "a" == id_of("a")
    assert name_of(one) == name_of(Outgoing("a", b"1", {"x_last_error_time": 5, "n": 1, "x_last_error": "shown"}))
    assert len({name_of(one), name_of(two), name_of(Outgoing("a", b"1", {"n": True}))}) == 3
    names = Names([name_of(two), "a", "b~c"])
    assert (names.of(two), names.of(one), names.of(Outgoing("b~c", b"", {})), names.of(Outgoing("b", b"", {}))) == (
        name_of(two), "a", "b~c", "",
    )  # fmt: skip
    assert Names([name_of(one)]).of(two) == ""
    odd = Outgoing("x~01234567", b"", {})
    assert Names(["x~01234567"]).of(odd) == "x~01234567", "an id that looks like a name means itself"
    assert Names([name_of(odd)]).of(odd) == name_of(odd)
    assert (len(names), "a" in names, "b" in names, bool(Names([]))) == (3, True, False, False)
