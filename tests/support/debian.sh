# Sourced by the scripts that install servers for the tests: Debian packages, without their services.
#
# Only the files are wanted, because tests start private servers of their own; the service that comes
# with a package is kept from starting.

policy=/usr/sbin/policy-rc.d
made_policy=
log=
unpacking=

clean_up() {
    if [ -n "$made_policy" ]; then rm -f "$policy"; fi
    if [ -n "$log" ]; then rm -f "$log"; fi
    if [ -n "$unpacking" ]; then rm -rf "$unpacking"; fi
}

# dash runs the EXIT trap on exit only, not when a signal ends it.
clean_up_at_the_end() {
    trap clean_up EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

can_install() {
    [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null
}

# Debian's way to say that services are not to be started: 101 is "action forbidden by policy".
forbid_services() {
    if [ -e "$policy" ]; then return 0; fi
    made_policy=yes
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
}

apt_get_install() {
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$1"
}

# install_package NAME: quiet unless it fails.
install_package() {
    clean_up_at_the_end
    log=$(mktemp)
    forbid_services
    # The package lists are often missing or stale in a container, and then have to be fetched first.
    if ! apt_get_install "$1" >"$log" 2>&1; then
        if ! { apt-get update && apt_get_install "$1"; } >"$log" 2>&1; then
            cat "$log" >&2
            return 1
        fi
    fi
}

# Without root too, but then the package lists have to be there.
can_download() {
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null
}

apt_get_download() (
    cd "$1" && apt-get download "$2"
)

# unpack_package NAME DIRECTORY: put a package's files into a directory of ours, not into the system.
# For programs that need nothing of what a package depends on. Quiet unless it fails.
unpack_package() {
    clean_up_at_the_end
    log=$(mktemp)
    unpacking="$2.unpacking.$$"
    mkdir -p "$unpacking/files"
    if ! apt_get_download "$unpacking" "$1" >"$log" 2>&1; then
        if ! { apt-get update && apt_get_download "$unpacking" "$1"; } >"$log" 2>&1; then
            cat "$log" >&2
            return 1
        fi
    fi
    if ! dpkg-deb -x "$unpacking"/*.deb "$unpacking/files" >"$log" 2>&1; then
        cat "$log" >&2
        return 1
    fi
    # In one step, so that nobody sees half of it. Another run may have been faster.
    mv -T "$unpacking/files" "$2" 2>/dev/null || [ -d "$2" ]
}
