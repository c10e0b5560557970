#!/bin/sh
# Get libfaketime for the tests that set a process's wall clock, unless it is there.
#
# Where the system has it, that one is used. Otherwise Debian's package is unpacked into a cache
# outside the repository, so nothing is installed. What cannot be had makes tests skip and say why,
# so this never fails; see support/faketime.py.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
. "$here/debian.sh"

without() {
    echo "The tests that set a wall clock will not run: $1"
    exit 0
}

for library in /usr/lib/*/faketime/libfaketimeMT.so.1 /usr/lib*/faketime/libfaketimeMT.so.1; do
    if [ -f "$library" ]; then exit 0; fi
done
cache="${XDG_CACHE_HOME:-$HOME/.cache}/springline/faketime"
if [ -d "$cache" ]; then exit 0; fi

can_download || without "install libfaketime 0.9.10 or later; this is no Debian."
echo "Getting libfaketime from Debian's packages…"
unpack_package libfaketime "$cache" || without "apt-get's words are above."
