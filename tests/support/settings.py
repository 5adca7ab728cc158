"""Settings made from the plain values that YAML has: paths, addresses and secrets as text."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel

Model = TypeVar("Model", bound=BaseModel)


def parsed(model: type[Model], **fields: object) -> Model:
    """The model with these fields, checked and converted as an entry's fields are."""
    return model.model_validate(fields)
