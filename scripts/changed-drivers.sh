#!/bin/sh
# changed-drivers.sh: the drivers whose own files have changed since the last whole run of the faults, which docs/proofs.md
# names; all of them, if this clone does not have its commit.
set -eu
since=$(sed -n 's/^| .*`make faults`.* `\([0-9a-f]\{12\}\)`.*/\1/p' docs/proofs.md)
git cat-file -e "$since^{commit}" 2>/dev/null || since=
for driver in amqp nats postgres redis sqlite sqs; do
    [ -n "$since" ] && git diff --quiet "$since" -- "src/tasuki/drivers/$driver" "tests/faults/$driver" || echo "$driver"
done
