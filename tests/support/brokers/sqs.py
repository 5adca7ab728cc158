"""SQS: fauxqs, an emulator in node; ``scripts/brokers.sh`` installs it below ``build/``.

It keeps everything in memory: a restart empties it, so what Amazon's SQS keeps over its own failures is not tested.
"""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.brokers.broker import Broker, missing

_SERVER = Path(__file__).parents[3] / "build/sqs/node_modules/fauxqs/dist/server.js"
PACKAGE = _SERVER.parents[1] / "package.json"
_PRELOADED = Path(__file__).with_name("fauxqs.mjs")


class SQS(Broker):
    """An empty emulator; any keys will do."""

    name = "sqs"
    package = "nodejs npm"
    address = "http://127.0.0.1:{port}"

    def command(self) -> Sequence[str]:
        """Node, with the preloaded module that keeps it on the loopback."""
        node = self.binary("node")
        if not _SERVER.exists():
            missing("fauxqs", "run scripts/brokers.sh")
        return [node, "--import", _PRELOADED.as_uri(), str(_SERVER)]

    def environment(self) -> Mapping[str, str]:
        """The port, and no log of requests."""
        return {"FAUXQS_PORT": str(self.port), "FAUXQS_LOGGER": "false"}

    def is_ready(self) -> bool:
        """Its own health check."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=1) as answer:
            return bool(answer.status == 200)
