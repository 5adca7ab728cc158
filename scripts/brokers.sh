#!/bin/sh
# brokers.sh: install the brokers that the tests start as private child processes; none of them is started here.
#
# With apt and as root they are installed; elsewhere the command to do so is printed, and the tests of what is missing
# skip (with CI=true they fail).
set -eu

need=
command -v redis-server >/dev/null || need="$need redis-server"
command -v valkey-server >/dev/null || need="$need valkey-server"
command -v nats-server >/dev/null || need="$need nats-server"
[ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || need="$need rabbitmq-server"
command -v postgres >/dev/null || ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || need="$need postgresql"

if [ -z "$need" ]; then
    exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "brokers are missing, and their tests skip. On Debian: apt-get install$need" >&2
    exit 0
fi
echo "installing$need"
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    # A package would start its service; the tests start their own.
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
apt-get -qq update
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $need >/dev/null
