"""Reads interface declarations: heads of methods without bodies, fields, and one ``end``."""

from __future__ import annotations

from tasuki.handlers.lua.types.grammar import Malformed, TypeReader


def read_interface(reader: TypeReader, at: int) -> int:
    """The index after ``interface Name<T>: A, B … end``, which starts at this token."""
    at += 2
    if reader.text(at) == "<":
        at = reader.generics(at)
    if reader.text(at) == ":":
        at = reader.types(at + 1)
    while reader.text(at) != "end":
        at = _member(reader, at)
        if reader.text(at) in {",", ";"}:
            at += 1
    return at + 1


def _member(reader: TypeReader, at: int) -> int:
    if reader.text(at) == "function" and reader.kind(at + 1) == "name":
        at += 2
        if reader.text(at) == "<":
            at = reader.generics(at)
        at = reader.parameters(at)
        return reader.declared_results(at + 1) if reader.text(at) == ":" else at
    if reader.kind(at) == "name" and reader.text(at + 1) in {":", "?:"}:
        return reader.type(at + 2)
    raise Malformed
