#!/bin/sh
# Get kube-apiserver and etcd for the cluster tests; do nothing where both are there.
#
# With KUBEBUILDER_ASSETS they are taken from there. Otherwise kube-apiserver is built once from the
# Go modules that tests/cluster/go.mod pins, into a cache outside the repository, and etcd comes from
# Debian. Where neither can be had the cluster tests are skipped and say why, so this never fails.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
. "$here/debian.sh"

without() {
    echo "The cluster tests will not run: $1"
    exit 0
}

if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
    for name in kube-apiserver etcd; do
        [ -x "$KUBEBUILDER_ASSETS/$name" ] || without "there is no $name in KUBEBUILDER_ASSETS."
    done
    exit 0
fi

modules="$here/../cluster"
version=$(sed -n 's|^require k8s.io/kubernetes \(v[0-9.]*\)$|\1|p' "$modules/go.mod")
cache="${XDG_CACHE_HOME:-$HOME/.cache}/springline/kube-apiserver-$version"

if ! command -v etcd >/dev/null; then
    can_install || without "etcd is missing; install it, or run this as root on Debian."
    echo "Installing etcd from Debian's packages…"
    install_package etcd-server || without "etcd could not be installed; apt-get's words are above."
fi
if [ ! -x "$cache/kube-apiserver" ]; then
    command -v go >/dev/null || without "kube-apiserver is built with Go, and there is none."
    echo "Building kube-apiserver $version (several minutes, once)…"
    mkdir -p "$cache"
    # Into a file of its own first, so that a build that was interrupted leaves nothing half done.
    (cd "$modules" && go build -trimpath -ldflags '-s -w' -o "$cache/building.$$" \
        k8s.io/kubernetes/cmd/kube-apiserver) >"$cache/build.log" 2>&1 || {
        tail -n 5 "$cache/build.log" >&2
        without "kube-apiserver could not be built; Go's last words are above."
    }
    mv "$cache/building.$$" "$cache/kube-apiserver"
fi
