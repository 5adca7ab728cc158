#!/bin/sh
# test.sh [PYTEST-OPTIONS]: run every test but the faults. In CI also hold the code to its branch coverage.
#
# Measuring doubles what a test computes, so CI runs the suite in two parts. The first is measured, in the processes of
# the tests alone: the files that decide (most of them without I/O) are held to every branch, for a rule without a test is
# not a rule; all files together to a share. What a command does as a process of its own does not count: a test that calls
# the code has to reach it. The second part looks for examples and runs checkers; no file is covered by it alone.
set -eu
python=.venv/bin/python
overall=95
measured="tests/unit tests/conformance tests/e2e"
pure="
    src/tasuki/errors.py
    src/tasuki/message.py
    src/tasuki/backoff.py
    src/tasuki/app/explain/facts.py
    src/tasuki/app/explain/rule.py
    src/tasuki/app/dead/choice.py
    src/tasuki/app/health/report.py
    src/tasuki/app/health/rules.py
    src/tasuki/observe/events.py
    src/tasuki/units.py
    src/tasuki/observe/trace.py
    src/tasuki/observe/tracebacks.py
    src/tasuki/desk/reading/tracebacks.py
    src/tasuki/flow/attempts.py
    src/tasuki/tracing/names.py
    src/tasuki/tracing/deciding.py
    src/tasuki/tracing/endings.py
    src/tasuki/drivers/memory/lanes.py
    src/tasuki/drivers/toolkit/limits.py
    src/tasuki/consumers/fetching/window.py
    src/tasuki/consumers/handling/outcome.py
    src/tasuki/consumers/settling/verdict.py
    src/tasuki/queues/dead/*
    src/tasuki/registry/*
    src/tasuki/registry/yaml/*
    src/tasuki/security/*
    src/tasuki/security/expressions/*
    src/tasuki/schedules/catch_up.py
    src/tasuki/schedules/schedule.py
    src/tasuki/schedules/wheel.py
    src/tasuki/schedules/times/*
    src/tasuki/supervisor/*.py
    src/tasuki/supervisor/children/frames.py
    src/tasuki/observe/waits.py
    src/tasuki/workbench/dry_run/report.py
    src/tasuki/workbench/editing/body.py
    src/tasuki/workbench/editing/document.py
    src/tasuki/workbench/editing/headers.py
    src/tasuki/workbench/editing/places.py
    src/tasuki/workbench/editing/problems.py
    src/tasuki/workbench/test_case.py
    src/tasuki/observe/history/*
    src/tasuki/desk/reading/listed/timing.py
    src/tasuki/desk/reading/observed/gone.py
    src/tasuki/desk/topology/*
    src/tasuki/observe/exposition/handlers.py
    src/tasuki/observe/exposition/series.py
    src/tasuki/observe/exposition/snapshots.py
    src/tasuki/workbench/batches/rules/*
"

for path in $pure; do # a file that has moved must not leave the list unseen
    [ -e "$path" ] || { echo "$0: no such file: $path" >&2; exit 1; }
done
if [ "${CI:-}" != true ]; then
    exec "$python" -m pytest --ignore tests/faults "$@"
fi

# CI's machines are busy with others, too: what fails beside other tests may show that it passes alone.
twice() {
    "$python" -m pytest "$@" || {
        echo "again, one at a time: what fails now has failed"
        "$python" -m pytest "$@" --last-failed --last-failed-no-failures none --numprocesses 0
    }
}
"$python" -m coverage erase
failed=
# shellcheck disable=SC2086
twice $measured --cov --cov-append --cov-report= "$@" || failed=yes
# shellcheck disable=SC2046,SC2086
twice --ignore tests/faults $(printf -- '--ignore %s ' $measured) "$@" || failed=yes
[ -z "$failed" ] || exit 1
set -f # the patterns are coverage's to expand
# shellcheck disable=SC2086
set -- $pure
"$python" -m coverage report --skip-covered --show-missing --fail-under=100 --include="$(IFS=,; echo "$*")"
"$python" -m coverage report --skip-covered --show-missing --fail-under="$overall"
