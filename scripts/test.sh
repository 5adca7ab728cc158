#!/bin/sh
# test.sh PYTEST-OPTIONS: run tests. In CI what fails runs once more, alone: its machines are busy with others, too.
set -eu
python=.venv/bin/python
"$python" -m pytest "$@" && exit
[ "${CI:-}" = true ] || exit 1
echo "again, one at a time: what fails now has failed"
exec "$python" -m pytest "$@" --last-failed --last-failed-no-failures none --numprocesses 0
