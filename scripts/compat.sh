#!/bin/sh
# compat.sh [VERSION...]: the unit tests, and the conformance suite of a driver without and of two with a compiled client,
# on every other supported Python of this machine; WORKERS: test processes.
#
# Each has its own environment below build/compat. A Python that is not here is named, and is no failure.
set -eu
here=$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
[ $# -gt 0 ] || set -- 3.11 3.12 3.13 3.14
summary= failed=
conformance=tests/conformance
suites="tests/unit $conformance/test_memory.py $conformance/test_sqlite.py
    $conformance/test_redis.py::TestRedis $conformance/test_postgres.py::TestPostgres"

note() {
    summary="$summary
    $1: $2"
}

for version; do
    if [ "$version" = "$here" ]; then
        note "$version" "the one that make test uses"
        continue
    fi
    if ! sh scripts/find-python.sh "$version" >/dev/null; then
        note "$version" "not found here"
        continue
    fi
    venv=build/compat/$version
    if [ requirements/dev.txt -nt "$venv/.installed" ] || [ pyproject.toml -nt "$venv/.installed" ]; then
        sh scripts/venv.sh "$venv" requirements/dev.txt "$version"
        touch "$venv/.installed"
    fi
    # CI's machines are busy with others, too: what fails beside other tests may show that it passes alone.
    # shellcheck disable=SC2086
    if "$venv/bin/python" -m pytest $suites --quiet --numprocesses "${WORKERS:-auto}" || {
        echo "again, one at a time: what fails now has failed"
        "$venv/bin/python" -m pytest $suites --quiet --numprocesses 0 --last-failed --last-failed-no-failures none
    }; then
        note "$version" passed
    else
        note "$version" FAILED
        failed=yes
    fi
done
echo "compatibility:$summary"
[ -z "$failed" ]
