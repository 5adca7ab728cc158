#!/bin/sh
# lock.sh [UV-OPTIONS]: pin what the project needs (run.txt, with all extras all.txt), what its developers need (dev.txt)
# and what makes fuzzing look at coverage where there is a wheel for it (fuzz.txt), the newest NATS (nats.txt), what makes
# the site (docs.txt) and what lists the packages of a release (sbom.txt), with hashes. The wheels in dist/ are ours: no file names them.
#
# One resolution for Python 3.11 to 3.14 and all platforms; it is then proven that wheels alone satisfy each of them.
# The files name no index, so that any mirror can serve them. Options go to uv, such as --upgrade-package NAME.
set -eu
uv=build/lock/bin/uv

if [ ! -x "$uv" ]; then
    "$(sh scripts/find-python.sh)" -m venv build/lock
    build/lock/bin/python -m pip --disable-pip-version-check --quiet install --only-binary :all: uv
fi

compile() {
    output=$1
    shift
    "$uv" pip compile --quiet --universal --python-version 3.11 --only-binary :all: --generate-hashes \
        --find-links dist --no-emit-package tasuki --no-emit-package tasuki-desk --no-header \
        --no-emit-index-url --annotation-style line --output-file "$output" "$@"
}
compile requirements/dev.txt pyproject.toml requirements/build.in --group dev --all-extras "$@"
# These two may not choose versions of their own.
compile requirements/run.txt pyproject.toml requirements/build.in --constraint requirements/dev.txt
compile requirements/all.txt pyproject.toml --all-extras --constraint requirements/dev.txt
compile requirements/docs.txt pyproject.toml requirements/build.in requirements/docs.in --constraint requirements/dev.txt "$@"
compile requirements/fuzz.txt requirements/fuzz.in "$@"
compile requirements/nats.txt requirements/nats.in "$@"
compile requirements/sbom.txt requirements/sbom.in "$@"

if grep -n '://' requirements/*.txt; then
    echo "the lines above name a host; requirements must work with any index" >&2
    exit 1
fi
for version in 3.11 3.12 3.13 3.14; do
    for platform in x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu aarch64-apple-darwin; do
        "$uv" pip install --quiet --dry-run --no-python-downloads --require-hashes --only-binary :all: \
            --python-version "$version" --python-platform "$platform" --target build/lock/none -r requirements/dev.txt
        echo "wheels for everything: Python $version, $platform"
    done
done
