"""Lua with types out of choices: a program twice, with types and as it must be without them, line for line."""

from __future__ import annotations

from collections.abc import Callable

from tests.fuzz.choices import Choices

NAMES = ("a", "b", "x1", "type", "is", "self", "_")
TYPE_NAMES = ("T", "string", "any", "a.b", "Map<K, V>", "L<L<T>>")
Pair = tuple[str, str]


def type_of(choices: Choices, depth: int = 0) -> str:
    """A type of the grammar."""
    if depth >= 4 or not choices.more:
        return choices.pick(TYPE_NAMES)
    return choices.pick(_FORMS)(choices, lambda: type_of(choices, depth + 1))


Inner = Callable[[], str]
_LITERALS = ("nil", "true", "'a: b'", '"}"', "[[x]]", "1", "{}")
_TYPEOF = ("f(')')", "x.y[1]", "{1, 2}")
_FORMS: tuple[Callable[[Choices, Inner], str], ...] = (
    lambda choices, inner: choices.pick(TYPE_NAMES),
    lambda choices, inner: choices.pick(_LITERALS),
    lambda choices, inner: f"{{{inner()}}}",
    lambda choices, inner: f"{{[ {inner()}]: {inner()}}}",
    lambda choices, inner: f"{{{choices.pick(NAMES)}: {inner()}, y?: {inner()}{choices.pick(('', ',', '; z: T'))}}}",
    lambda choices, inner: f"{_simple(inner())}[]",
    lambda choices, inner: f"{_simple(inner())}?",
    lambda choices, inner: f"{_simple(inner())} {choices.pick('|&')} {_simple(inner())}",
    lambda choices, inner: f"({inner()}, {choices.pick(NAMES)}: {inner()}, ...{inner()}) -> {_simple(inner())}",
    lambda choices, inner: f"fun({choices.pick(NAMES)}: {inner()}): ({inner()}, {inner()})",
    lambda choices, inner: f"typeof({choices.pick(_TYPEOF)})",
    lambda choices, inner: f"readonly {{{inner()}}}",
    lambda choices, inner: f"keyof({inner()})",
    lambda choices, inner: f"{{n: {_simple(inner())} @min(0) @pattern('[)}}]')}}",
)


def _simple(text: str) -> str:
    """A type that may stand anywhere within another."""
    return text if text.isidentifier() else f"({text})"


def _note(choices: Choices) -> str:
    """An annotation, or none."""
    return f": {type_of(choices)}" if choices.flag() else ""


Operand = tuple[str, str, bool]
"""Typed, plain, and whether it may have several values."""


def atom(choices: Choices, depth: int) -> Operand:
    """An operand of a cast."""
    if depth >= 5 or not choices.more or choices.below(4) == 0:
        name = choices.pick((*VARIABLES, *CONSTANTS))
        return name, name, False
    return choices.pick(_OPERANDS)(choices, choices.pick(VARIABLES), *expression(choices, depth + 1))


VARIABLES = ("a", "b", "x1", "_")
CONSTANTS = ("1", "0x1F", "2.5", "'as T'", "nil", "true", "[[a: T]]", '"::"')


def _function(choices: Choices, name: str, typed: str, plain: str) -> Operand:
    note, result = _note(choices), choices.pick(("", f": {type_of(choices)}", ": ()", f": ({type_of(choices)}, T)"))
    return (
        f"function({name}{note}, ...){result}\nreturn {typed} end",
        f"function({name}, ...)\nreturn {plain} end",
        False,
    )


_OPERANDS: tuple[Callable[[Choices, str, str, str], Operand], ...] = (
    lambda choices, name, typed, plain: (f"({typed})", f"({plain})", False),
    lambda choices, name, typed, plain: (f"{name}({typed})", f"{name}({plain})", True),
    lambda choices, name, typed, plain: (f"{name}:as({typed})", f"{name}:as({plain})", True),
    lambda choices, name, typed, plain: (f"{name}.is[ {typed}]", f"{name}.is[ {plain}]", False),
    lambda choices, name, typed, plain: ("...", "...", True),
    lambda choices, name, typed, plain: (
        f"{{as = {typed}, {typed}; [ {typed}] = 1}}",
        f"{{as = {plain}, {plain}; [ {plain}] = 1}}",
        False,
    ),
    _function,
)


