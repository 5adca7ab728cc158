#!/bin/sh
# wheel-check.sh WHEEL: install the wheel as a user does, alone and with each extra alone, and use it.
#
# Dependencies come as wheels only, in the versions that are pinned; LATEST=1 takes the newest ones instead. Says how
# many packages and megabytes there are, and fails when the core is not small any more.
set -eu
wheel=$1
most_packages=11 most_megabytes=28
root=$PWD/build/wheel-check
rm -rf "$root"
mkdir -p "$root"
# With their markers: a package may differ between versions of Python.
sed -n 's/^\([a-z][^ ]*==[^\\]*[^\\ ]\) *\\$/\1/p' requirements/dev.txt > "$root/constraints.txt"
[ -z "${LATEST:-}" ] || : > "$root/constraints.txt"

install() { # FOLDER REQUIREMENT; most of its modules are never imported, so none is compiled here
    .venv/bin/python -m venv --without-pip "$root/$1"
    .venv/bin/python -m pip --disable-pip-version-check --quiet --python "$root/$1/bin/python" \
        install --only-binary :all: --no-compile --constraint "$root/constraints.txt" "$2"
}

use() { # FOLDER: from a folder of its own, so that nothing of the source tree is found by accident
    (
        cd "$root/$1"
        bin/python -c 'import tasuki; assert "site-packages" in tasuki.__file__, tasuki.__file__'
        bin/python -c 'import tasuki.testing.mutants, tasuki.testing.proxy'  # what an author of a driver needs
        bin/tasuki --help > /dev/null
        bin/python -m tasuki --help > /dev/null
        bin/tasuki init project --lua > /dev/null
        cd project
        ../bin/tasuki check
        ../bin/tasuki test
    )
}

measure() { # FOLDER: "PACKAGES MEGABYTES"
    packages=$(ls -d "$root/$1"/lib/python*/site-packages/*.dist-info | wc -l)
    kilobytes=$(find "$root/$1"/lib/python*/site-packages -name __pycache__ -prune -o -type f -print |
        tr '\n' '\0' | xargs -0 du -k -c | awk '$2 == "total" { sum += $1 } END { print sum }')
    echo "$((packages)) $(((kilobytes + 1023) / 1024))"
}

# What is told where a driver's client is missing names the extra; where it is there, the broker is looked for.
told() { # FOLDER DRIVER: what a command says that needs the broker
    (cd "$root/$1/project" && ../bin/tasuki info tasks -o "app:driver:kind=queue.driver.$2" 2>&1 || true)
}

install core "$wheel"
use core
for driver in amqp nats postgres redis sqs; do
    told core "$driver" | grep -q "pip install 'tasuki\[$driver\]'" || { echo "$driver: no word of its extra" >&2; exit 1; }
    # Its capabilities are known without it.
    (cd "$root/core/project" && ../bin/tasuki check -o "app:driver:kind=queue.driver.$driver" >/dev/null)
done
measured=$(measure core)
packages=${measured% *} megabytes=${measured#* }
echo "core: $packages packages, $megabytes MB"
if [ "$packages" -gt "$most_packages" ] || [ "$megabytes" -gt "$most_megabytes" ]; then
    echo "the core is meant to stay within $most_packages packages and $most_megabytes MB" >&2
    exit 1
fi

extras=$("$root/core/bin/python" -c '
import importlib.metadata
print(*importlib.metadata.metadata("tasuki").get_all("Provides-Extra") or [])')
try() { # EXTRA
    extra=$1
    install "extra-$extra" "$wheel[$extra]"
    use "extra-$extra"
    case $extra in
    amqp | nats | postgres | redis | sqs)
        if told "extra-$extra" "$extra" | grep "pip install"; then
            echo "[$extra] is not enough for its driver" >&2
            exit 1
        fi
        ;;
    esac
    measured=$(measure "extra-$extra")
    echo "[$extra]: ${measured% *} packages, ${measured#* } MB"
}

# Side by side: most of the time each waits for the index, or for the one command that runs.
running= failed=
for extra in $extras; do
    try "$extra" > "$root/$extra.log" 2>&1 &
    running="$running $extra:$!"
done
for one in $running; do
    wait "${one#*:}" || failed="$failed [${one%:*}]"
    cat "$root/${one%:*}.log"
done
[ -z "$failed" ] || { echo "failed:$failed" >&2; exit 1; }
