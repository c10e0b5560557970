#!/bin/sh
# Get nginx and nghttpd for the tests with real HTTP servers, unless they are there; see support/http_peers.py.
#
# http-peers.packages pins both, with the libraries that a small machine lacks. They are unpacked into a
# cache outside the repository: nothing is installed, no service starts, and no root is needed. Debian
# drops a version when it mends one; then what it offers is taken, and a line says so.
#
# What cannot be had makes the tests with it skip and say why, so this never fails.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
. "$here/debian.sh"

pins="$here/http-peers.packages"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/springline"

# pinned PEER: package, version and digest of what a peer is made of, one package a line.
pinned() {
    sed -n "s/^$1 //p" "$pins"
}

without() {
    if [ -s "$log" ]; then tail -n 5 "$log" >&2; fi
    echo "The tests with $peer will not run: $1"
    exit 0
}

# download NAME[=VERSION]: to the directory of packages; its words go to the log.
download() {
    apt_get_download "$unpacking/packages" "$1" >>"$log" 2>&1
}

# The lists are often missing or stale in a container.
update() {
    [ -z "$updated" ] || return 0
    updated=yes
    apt-get update >>"$log" 2>&1 || true
}

# is_as_pinned DIGEST: whether the package that came last is the pinned one, to the bit.
is_as_pinned() {
    [ "$(dpkg --print-architecture)" = amd64 ] || return 0
    sha256sum "$unpacking"/packages/*.deb | grep -q "^$1 "
}

fetch_all() {
    updated=
    pinned "$peer" | while read -r name wanted digest; do
        if download "$name=$wanted" || { update && download "$name=$wanted"; }; then
            is_as_pinned "$digest" && continue
            echo "$name $wanted is pinned as $digest, and that is not what came." >>"$log"
            return 1
        fi
        download "$name" || return 1
        echo "Debian has moved on from $name $wanted; taking what it offers now."
    done
}

unpack() {
    for each in "$unpacking"/packages/*.deb; do
        dpkg-deb -x "$each" "$unpacking/files" || return 1
    done
}

# Whether all of its libraries are there.
runs() {
    libraries=$(find "$unpacking/files" -name '*.so.*' -exec dirname {} + | sort -u | tr '\n' ':')
    LD_LIBRARY_PATH="$libraries" "$unpacking/files/usr/sbin/$peer" "$1"
}

# get PEER PACKAGE OPTION: have a server, whose program is called as the peer and takes the option.
get() (
    peer=$1
    log=
    version=$(pinned "$peer" | sed -n "s/^$2 \([^ ]*\) .*/\1/p")
    root="$cache/$peer-$version"
    if [ -d "$root" ]; then exit 0; fi
    if ! can_download; then
        command -v "$peer" >/dev/null && exit 0
        without "install $peer; this is no Debian."
    fi
    echo "Getting $peer from Debian's packages…"
    clean_up_at_the_end
    log=$(mktemp)
    unpacking="$root.unpacking.$$"
    mkdir -p "$unpacking/packages" "$unpacking/files"
    fetch_all || without "its packages cannot be had; the last words on them are above."
    unpack >>"$log" 2>&1 || without "it cannot be unpacked; the last words on it are above."
    runs "$3" >>"$log" 2>&1 || without "it does not run here; its words are above."
    # In one step, so that half of it is never seen. Another run may have been faster.
    mv -T "$unpacking/files" "$root" 2>/dev/null || [ -d "$root" ]
)

get nginx nginx -v
get nghttpd nghttp2-server --version
