#!/bin/sh
# changed-drivers.sh: the drivers whose own files have changed since the last whole run of the faults, which docs/proofs.md
# names with its commit. Without one there is nothing to compare with: it says so, and names no driver.
set -eu
since=$(sed -n 's/^| .*`make faults`.* `\([0-9a-f]\{12\}\)`.*/\1/p' docs/proofs.md)
git cat-file -e "$since^{commit}" 2>/dev/null || {
    echo "docs/proofs.md names no commit of a whole run of the faults that is here: run make faults" >&2
    exit 0
}
for driver in amqp nats postgres redis sqlite sqs; do
    git diff --quiet "$since" -- "src/tasuki/drivers/$driver" "tests/faults/$driver" || echo "$driver"
done
