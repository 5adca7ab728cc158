#!/bin/sh
# brokers.sh: install the brokers that the tests start as private child processes, the browser that looks at the desk, and
# the terminal that shows tasuki top; none of them is started here.
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
command -v pgbouncer >/dev/null || [ -x /usr/sbin/pgbouncer ] || need="$need pgbouncer"
command -v mariadbd >/dev/null || [ -x /usr/sbin/mariadbd ] || need="$need mariadb-server"

# Parses the alerts of docs/monitoring; a package of its own in newer distributions only.
command -v promtool >/dev/null || ! apt-cache show promtool >/dev/null 2>&1 || need="$need promtool"
# Its fonts: without them Japanese text is boxes on the pictures.
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || need="$need chromium fonts-noto-cjk"
# Makes them small for the documentation.
command -v pngquant >/dev/null || need="$need pngquant"

# The terminal in which the tests run tasuki top.
command -v tmux >/dev/null || need="$need tmux"

command -v npm >/dev/null || need="$need nodejs npm"

# SQS is Amazon's own: the tests use fauxqs, an emulator for node 20, which they keep on the loopback.
install_emulator() {
    if [ ! -e build/sqs/node_modules/fauxqs ] && command -v npm >/dev/null; then
        npm install --silent --no-save --no-package-lock --no-audit --no-fund --prefix build/sqs fauxqs@1.9.2
    fi
}

if [ -z "$need" ]; then
    install_emulator
    exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    install_emulator
    echo "programs are missing, and their tests skip. On Debian: apt-get install$need" >&2
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
install_emulator
