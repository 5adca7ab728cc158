"""Policies, expressions and requests out of choices, and the slow reference for what they must say.

The property tests have the reference of conditions and patterns. The one of expressions is here: an expression is
made as a tree, written down with as few or as many brackets as the choices say, and the tree is asked directly.
"""

from __future__ import annotations

import json
import re
from typing import Any

from tasuki.security.actor import Actor, PolicyRequest
from tasuki.security.condition import OPERATORS
from tests.fuzz.choices import Choices
from tests.properties.test_policies import FIELDS, Wrong, ref_condition, ref_matches

WORDS = ("", "a", "b", "ab", "a.b", "1", "01", "1.0", "2", "true", "-1", "1e1", "10", "app:a", "queue.a")
PATTERNS = ("*", "a", "b", "ab", "a*", "*b", "*a*", "a.*", "queue.*", "app:*", "**", ".*", "1", "app:a")
SCALARS: tuple[Any, ...] = (*WORDS, 0, 1, 2, 10, -3, 0.5, 1.0, 10.0, True, False)
REGEXES = ("a", "^a", "b$", "^[0-9]+$", "a|b", "^$")


def scalar(choices: Choices) -> Any:
    return choices.pick(SCALARS)


def value(choices: Choices) -> Any:
    shape = choices.below(4)
    if shape == 2:
        return [scalar(choices) for _ in range(choices.below(4))]
    if shape == 3:
        return {choices.pick("cd"): scalar(choices) for _ in range(choices.below(3))}
    return scalar(choices)


def meta(choices: Choices) -> dict[str, Any]:
    return {choices.pick("ab"): value(choices) for _ in range(choices.below(3))}


def request(choices: Choices) -> PolicyRequest:
    actor = Actor(choices.pick(WORDS), meta(choices))
    return PolicyRequest(actor, choices.pick(WORDS), choices.pick(WORDS), meta(choices))


def condition(choices: Choices) -> tuple[str, str, Any, str | None]:
    field, verb = choices.pick(FIELDS), choices.pick(OPERATORS)
    if verb in ("matches", "nmatches"):
        return field, verb, choices.pick(REGEXES), None
    if verb in ("exists", "nexists"):
        return field, verb, choices.flag(), None
    if choices.flag():
        return field, verb, None, choices.pick(FIELDS)
    if verb in ("in", "nin"):
        return field, verb, [scalar(choices) for _ in range(choices.below(4))], None
    if verb in ("lt", "lte", "gt", "gte"):
        return field, verb, choices.pick((0, 1, 10, "1", "0.5", "1e1")), None
    return field, verb, scalar(choices), None


# Expressions ---------------------------------------------------------------------------------------------------------

Tree = tuple[Any, ...]

_LOOSE = {"choice": 0, "||": 1, "&&": 2, "compare": 3, "not": 4, "??": 5, "!": 6, "atom": 7}
"""How tightly each kind of tree binds."""
_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=", "in", "contains", "startsWith", "endsWith")
_NEGATABLE = ("in", "contains", "startsWith", "endsWith", "matches")
_PATHS = (
    "action",
    "resource",
    "actor.id",
    "actor.meta.a",
    "meta.a",
    "meta.b",
    "meta?.a?.c",
    'meta["b"]',
    "actor.meta.b.c",
)


def tree(choices: Choices, depth: int = 0) -> Tree:
    shape = choices.below(10) if depth < 5 and choices.more else choices.below(2)
    if shape == 0:
        return ("path", choices.pick(_PATHS))
    if shape == 1:
        return ("value", choices.pick((*SCALARS, None)))
    if shape == 2:
        return ("list", *[tree(choices, depth + 1) for _ in range(choices.below(3))])
    if shape == 3:
        return (choices.pick(("!", "not")), tree(choices, depth + 1))
    if shape == 4:
        return ("choice", *[tree(choices, depth + 1) for _ in range(3)])
    if shape == 5:
        return ("matches", choices.flag(), tree(choices, depth + 1), choices.pick(REGEXES))
    if shape < 8:
        verb = choices.pick(_COMPARISONS)
        is_negated = verb in _NEGATABLE and choices.flag()
        return ("compare", verb, is_negated, tree(choices, depth + 1), tree(choices, depth + 1))
    return (choices.pick(("||", "&&", "??")), tree(choices, depth + 1), tree(choices, depth + 1))


def _rank(node: Tree) -> int:
    return _LOOSE.get("compare" if node[0] == "matches" else node[0], _LOOSE["atom"])


def text(node: Tree, choices: Choices) -> str:  # noqa: PLR0911 - a line each
    """The tree written down; brackets where the language needs them, and sometimes where it does not."""

    def part(inner: Tree, least: int) -> str:
        written = text(inner, choices)
        return f"({written})" if _rank(inner) < least or choices.below(8) == 7 else written

    kind, *rest = node
    rank = _rank(node)
    if kind == "path":
        return str(rest[0])
    if kind == "value":
        return _literal(rest[0])
    if kind == "list":
        return "[" + ", ".join(text(item, choices) for item in rest) + "]"
    if kind == "choice":
        return f"{part(rest[0], 1)} ? {text(rest[1], choices)} : {text(rest[2], choices)}"
    if kind == "!":
        return "!" + part(rest[0], rank)
    if kind == "not":
        return f"(not {part(rest[0], rank + 1)})"
    if kind == "matches":
        return f"{part(rest[1], rank)} {'not ' if rest[0] else ''}matches {json.dumps(rest[2])}"
    if kind == "compare":
        verb, is_negated, left, right = rest
        return f"{part(left, rank)} {'not ' if is_negated else ''}{verb} {part(right, rank + 1)}"
    spelled = {"||": choices.pick(("||", "or")), "&&": choices.pick(("&&", "and")), "??": "??"}[kind]
    return f"{part(rest[0], rank)} {spelled} {part(rest[1], rank + 1)}"


