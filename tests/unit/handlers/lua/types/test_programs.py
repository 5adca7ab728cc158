"""Generated programs: stripping an untyped one changes nothing; a typed one is what the untyped one was."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tasuki.handlers.lua.types import strip
from tasuki.handlers.lua.types.lexer import tokens
from tests.unit.handlers.lua.types.cases import TYPES
from tests.unit.handlers.lua.types.test_strip import compiles

# Every part is drawn as two texts: with types and without.
Part = tuple[str, str]
names = st.sampled_from(["a", "b", "as", "is", "type", "interface", "readonly", "fun", "x1", "keyof"])
literals = st.sampled_from(
    ["1", "0x1F", "3.5e2", "nil", "true", "'a: T'", '"as T"', "[[ x! ]]", "[=[ y :: T ]] ]=]", "..."]
)
operators = st.sampled_from(
    ["+", "..", "==", "~=", "<", ">", "<=", ">=", "//", ">>", "<<", "and", "or", "|", "&", "~", "^"]
)
plain_types = st.sampled_from([form for form in TYPES if "\n" not in form])


def both(text: st.SearchStrategy[str]) -> st.SearchStrategy[Part]:
    return text.map(lambda t: (t, t))


def joined(*parts: Part | str) -> Part:
    pairs = [(part, part) if isinstance(part, str) else part for part in parts]
    return "".join(typed for typed, _ in pairs), "".join(plain for _, plain in pairs)


@st.composite
def annotated(draw: st.DrawFn) -> Part:
    name = draw(names)
    return f"{name}: {draw(plain_types)}" if draw(st.booleans()) else name, name


@st.composite
def heads(draw: st.DrawFn) -> Part:
    parameters = draw(st.lists(annotated(), max_size=2))
    generics = draw(st.sampled_from(["", "<T>", "<T, K: A<B>>"]))
    result = draw(st.one_of(st.just(""), plain_types.map(": {}".format)))
    typed, plain = (", ".join([*(p[side] for p in parameters), "..."]) for side in (0, 1))
    return f"{generics}({typed}){result}\n", f"({plain})\n"


@st.composite
def suffixed(draw: st.DrawFn, inner: st.SearchStrategy[Part]) -> Part:
    argument, name = draw(inner), draw(names)
    forms = [
        ("(", argument, ")"),
        (f".{name}",),
        (f":{name}(", argument, ")"),
        ("[ ", argument, "]"),
        (" 'x: T'",),
        ("{", argument, "}"),
    ]
    return joined("(", draw(inner), ")", *draw(st.sampled_from(forms)))


@st.composite
def casts(draw: st.DrawFn, inner: st.SearchStrategy[Part]) -> Part:
    typed, plain = draw(inner)
    mark = draw(st.one_of(st.just("!"), plain_types.map(" as {}".format), plain_types.map(" :: {}".format)))
    return f"(({typed}){mark})", f"(({plain}))"


def grown(inner: st.SearchStrategy[Part]) -> st.SearchStrategy[Part]:
    return st.one_of(
        suffixed(inner),
        casts(inner),
        st.tuples(inner, operators, inner).map(lambda p: joined("(", p[0], f" {p[1]} ", p[2], ")")),
        st.tuples(heads(), inner).map(lambda p: joined("function", p[0], "return ", p[1], " end")),
        st.tuples(names, inner).map(lambda p: joined("{", p[0], " = ", p[1], "; [ ", p[1], "] = 1, ", p[1], "}")),
    )


expressions = st.recursive(st.one_of(both(names), both(literals)), grown, max_leaves=6)


@st.composite
def statements(draw: st.DrawFn) -> Part:
    name, value, head, types = draw(annotated()), draw(expressions), draw(heads()), draw(plain_types)
    forms = [
        ("local ", name, ", ", draw(annotated()), " = ", value, "\n"),
        (name[1], " = ", value, ";\n"),
        ("local function ", name[1], head, "return ", value, "\nend\n"),
        ("function a.b:", name[1], head, "end\n"),
        ("if ", value, " then ::L1:: goto L1 elseif a < b and c > d then end\n"),
        ("for i = 1, ", value, " do while x do break end end\n"),
        ("repeat local ", name, "\nuntil ", value, "\n"),
        (name[1], ":", name[1], "(", value, ") -- x: T\n"),
        ((f"type T<U> = {types}\n", "\n"), "do return ", value, " end\n"),
        (("interface I: A function m(a: T): (A, B) end\n", "\n"), "--[[ a as T ]]\n"),
    ]
    return joined(*draw(st.sampled_from(forms)))


programs = st.lists(statements(), max_size=6).map(lambda parts: joined(*parts))


def words(source: str) -> list[str]:
    return [token.text for token in tokens(source) if token.text not in {"(", ")", ";"}]


@settings(max_examples=150, deadline=None)
@given(programs)
def test_untyped_programs_do_not_change(program: Part) -> None:
    _, plain = program
    text = f"return function(...)\n{plain}end"
    assert compiles(text) is None or "local variables" in compiles(text)
    assert strip(text) == text


@settings(max_examples=150, deadline=None)
@given(programs)
def test_typed_programs_become_the_untyped_ones(program: Part) -> None:
    typed, plain = (f"return function(...)\n{side}end" for side in program)
    found = strip(typed)
    assert compiles(found) is None, found
    assert words(found) == words(plain)
    assert len(found.split("\n")) == len(typed.split("\n"))


@settings(max_examples=150, deadline=None)
@given(st.text("ab:!<>()[]{}=-.,?|&@'\"\n as type local function interface end "))
def test_any_text_ends(text: str) -> None:
    assert strip(text).count("\n") == text.count("\n")
