#!/bin/sh
# Install Debian's RabbitMQ for the suites that need a broker; do nothing where one is there.
#
# Only the files are wanted: tests start private nodes (tests/support/rabbitmq.py), so the service
# that comes with the package is kept from starting.
set -eu

policy=/usr/sbin/policy-rc.d
made_policy=
log=

clean_up() {
    if [ -n "$made_policy" ]; then rm -f "$policy"; fi
    if [ -n "$log" ]; then rm -f "$log"; fi
}

has_server() {
    for home in "$@"; do
        if [ -f "$home/sbin/rabbitmq-server" ]; then return 0; fi
    done
    return 1
}

fail() {
    echo "$1" >&2
    exit 1
}

# Debian's way to say that services are not to be started: 101 is "action forbidden by policy".
forbid_services() {
    if [ -e "$policy" ]; then return 0; fi
    made_policy=yes
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
}

install() {
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends rabbitmq-server
}

if [ -n "${SPRINGLINE_RABBITMQ_HOME:-}" ]; then
    if has_server "$SPRINGLINE_RABBITMQ_HOME"; then exit 0; fi
    fail "SPRINGLINE_RABBITMQ_HOME names no RabbitMQ: there is no sbin/rabbitmq-server in it."
fi
if has_server /usr/lib/rabbitmq/lib/*; then exit 0; fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    fail "RabbitMQ is missing: install rabbitmq-server 3.10 or later, or run this as root on Debian."
fi

trap clean_up EXIT
# dash runs the EXIT trap on exit only, not when a signal ends it.
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

echo "Installing RabbitMQ from Debian's packages (about a minute)…"
log=$(mktemp)
forbid_services
# The package lists are often missing or stale in a container, and then have to be fetched first.
if ! install >"$log" 2>&1; then
    if ! { apt-get update && install; } >"$log" 2>&1; then
        cat "$log" >&2
        fail "RabbitMQ could not be installed; apt-get's words are above."
    fi
fi
