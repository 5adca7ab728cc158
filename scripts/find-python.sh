#!/bin/sh
# find-python.sh [VERSION]: print a supported Python that can make virtual environments, or say what is missing.
#
# Without VERSION: $PYTHON if that is set, else the first good one, python3 before the others.
# Exit 1: there is none. Exit 2: there is one, but its venv module is not installed.
set -eu

candidates() {
    if [ -n "${1:-}" ]; then
        echo "python$1"
        # A pyenv shim exists for every version and works only for the chosen ones; the real thing is here.
        ls -d "${PYENV_ROOT:-${HOME:-}/.pyenv}/versions/$1".*/bin/"python$1" 2>/dev/null || true
    elif [ -n "${PYTHON:-}" ]; then
        echo "$PYTHON"
    else
        echo python3
        for version in 3.13 3.12 3.11 3.14; do candidates "$version"; done
    fi
}

is_supported() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null
}

without_venv=
for python in $(candidates "${1:-}"); do
    is_supported "$python" || continue
    if "$python" -c 'import venv, ensurepip' 2>/dev/null; then
        "$python" -c 'import sys; print(sys.executable)'
        exit 0
    fi
    without_venv=${without_venv:-$python}
done

if [ -n "$without_venv" ]; then
    version=$("$without_venv" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    sudo=sudo
    [ "$(id -u)" -ne 0 ] || sudo=
    {
        echo "$without_venv (Python $version) cannot make virtual environments: its venv module is not installed."
        echo "On Debian and Ubuntu, install it with:"
        echo "    ${sudo:+$sudo }apt-get install python$version-venv"
        echo "Or name another Python, 3.11 to 3.14:  make PYTHON=/path/to/python3 ..."
    } >&2
    exit 2
fi
if [ -z "${1:-}" ]; then
    echo "No Python 3.11 to 3.14 was found${PYTHON:+ behind PYTHON=$PYTHON}. Name one: make PYTHON=/path/to/python3 ..." >&2
fi
exit 1
