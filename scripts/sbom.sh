#!/bin/sh
# sbom.sh FOLDER: list the packages of the wheels there with all extras, as CycloneDX beside them, and hold the list to the
# pins.
#
# The list is that of this Python and this platform. Everything is installed by hash, and nothing but the package index
# is asked; see SECURITY.md for what is not looked up.
set -eu
wheel=$(echo "$1"/tasuki-*.whl)
root=build/sbom
bom=${wheel%-py3-none-any.whl}.cdx.json
pip=".venv/bin/python -m pip --disable-pip-version-check --quiet"
rm -rf "$root/installed"

install() { # FOLDER REQUIREMENTS; nothing of them is compiled, for next to nothing of them runs
    [ -x "$root/$1/bin/python" ] || .venv/bin/python -m venv --without-pip "$root/$1"
    $pip --python "$root/$1/bin/python" install --no-compile --no-deps --require-hashes --only-binary :all: -r "$2"
}

install tool requirements/sbom.txt
install installed requirements/all.txt
$pip --python "$root/installed/bin/python" install --no-compile --no-deps "$1"/*.whl
$pip --python "$root/installed/bin/python" check
"$root/tool/bin/cyclonedx-py" environment "$root/installed/bin/python" --pyproject pyproject.toml \
    --output-reproducible --output-file "$root/all.json"
.venv/bin/python scripts/sbom.py "$root/all.json" requirements/all.txt "$bom"
