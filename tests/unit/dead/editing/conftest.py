"""Apps that are closed at the end."""

from tests.unit.app.conftest import make_app

__all__ = ["make_app"]
