#!/bin/sh
# test.sh [PYTEST-OPTIONS]: every test but the faults; in CI also how much of each file they cover, which takes half as
# long again.
#
# The files that decide (most of them without I/O) are held to every branch: a rule without a test is not a rule.
set -eu
python=.venv/bin/python
overall=95
pure="
    src/tasuki/errors.py
    src/tasuki/message.py
    src/tasuki/backoff.py
    src/tasuki/units.py
    src/tasuki/consumers/verdict.py
    src/tasuki/consumers/window.py
    src/tasuki/registry/*
    src/tasuki/security/*
    src/tasuki/supervisor/*
"

if [ "${CI:-}" != true ]; then
    exec "$python" -m pytest --ignore tests/faults "$@"
fi
"$python" -m coverage erase
"$python" -m pytest --ignore tests/faults --cov --cov-report= "$@"
"$python" -m coverage report --skip-covered --show-missing --fail-under="$overall"
set -f # the patterns are coverage's to expand
# shellcheck disable=SC2086
set -- $pure
"$python" -m coverage report --skip-covered --show-missing --fail-under=100 --include="$(IFS=,; echo "$*")"
