"""Where and as whom to connect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

_AWS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a client is made of; without keys AWS's own chain is asked (environment, files, role of the machine)."""

    region: str | None = None
    access_key_id: str | None = field(default=None, repr=False)
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    profile: str | None = None
    endpoint: str | None = None
    use_fips: bool = False
    use_dual_stack: bool = False
    connect_timeout: float = 5.0
    request_timeout: float = 10.0
    """Seconds for a request; the wait of a long poll comes on top."""

    @property
    def is_aws(self) -> bool:
        """Whether this is Amazon's own SQS, whose durability is known."""
        if self.endpoint is None:
            return True
        host = urlsplit(self.endpoint).hostname or ""
        return host.endswith(_AWS)


def settings(config: Mapping[str, Any] | None, **fields: Any) -> Settings:
    """From the fields of a ``config.aws`` entry and those of the driver."""
    return Settings(**{name: value for name, value in (config or {}).items() if value is not None}, **fields)
