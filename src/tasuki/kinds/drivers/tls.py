"""The ``tls`` of a driver: encryption, whom to trust, and who we are."""

from __future__ import annotations

from pydantic import model_validator

from tasuki.kinds.fields import Config, Flag, Text, at_field


class TlsConfig(Config):
    """How a connection is encrypted."""

    enabled: Flag = True
    """Whether it is."""
    server_name: Text | None = None
    """The name that the broker's certificate must have; the host of the address if not given."""
    cert: Text | None = None
    """File with the client's certificate (PEM)."""
    key: Text | None = None
    """File with the client's key (PEM)."""
    ca: Text | None = None
    """File with the certificates to trust (PEM); those of the system if not given."""
    insecure_skip_verify: Flag = False
    """Trust any certificate; for development. The driver warns of it when it is made."""

    @model_validator(mode="after")
    def _a_certificate_has_a_key(self) -> TlsConfig:
        if (self.cert is None) != (self.key is None):
            raise at_field("cert", "cert and key belong together: give both, or neither")
        return self


def check_agreement(tls: TlsConfig | None, address: str, *, is_encrypted: bool) -> None:
    """Return unless ``tls`` and the address of one entry contradict each other.

    ``address`` is the part of the address that decides, such as ``rediss://``; ``is_encrypted``: what it says.

    Raises:
        PydanticCustomError: they do.
    """
    if tls is not None and tls.enabled != is_encrypted:
        says = "true" if tls.enabled else "false"
        raise at_field("tls", f"tls: enabled: {says} contradicts {address} in the address; change one of them")