def expression(choices: Choices, depth: int = 0) -> Pair:
    """An expression, with casts at its operands."""
    typed, plain, is_many = atom(choices, depth)
    cast = choices.below(5)
    if cast == 1:
        typed, plain = f"({typed} as {type_of(choices)})", f"({plain})"
    elif cast == 2:
        typed, plain = f"({typed} :: {type_of(choices)})", f"({plain})"
    elif cast == 3:
        typed, plain = f"{typed}!", f"({plain})" if is_many else plain
    if choices.below(4) == 3 and depth < 5:
        right = expression(choices, depth + 1)
        operator = choices.pick(("+", "..", "==", "~=", "and", "or", "<", ">>", "|", "//", "-", "^"))
        return f"{typed} {operator} {right[0]}", f"{plain} {operator} {right[1]}"
    return typed, plain


def last(choices: Choices) -> Pair:
    """An expression at the end of a line, where a cast needs no brackets."""
    typed, plain, is_many = atom(choices, 1)
    how = choices.below(3)
    if how == 0:
        return expression(choices)
    kind = type_of(choices)
    return f"{typed} {'as' if how == 1 else '::'} {kind}", f"({plain})" if is_many else plain


def statement(choices: Choices, depth: int = 0) -> Pair:
    """One statement, which may have several lines."""
    return choices.pick(_STATEMENTS if depth < 3 else _STATEMENTS[:3])(choices, depth)


def _local(choices: Choices, depth: int) -> Pair:
    typed, plain = last(choices)
    name = choices.pick(NAMES)
    return f"local {name}{_note(choices)}, c{_note(choices)} = {typed}", f"local {name}, c = {plain}"


def _assignment(choices: Choices, depth: int) -> Pair:
    typed, plain = last(choices)
    name = choices.pick(NAMES)
    return f"{name} = {typed}", f"{name} = {plain}"


def _type(choices: Choices, depth: int) -> Pair:
    return f"type {choices.pick(('P', 'Q<A>', 'R<A: B, C>'))} = {type_of(choices)}", ""


def _interface(choices: Choices, depth: int) -> Pair:
    return f"interface I: A, B<T>\nfunction m(a: {type_of(choices)}): {type_of(choices)}\nn?: T\nend", "\n\n\n"


def _definition(choices: Choices, depth: int) -> Pair:
    body = statement(choices, depth + 1)
    head = choices.pick(("local function f", "function a.b:m", "function f"))
    generics, result = choices.pick(("", "<K>", "<K, V: B<K>>")), choices.pick(("", ": T", ": T, U", ": ()"))
    typed = f"{head}{generics}(p{_note(choices)}, q{_note(choices)}, ...{_note(choices)}){result}\n{body[0]}\nend"
    return typed, f"{head}(p, q, ...)\n{body[1]}\nend"


def _block(choices: Choices, depth: int) -> Pair:
    body, (typed, plain) = statement(choices, depth + 1), expression(choices)
    before, after = choices.pick((("if", "then"), ("for i = 1,", "do"), ("while", "do")))
    return f"{before} {typed} {after}\n{body[0]}\nend", f"{before} {plain} {after}\n{body[1]}\nend"


def _call(choices: Choices, depth: int) -> Pair:
    typed, plain = expression(choices)
    call = choices.pick(("f", "a.b:m", "f::<T, U<V>>"))
    return f"{call}({typed}, ...)", f"{call.partition('::')[0]}({plain}, ...)"


_STATEMENTS: tuple[Callable[[Choices, int], Pair], ...] = (
    _local, _assignment, _type, _interface, _definition, _block, _call
)  # fmt: skip


def program(choices: Choices) -> Pair:
    """The program with types and without."""
    lines = [statement(choices) for _ in range(1 + choices.below(6))]
    result = last(choices)
    lines.append((f"return {result[0]}", f"return {result[1]}"))
    return "\n".join(typed for typed, _ in lines), "\n".join(plain for _, plain in lines)
