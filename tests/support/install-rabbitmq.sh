#!/bin/sh
# Install Debian's RabbitMQ for the suites that need a broker; do nothing where one is there.
set -eu

. "$(dirname "$0")/debian.sh"

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

if [ -n "${SPRINGLINE_RABBITMQ_HOME:-}" ]; then
    if has_server "$SPRINGLINE_RABBITMQ_HOME"; then exit 0; fi
    fail "SPRINGLINE_RABBITMQ_HOME names no RabbitMQ: there is no sbin/rabbitmq-server in it."
fi
if has_server /usr/lib/rabbitmq/lib/*; then exit 0; fi
if ! can_install; then
    fail "RabbitMQ is missing: install rabbitmq-server 3.10 or later, or run this as root on Debian."
fi

echo "Installing RabbitMQ from Debian's packages (about a minute)…"
install_package rabbitmq-server || fail "RabbitMQ could not be installed; apt-get's words are above."
