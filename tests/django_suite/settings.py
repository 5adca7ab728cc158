"""Settings for Django's tests; they bring their own TASKS."""

SECRET_KEY = "for tests"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
INSTALLED_APPS = ["tasuki.contrib.django"]
TASUKI = {"URL": "memory://"}
USE_TZ = True
