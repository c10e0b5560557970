#!/bin/sh
# Get Prometheus and promtool for the tests of the alerts and the dashboard, unless they are there.
#
# What is in PATH is used as it is. Otherwise Debian's package is unpacked into a cache outside the
# repository, so nothing is installed and no service starts. What cannot be had makes tests skip and
# say why, so this never fails; see support/prometheus.py.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
. "$here/debian.sh"

without() {
    echo "The tests that use Prometheus will not run: $1"
    exit 0
}

if command -v prometheus >/dev/null && command -v promtool >/dev/null; then exit 0; fi
cache="${XDG_CACHE_HOME:-$HOME/.cache}/springline/prometheus"
if [ -d "$cache" ]; then exit 0; fi

can_download || without "install Prometheus 2.42 or later, with promtool; this is no Debian."
echo "Getting Prometheus from Debian's packages…"
unpack_package prometheus "$cache" || without "apt-get's words are above."
