"""Settings for the kills: paperless's own, without Redis, which it needs for the progress bars of browsers only."""

from paperless.settings import *  # type: ignore[import-not-found]  # noqa: F403 - Django's way to extend settings

CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
