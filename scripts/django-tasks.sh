#!/bin/sh
# django-tasks.sh [VERSION]: run the tests of django.tasks, which are in Django's source package only, against our backend.
#
# They need Django 6, so Python 3.12 or newer: the environment is the one of compat.sh. A machine without such a Python is
# told so, and is no failure.
set -eu
version=${1:-}
for each in ${version:-3.13 3.12 3.14}; do
    if sh scripts/find-python.sh "$each" >/dev/null; then
        version=$each
        break
    fi
done
if [ -z "$version" ]; then
    echo "django-tasks: no Python 3.12, 3.13 or 3.14 was found here"
    exit 0
fi
venv=build/compat/$version
if [ requirements/dev.txt -nt "$venv/.installed" ] || [ pyproject.toml -nt "$venv/.installed" ]; then
    sh scripts/venv.sh "$venv" requirements/dev.txt "$version"
    touch "$venv/.installed"
fi
django=$("$venv/bin/python" -c 'import django; print(django.__version__)')
source=build/django-$django
if [ ! -d "$source/tests/tasks" ]; then
    rm -rf "$source" && mkdir -p "$source"
    # The pinned version, held to its hash.
    sed -n "/^django==$django /,/# via/p" requirements/dev.txt > "$source/requirements.txt"
    "$venv/bin/python" -m pip --disable-pip-version-check --quiet download --no-deps --require-hashes \
        --no-binary django --dest "$source" -r "$source/requirements.txt"
    tar -xzf "$source"/*.tar.gz -C "$source" --strip-components 1 "django-$django/tests/tasks"
fi
exec "$venv/bin/python" -m tests.django_suite "$source/tests/tasks"
