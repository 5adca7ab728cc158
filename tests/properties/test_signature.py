"""Any change of a signed message is refused, and any order of keys verifies what one of them signed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tasuki.message import Message
from tasuki.queues.messages.signature import Signer, Signing

TEXTS = st.text(max_size=20)
VALUES = st.booleans() | st.integers() | st.floats() | TEXTS
COVERED = ["content_type", "correlation_id", "reply_to", "priority", "partition_key"]
MESSAGES = st.builds(Message, TEXTS, st.binary(min_size=1), st.dictionaries(st.sampled_from(COVERED) | TEXTS, VALUES))
SECRETS = st.binary(min_size=16, max_size=64)


@given(MESSAGES, SECRETS, st.data())
def test_any_flipped_bit_of_the_body_is_refused(message: Message, secret: bytes, data: st.DataObject) -> None:
    signer = Signer("app:q", "json/plain", Signing({"k": secret}))
    signer.sign([message])
    assert signer.verify(message) is None
    at, bit = data.draw(st.integers(0, len(message.body) - 1)), data.draw(st.integers(0, 7))
    changed = bytearray(message.body)
    changed[at] ^= 1 << bit
    assert signer.verify(Message(message.id, bytes(changed), message.headers)) is not None


@given(MESSAGES, SECRETS, st.data())
def test_any_changed_letter_of_the_signature_is_refused(message: Message, secret: bytes, data: st.DataObject) -> None:
    signer = Signer("app:q", "json/plain", Signing({"k": secret}))
    signer.sign([message])
    signature = str(message.headers["x_signature"])
    at = data.draw(st.integers(0, len(signature) - 1))
    letter = data.draw(st.characters().filter(lambda letter: letter != signature[at]))
    message.headers["x_signature"] = signature[:at] + letter + signature[at + 1 :]
    assert signer.verify(message) is not None


@given(MESSAGES, st.sampled_from(COVERED), VALUES)
def test_any_changed_header_that_is_covered_is_refused(message: Message, name: str, value: object) -> None:
    signer = Signer("app:q", "json/plain", Signing({"k": b"s" * 16}))
    signer.sign([message])
    before = message.headers.get(name, "json/plain" if name == "content_type" else None)
    message.headers[name] = value  # type: ignore[assignment]
    same = type(before) is type(value) and repr(before) == repr(value)
    assert (signer.verify(message) is None) == same


@given(MESSAGES, st.dictionaries(st.sampled_from("abcdef"), SECRETS, min_size=1), st.data())
def test_every_key_of_a_queue_verifies(message: Message, keys: dict[str, bytes], data: st.DataObject) -> None:
    order = data.draw(st.permutations(sorted(keys)))
    Signer("app:q", "json/plain", Signing({key: keys[key] for key in order})).sign([message])
    assert Signer("app:q", "json/plain", Signing(keys)).verify(message) is None
    others = {key: secret for key, secret in keys.items() if key != order[0]}
    if others:
        assert Signer("app:q", "json/plain", Signing(others)).verify(message) is not None
