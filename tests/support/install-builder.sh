#!/bin/sh
# Get what the tests of the image need, unless it is there: a builder, and bases to build on.
#
#   tests/support/install-builder.sh
#
# The builder is podman from Debian's packages, with storage of its own in the cache outside the
# repository; `podman` there is a command that uses it. The bases are made of Debian's packages,
# because a registry of images cannot be reached everywhere: one that the image ends on, and one that it
# is built in, which has a compiler, trusts what this machine trusts and finds packages where its pip does.
#
# What cannot be had makes the tests of the image skip and say why, so this never fails.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
. "$here/debian.sh"

without() {
    echo "The tests of the image will not run: $1"
    exit 0
}

# The release with the Python that the Dockerfile's base has; made again when this script changes.
release=trixie
version=$release-$(cksum <"$0" | cut -d ' ' -f 1)
containers="${XDG_CACHE_HOME:-$HOME/.cache}/springline/containers"
podman="$containers/podman"
base="$containers/base-$version"

need() {
    for name in "$@"; do
        if command -v "$name" >/dev/null; then continue; fi
        can_install || without "$name is missing; install it, or run this as root on Debian."
        echo "Installing $name from Debian's packages…"
        install_package "$name" || without "$name could not be installed; apt-get's words are above."
    done
}

# runc, because crun refuses machines that have both kinds of control groups. Limits of its own, because
# podman's are above those of a process that may not raise them, and then no container starts.
configure() {
    mkdir -p "$containers"
    cat >"$containers/storage.conf" <<EOF
[storage]
driver = "overlay"
graphroot = "$containers/storage"
runroot = "$containers/run"
EOF
    cat >"$containers/containers.conf" <<EOF
[containers]
netns = "host"
default_ulimits = ["nofile=8192:8192", "nproc=8192:8192"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
EOF
    cat >"$podman.new" <<EOF
#!/bin/sh
export CONTAINERS_CONF='$containers/containers.conf'
export CONTAINERS_STORAGE_CONF='$containers/storage.conf'
exec podman "\$@"
EOF
    chmod 755 "$podman.new"
    mv "$podman.new" "$podman"
}

# Where this machine gets Debian's packages, if it is a Debian.
mirror() {
    if [ "$(. /etc/os-release && echo "$ID")" != debian ]; then return 0; fi
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' \
        'Label: Debian' 2>/dev/null | head -n 1
}

# Where this machine's pip finds packages. Its certificates are those of the base.
pip_configuration() {
    echo '[global]'
    echo 'cert = /etc/ssl/certs/ca-certificates.crt'
    python3 -m pip config list 2>/dev/null | tr -d "'" |
        sed -nE 's/^(global|:env:)\.((extra-)?index-url|trusted-host|proxy|timeout|retries)=/\2 = /p'
}

# bootstrap DIRECTORY [PACKAGES]: Debian with Python and these, without what is only read by people.
bootstrap() {
    debootstrap --variant=minbase --include="python3,python3-venv,ca-certificates${2:+,$2}" \
        "$release" "$1" $(mirror) || return 1
    # The Dockerfile calls it as the official images of Python do.
    ln -s /usr/bin/python3 "$1/usr/local/bin/python"
    rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/* "$1"/var/log/* "$1"/usr/share/doc/* \
        "$1"/usr/share/man/* "$1"/usr/share/locale/*
    # Those images have no compiled modules either.
    find "$1/usr/lib/python3"* -name __pycache__ -prune -exec rm -rf {} +
}

pack() {
    tar --sort=name --numeric-owner --directory "$1" --create --file "$2" .
}

# In a directory of its own first, so that what was interrupted leaves nothing half done.
make_bases() {
    bootstrap "$1/root" && pack "$1/root" "$1/base.tar" &&
        rm -rf "$1/root" && bootstrap "$1/root" gcc,libc6-dev,python3-dev &&
        cp -L /etc/ssl/certs/ca-certificates.crt "$1/root/etc/ssl/certs/ca-certificates.crt" &&
        pip_configuration >"$1/root/etc/pip.conf" &&
        pack "$1/root" "$1/build-base.tar" &&
        rm -rf "$1/root" &&
        # Another run may have been faster.
        { mv -T "$1" "$base" 2>/dev/null || [ -d "$base" ]; }
}

image_of() {
    echo "localhost/springline-$1:$version"
}

if [ -x "$podman" ] && "$podman" image exists "$(image_of build-base)"; then exit 0; fi

need podman runc
configure
if [ ! -d "$base" ]; then
    [ "$(id -u)" -eq 0 ] || without "only root can make bases for them."
    need debootstrap
    echo "Making two bases of Debian's packages (about two minutes, once)…"
    making="$base.making.$$"
    mkdir -p "$making"
    make_bases "$making" >"$making.log" 2>&1 || {
        tail -n 5 "$making.log" >&2
        without "the bases could not be made; the last words on them are above, all are in $making.log."
    }
    rm -rf "$making" "$making.log"
fi
for name in base build-base; do
    "$podman" import --quiet "$base/$name.tar" "$(image_of "$name")" >/dev/null ||
        without "the base cannot be imported; podman's words are above."
    "$podman" tag "$(image_of "$name")" "localhost/springline-$name:$release"
done
"$podman" run --rm "$(image_of base)" python --version >/dev/null || {
    "$podman" untag "$(image_of build-base)"
    without "no container starts here; podman's words are above."
}
