#!/bin/sh
# Build the library for AMQP 1.0 into the virtual environment, unless it is there.
#
#   tests/support/install-amqp10.sh [PYTHON]
#
# python-qpid-proton comes as source alone. Its build links what pkg-config knows of OpenSSL and Cyrus SASL,
# neither of which is used, so pkg-config is shown no place to look at. pip's cache is not used because it
# keeps what was built in whatever way. A library that was built otherwise is built again.
#
# Where it cannot be built the tests that need it skip and say why, so this never fails.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
. "$here/debian.sh"
root=$(cd "$here/../.." && pwd)
python=${1:-$root/.venv/bin/python}
constraints=$root/constraints.txt
version=$(sed -n 's/^python-qpid-proton==//p' "$constraints")

without() {
    echo "The tests with AMQP 1.0 will not run: $1"
    exit 0
}

is_there() {
    "$python" - "$version" <<'EOF' >/dev/null 2>&1
import sys
from importlib.metadata import version

import proton

sys.exit(
    version("python-qpid-proton") != sys.argv[1] or proton.SASL.extended() or proton.SSL.present()
)
EOF
}

has_compiler() {
    command -v "${CC:-cc}" >/dev/null
}

has_headers() {
    [ -f "$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ]
}

# need WHAT TEST PACKAGE…: have it, from Debian's packages where that is possible.
need() {
    what=$1
    is_met=$2
    shift 2
    if "$is_met"; then return 0; fi
    can_install || without "there is no $what; install $* or run this as root on Debian."
    for name in "$@"; do
        echo "Installing $name from Debian's packages…"
        install_package "$name" || without "$name could not be installed; apt-get's words are above."
    done
    "$is_met" || without "there is no $what for $python."
}

if is_there; then exit 0; fi
need 'C compiler' has_compiler gcc libc6-dev
need 'Python.h' has_headers python3-dev

echo "Building python-qpid-proton $version in .venv (half a minute)…"
log=${log:-$(mktemp)}
clean_up_at_the_end
# What it is built with is in the environment, in the versions of constraints.txt.
PKG_CONFIG_PATH='' PKG_CONFIG_LIBDIR=/dev/null "$python" -m pip install --disable-pip-version-check \
    --no-cache-dir --no-build-isolation --no-binary python-qpid-proton --force-reinstall \
    --constraint "$constraints" python-qpid-proton >"$log" 2>&1 || {
    tail -n 5 "$log" >&2
    without "python-qpid-proton could not be built; the last words on it are above."
}
is_there || without "python-qpid-proton $version was built and cannot be used."
