#!/bin/sh
# test.sh [PYTEST-OPTIONS]: the whole suite under branch coverage, and what must be covered of which files.
#
# The files that decide without I/O are held to every branch: a rule without a test is not a rule.
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
    src/tasuki/registry/changes.py
    src/tasuki/registry/references.py
    src/tasuki/supervisor/order.py
    src/tasuki/supervisor/restart.py
    src/tasuki/supervisor/state.py
    src/tasuki/supervisor/step.py
"

"$python" -m coverage erase
"$python" -m pytest --cov --cov-report= "$@"
"$python" -m coverage report --skip-covered --show-missing --fail-under="$overall"
# shellcheck disable=SC2086
"$python" -m coverage report --show-missing --fail-under=100 --include="$(echo $pure | tr ' ' ',')" | tail -n 3
