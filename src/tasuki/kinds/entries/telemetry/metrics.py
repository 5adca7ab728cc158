"""``metrics.config``: where the metrics of an app go by themselves."""

from __future__ import annotations

from tasuki.fields.kinds import Kind
from tasuki.fields.types import Config, Flag


class MetricsConfig(Config):
    """What happens to metrics without a request for them; at most one such entry."""

    opentelemetry: Flag = False
    """Give them to OpenTelemetry's meters. Needs the extra tasuki[metrics]."""


KINDS = (Kind("metrics.config", MetricsConfig),)
