#!/bin/sh
# venv.sh FOLDER REQUIREMENTS [VERSION]: bring a virtual environment to what a requirements file pins, hash by hash,
# and put the project into it as it lies here.
set -eu
venv=$1 requirements=$2 version=${3:-}

if ! "$venv/bin/python" -c 'import pip' 2>/dev/null; then
    python=$(sh scripts/find-python.sh "$version")
    echo "$venv: a virtual environment of $("$python" --version)"
    rm -rf "$venv"
    "$python" -m venv "$venv"
fi
echo "$venv: installing $requirements"
pip="$venv/bin/python -m pip --disable-pip-version-check --quiet"
# The file holds all that its packages need. Without --no-deps, pip before 23.3 looks for a newer coverage[toml] than
# the pinned coverage, and then refuses it.
$pip install --no-deps --require-hashes --only-binary :all: -r "$requirements"
$pip check
# Without isolation the build uses the pinned build backend; without dependencies nothing unpinned can slip in.
$pip install --no-deps --no-build-isolation --editable .
