"""Settings of the shop; DATABASE_URL-like variables move it from SQLite to PostgreSQL."""

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY = "only for this example"
DEBUG = os.environ.get("DEBUG") == "1"
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["django.contrib.contenttypes", "tasuki.contrib.django", "orders"]
ROOT_URLCONF = "shop.urls"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

if host := os.environ.get("POSTGRES_HOST"):
    database = {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": host,
        "PORT": os.environ.get("POSTGRES_PORT", "5432"),
        "NAME": os.environ.get("POSTGRES_DB", "postgres"),
        "USER": os.environ.get("POSTGRES_USER", "postgres"),
        "PASSWORD": os.environ.get("POSTGRES_PASSWORD", ""),
        "CONN_MAX_AGE": None,
    }
    TASUKI = {"DATABASE": "default"}  # messages are rows beside the orders: one transaction stores both
else:
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "shop.db"}
    TASUKI = {"URL": "sqlite:///queue.db"}  # beside manage.py; a message waits for the commit of its order

DATABASES = {"default": database}
