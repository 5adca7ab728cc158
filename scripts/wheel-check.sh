#!/bin/sh
# wheel-check.sh FOLDER: install the core's wheel from there as a user does, alone and with each extra alone, and use it;
# then the kit for authors of drivers.
#
# Our own wheels come from the folder. Dependencies come as wheels only, in the versions that are pinned; LATEST=1 takes
# the newest ones instead. Says how many packages and megabytes there are, and fails when the core is not small any more.
set -eu
folder=$PWD/$1
wheel=$(echo "$folder"/tasuki-*.whl)
most_packages=11 most_megabytes=36 most_megabytes_of_ours=15 # with the .pyc files
root=$PWD/build/wheel-check
rm -rf "$root"
mkdir -p "$root"
# With their markers: a package may differ between versions of Python.
sed -n 's/^\([a-z][^ ]*==[^\\]*[^\\ ]\) *\\$/\1/p' requirements/dev.txt > "$root/constraints.txt"
[ -z "${LATEST:-}" ] || : > "$root/constraints.txt"

install() { # FOLDER REQUIREMENT; most of its modules are never imported, so none is compiled here
    .venv/bin/python -m venv --without-pip "$root/$1"
    .venv/bin/python -m pip --disable-pip-version-check --quiet --python "$root/$1/bin/python" \
        install --only-binary :all: --no-compile --find-links "$folder" --constraint "$root/constraints.txt" "$2"
}

use() { # FOLDER: from a folder of its own, so that nothing of the source tree is found by accident
    (
        cd "$root/$1"
        bin/python -c 'import tasuki; assert "site-packages" in tasuki.__file__, tasuki.__file__'
        bin/tasuki --help > /dev/null
        bin/python -m tasuki --help > /dev/null
        bin/tasuki init project --lua > /dev/null
        cd project
        ../bin/tasuki check
        ../bin/tasuki test
    )
}

size() { # FOLDER [PATTERN]: kilobytes in its files, without those of that name
    find "$1" -type f ! -name "${2:-}" -exec cat {} + | wc -c | awk '{ print int($1 / 1024) }'
}

measure() { # FOLDER [PATTERN]: "PACKAGES MEGABYTES"
    packages=$(ls -d "$root/$1"/lib/python*/site-packages/*.dist-info | wc -l)
    kilobytes=$(size "$(echo "$root/$1"/lib/python*/site-packages)" "${2:-}")
    echo "$((packages)) $(((kilobytes + 1023) / 1024))"
}

lacks() { # FOLDER MODULE...: fails if one of them is there
    "$root/$1/bin/python" - "$@" <<END
import importlib.util, sys
for name in sys.argv[2:]:
    assert importlib.util.find_spec(name) is None, f"{sys.argv[1]}: {name} is there"
END
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
lacks core tasuki.desk tasuki.top tasuki.mcp tasuki.testing.conformance tasuki.testing.mutants tasuki.testing.proxy
for command in "desk=desk" "run --admin 127.0.0.1:0=desk" "top --once=top" "mcp=mcp"; do
    # shellcheck disable=SC2086 # words
    (cd "$root/core/project" && ../bin/tasuki ${command%=*} 2>&1 < /dev/null || true) |
        grep -q "needs tasuki-desk.*: pip install 'tasuki\[${command#*=}\]'" ||
        { echo "tasuki ${command%=*}: no word of its extra" >&2; exit 1; }
done
"$root/core/bin/python" -m compileall -q "$root"/core/lib/python*/site-packages
measured=$(measure core)
packages=${measured% *} megabytes=${measured#* }
ours=$((($(size "$(echo "$root"/core/lib/python*/site-packages/tasuki)") + 1023) / 1024))
echo "core: $packages packages, $megabytes MB with .pyc files, $ours of them ours"
if [ "$packages" -gt "$most_packages" ] || [ "$megabytes" -gt "$most_megabytes" ] ||
    [ "$ours" -gt "$most_megabytes_of_ours" ]; then
    echo "the core is meant to stay within $most_packages packages and $most_megabytes MB," \
        "$most_megabytes_of_ours of them ours" >&2
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
    desk) "$root/extra-desk/bin/python" -c 'import tasuki.desk.desk' ;;
    mcp) "$root/extra-mcp/bin/python" -c 'import tasuki.mcp.running, tasuki.mcp.serving' ;;
    top) (cd "$root/extra-top/project" && ../bin/tasuki top --once) | grep -q QUEUE ;;
    all) ;;
    *) lacks "extra-$extra" tasuki.desk ;;
    esac
    measured=$(measure "extra-$extra" '*.pyc')
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

install driverkit "$(echo "$folder"/tasuki_driverkit-*.whl)"
use driverkit
"$root/driverkit/bin/python" -c 'import tasuki.testing.conformance.stores, tasuki.testing.mutants, tasuki.testing.proxy'
echo "tasuki-driverkit: installed"
