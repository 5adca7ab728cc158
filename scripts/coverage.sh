#!/bin/sh
# coverage.sh [PYTEST-OPTIONS]: run all tests, and measure branch coverage.
#
# Measuring doubles what a process computes, so those that go on (workers, what the faults kill) are left out: tests that
# call the code and short commands have to reach it. The files that decide (most of them without I/O) are held to every
# branch by the tests without faults: a rule without a test is not a rule. Tests that look for examples and run checkers
# are not measured: no file is covered by them alone. All files together are held to a share, faults included.
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
    src/tasuki/state/job_status.py
    src/tasuki/dead/selection.py
    src/tasuki/app/measuring/whole.py
    src/tasuki/app/health/report.py
    src/tasuki/app/health/rules.py
    src/tasuki/observe/events.py
    src/tasuki/units.py
    src/tasuki/parts.py
    src/tasuki/queues/messages/beginning.py
    src/tasuki/queues/dead_letter.py
    src/tasuki/observe/redact.py
    src/tasuki/observe/trace.py
    src/tasuki/observe/tracebacks.py
    src/tasuki/flow/attempts.py
    src/tasuki/tracing/rules.py
    src/tasuki/drivers/memory/lanes.py
    src/tasuki/drivers/toolkit/limits.py
    src/tasuki/consumers/fetching/window.py
    src/tasuki/consumers/handling/outcome.py
    src/tasuki/consumers/settling/verdict.py
    src/tasuki/queues/dead/*
    src/tasuki/registry/*
    src/tasuki/security/*
    src/tasuki/schedules/wheel.py
    src/tasuki/schedules/schedule.py
    src/tasuki/schedules/wheel.py
    src/tasuki/schedules/cron.py
    src/tasuki/schedules/timing.py
    src/tasuki/schedules/wall_time.py
    src/tasuki/supervisor/*.py
    src/tasuki/supervisor/children/frames.py
    src/tasuki/observe/metrics.py
    src/tasuki/app/dry_run/report.py
    src/tasuki/dead/editing/body.py
    src/tasuki/dead/editing/document.py
    src/tasuki/dead/editing/headers.py
    src/tasuki/dead/editing/problems.py
    src/tasuki/dead/test_case.py
    src/tasuki/observe/history.py
    src/tasuki/desk/reading/message_rows.py
    src/tasuki/desk/reading/attention.py
    src/tasuki/state/worker_record.py
    src/tasuki/consumers/reports/snapshot.py
    src/tasuki/desk/topology.py
    src/tasuki/observe/exposition/series.py
    src/tasuki/observe/exposition/series.py
    src/tasuki/observe/exposition/snapshots.py
    src/tasuki/dead/batch.py
    src/tasuki/dead/forms.py
    src/tasuki/dead/steps.py
"

for path in $pure; do # a file that has moved must not leave the list unseen
    [ -e "$path" ] || { echo "$0: no such file: $path" >&2; exit 1; }
done
faults=tests/faults
covered="--cov --cov-append --cov-report="
failed=
"$python" -m coverage erase
# shellcheck disable=SC2086
sh scripts/test.sh $measured $covered "$@" || failed=yes
# shellcheck disable=SC2046,SC2086
sh scripts/test.sh --ignore "$faults" $(printf -- '--ignore %s ' $measured) "$@" || failed=yes
set -f # the patterns are coverage's to expand
# shellcheck disable=SC2086
rules=$(printf '%s,' $pure)
"$python" -m coverage report --skip-covered --show-missing --fail-under=100 --include="${rules%,}" || failed=yes
# shellcheck disable=SC2086
sh scripts/test.sh "$faults" $covered "$@" || failed=yes
"$python" -m coverage report --skip-covered --show-missing --fail-under="$overall" || failed=yes
[ -z "$failed" ]
