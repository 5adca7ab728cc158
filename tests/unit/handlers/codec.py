"""A codec for tests: JSON by msgspec, with the errors of the contract."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from tasuki.errors import CodecError, InvalidBodyError


class JsonCodec:
    name = "json/plain"

    def encode(self, value: Any) -> bytes:
        return msgspec.json.encode(value)

    def decoder(self, type_: Any = Any) -> Callable[[bytes], Any]:
        decode = msgspec.json.Decoder(type_).decode

        def run(data: bytes) -> Any:
            try:
                return decode(data)
            except msgspec.ValidationError as error:
                raise InvalidBodyError(str(error)) from error
            except msgspec.DecodeError as error:
                raise CodecError(str(error)) from error

        return run
