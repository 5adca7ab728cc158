#!/bin/sh
# paperless.sh: port paperless-ngx, a public Celery application, to Tasuki; run its queue-related tests on both, and kill it.
#
# It fetches the application at a fixed tag. PAPERLESS_GIT names another repository, such as a copy on this machine.
# The application needs these packages of Debian: tesseract-ocr libmagic1 libzbar0 gnupg fonts-liberation.
set -eu
tag=v2.20.15
commit=05e48b23166df7c7afe6f329b460b0511a89496c
from=${PAPERLESS_GIT:-https://github.com/paperless-ngx/paperless-ngx}
folder=build/paperless
python=$folder/venv/bin/python

if [ ! -f "$folder/celery/pyproject.toml" ]; then
    rm -rf "$folder/celery" "$folder/git" && mkdir -p "$folder/celery"
    if [ -d "$from" ]; then
        git=$from
    else
        git=$folder/git
        git init --quiet --bare "$git"
        git --git-dir "$git" remote add origin "$from"
        git --git-dir "$git" fetch --quiet --depth 1 --filter blob:none origin "refs/tags/$tag:refs/tags/$tag"
    fi
    found=$(git --git-dir "$git" rev-parse "$tag^{commit}")
    if [ "$found" != "$commit" ]; then
        echo "paperless: the tag $tag is $found, not $commit: read what has changed before you run it"
        exit 1
    fi
    git --git-dir "$git" archive "$tag" src pyproject.toml | tar -xf - -C "$folder/celery"
fi
if [ "$folder/celery/pyproject.toml" -nt "$folder/venv/.installed" ] || [ ! -f "$folder/venv/.installed" ]; then
    rm -rf "$folder/venv"
    "$(sh scripts/find-python.sh)" -m venv "$folder/venv"
    # What its pyproject.toml lists, in the versions that it allows; its lock file is for another installer.
    "$python" - "$folder/celery/pyproject.toml" > "$folder/requirements.txt" <<'LIST'
import sys
import tomllib

with open(sys.argv[1], "rb") as file:
    read = tomllib.load(file)
print("\n".join([*read["project"]["dependencies"], *read["dependency-groups"]["testing"]]))
LIST
    "$python" -m pip --disable-pip-version-check --quiet install -r "$folder/requirements.txt" --editable .
    touch "$folder/venv/.installed"
fi
if ! "$python" -c 'import magic, pyzbar.pyzbar' || ! command -v tesseract >/dev/null; then
    echo "paperless: install tesseract-ocr, libmagic1, libzbar0, gnupg and fonts-liberation first"
    exit 1
fi
PYTHONPATH=. exec "$python" -m tests.paperless "$folder/celery" "$python"
