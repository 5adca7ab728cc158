#!/bin/sh
# test.sh [PYTEST-OPTIONS]: the whole suite under branch coverage, and what must be covered of which files.
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

"$python" -m coverage erase
"$python" -m pytest --cov --cov-report= "$@"
"$python" -m coverage report --skip-covered --show-missing --fail-under="$overall"
set -f # the patterns are coverage's to expand
# shellcheck disable=SC2086
set -- $pure
"$python" -m coverage report --skip-covered --show-missing --fail-under=100 --include="$(IFS=,; echo "$*")"
