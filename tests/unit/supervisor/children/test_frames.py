from __future__ import annotations

import pytest

from tasuki.supervisor.children import frames
from tasuki.supervisor.children.frames import Frame, Frames, encode


def test_frames_arrive_whole_from_any_pieces() -> None:
    sent = [Frame(1, "metrics", {}), Frame(0, "health", {"live": True}), Frame(2**40, "", [1, "x", None])]
    stream = b"".join(encode(*frame) for frame in sent)
    for size in (1, 3, 4, 5, 64, len(stream)):
        joined = Frames()
        pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
        assert [frame for piece in pieces for frame in joined.feed(piece)] == sent


def test_a_broken_stream_is_an_error() -> None:
    with pytest.raises(ValueError, match="a frame of 4294967295 bytes is announced"):
        list(Frames().feed(b"\xff\xff\xff\xff"))


def test_a_document_that_no_frame_holds_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MAX_BYTES", 10)
    with pytest.raises(ValueError, match="bytes are more than a frame holds"):
        encode(1, "", "x" * 20)