def _literal(value: Any) -> str:
    return "nil" if value is None else json.dumps(value)


def ask(node: Tree, of: PolicyRequest) -> Any:  # noqa: PLR0911 - a line each
    """What a tree says. Raises Wrong where the language has no answer."""
    kind, *rest = node
    if kind == "path":
        return _look_up(rest[0], of)
    if kind == "value":
        return rest[0]
    if kind == "list":
        return [ask(item, of) for item in rest]
    if kind in ("!", "not"):
        return not _boolean(ask(rest[0], of))
    if kind == "choice":
        return ask(rest[1] if _boolean(ask(rest[0], of)) else rest[2], of)
    if kind == "matches":
        words = ask(rest[1], of)
        if not isinstance(words, str):
            raise Wrong
        return (re.search(rest[2], words) is not None) != rest[0]
    if kind == "compare":
        verb, is_negated, left, right = rest
        return _compare(verb, ask(left, of), ask(right, of)) != is_negated
    if kind == "??":
        left = ask(rest[0], of)
        return ask(rest[1], of) if left is None else left
    left = _boolean(ask(rest[0], of))
    return left if left == (kind == "||") else _boolean(ask(rest[1], of))


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Wrong
    return value


def _look_up(path: str, of: PolicyRequest) -> Any:
    whole: Any = {
        "actor": {"id": of.actor.id, "meta": of.actor.meta},
        "action": of.action,
        "resource": of.resource,
        "meta": of.meta,
    }
    for step in path.replace('["b"]', ".b").replace("?.", ".?").split("."):
        is_optional, key = step[0] == "?", step.lstrip("?")
        if isinstance(whole, dict):
            whole = whole.get(key)
        elif whole is not None or not is_optional:
            raise Wrong
    return whole


def _type(value: Any) -> str:
    return "number" if type(value) in (int, float) else type(value).__name__


def _equal(left: Any, right: Any) -> bool:
    if _type(left) != _type(right):
        return False
    if isinstance(left, list):
        return len(left) == len(right) and all(_equal(a, b) for a, b in zip(left, right, strict=True))
    if isinstance(left, dict):
        return set(left) == set(right) and all(_equal(left[key], right[key]) for key in left)
    return bool(left == right)


def _compare(verb: str, left: Any, right: Any) -> bool:
    if verb in ("==", "!="):
        return _equal(left, right) == (verb == "==")
    if verb == "in":
        if right is None:
            return False
        if isinstance(right, list):
            return any(_equal(left, item) for item in right)
        if isinstance(right, dict):
            return isinstance(left, str) and left in right
        raise Wrong
    if verb in ("contains", "startsWith", "endsWith"):
        if not (isinstance(left, str) and isinstance(right, str)):
            raise Wrong
        return {"contains": right in left, "startsWith": left[: len(right)] == right}.get(
            verb, left[len(left) - len(right) :] == right if len(right) <= len(left) else False
        )
    if _type(left) != _type(right) or _type(left) not in ("number", "str"):
        raise Wrong
    orders: dict[str, bool] = {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}
    return orders[verb]


# Policies ------------------------------------------------------------------------------------------------------------


def policy(choices: Choices) -> dict[str, Any]:
    """Patterns, an effect, and conditions or an expression."""
    made: dict[str, Any] = {
        "actions": [choices.pick(PATTERNS) for _ in range(1 + choices.below(2))],
        "resources": [choices.pick(PATTERNS) for _ in range(1 + choices.below(2))],
        "effect": choices.pick(("allow", "deny")),
        "conditions": [],
        "tree": None,
    }
    if choices.flag():
        made["tree"] = tree(choices)
        made["text"] = text(made["tree"], choices)
    else:
        made["conditions"] = [condition(choices) for _ in range(choices.below(3))]
    return made


def _holds(test: Any, *args: Any) -> bool:
    try:
        return test(*args) is True
    except Wrong:
        return False


def says(one: dict[str, Any], of: PolicyRequest) -> str:
    """The decision of a policy about a request."""
    is_meant = any(ref_matches(pattern, of.action) for pattern in one["actions"]) and any(
        ref_matches(pattern, of.resource) for pattern in one["resources"]
    )
    if not is_meant or (one["tree"] is not None and not _holds(ask, one["tree"], of)):
        return "undefined"
    if not all(_holds(ref_condition, of, *parts) for parts in one["conditions"]):
        return "undefined"
    return str(one["effect"])


def together(policies: list[dict[str, Any]], of: PolicyRequest) -> str:
    """What a scope of these says."""
    said = {says(one, of) for one in policies}
    return "deny" if "deny" in said else "allow" if "allow" in said else "undefined"
