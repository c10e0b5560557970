#!/bin/sh
# Get kube-apiserver, kube-controller-manager and etcd for the cluster tests, unless they are there.
#
# What KUBEBUILDER_ASSETS holds is taken from there. The rest is built once from the Go modules that
# tests/cluster/go.mod pins, into a cache outside the repository, and etcd comes from Debian. What
# cannot be had makes tests skip and say why, so this never fails.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
. "$here/debian.sh"

without() {
    echo "$1"
    exit 0
}

none='The cluster tests will not run:'
some='The cluster tests that need controllers will not run:'

assets="${KUBEBUILDER_ASSETS:-}"
modules="$here/../cluster"
version=$(sed -n 's|^require k8s.io/kubernetes \(v[0-9.]*\)$|\1|p' "$modules/go.mod")
cache="${XDG_CACHE_HOME:-$HOME/.cache}/springline/kubernetes-$version"

if [ -n "$assets" ]; then
    for name in kube-apiserver etcd; do
        [ -x "$assets/$name" ] || without "$none there is no $name in KUBEBUILDER_ASSETS."
    done
    if [ -x "$assets/kube-controller-manager" ]; then exit 0; fi
elif ! command -v etcd >/dev/null; then
    can_install || without "$none etcd is missing; install it, or run this as root on Debian."
    echo "Installing etcd from Debian's packages…"
    install_package etcd-server ||
        without "$none etcd could not be installed; apt-get's words are above."
fi
if [ -d "$cache" ]; then exit 0; fi

if ! command -v go >/dev/null; then
    if [ -n "$assets" ]; then
        without "$some there is no kube-controller-manager in KUBEBUILDER_ASSETS, and no Go to build it."
    fi
    without "$none kube-apiserver is built with Go, and there is none."
fi
echo "Building kube-apiserver and kube-controller-manager $version (several minutes, once)…"
building="$cache.building.$$"
mkdir -p "$building"
# Without the stamp they call themselves v0.0.0, which no chart's kubeVersion allows.
stamp="-X k8s.io/component-base/version.gitVersion=$version"
# In a directory of its own first, so that a build that was interrupted leaves nothing half done.
# Both at once, because they have most packages in common.
(cd "$modules" && go build -trimpath -ldflags "-s -w $stamp" -o "$building/" \
    k8s.io/kubernetes/cmd/kube-apiserver \
    k8s.io/kubernetes/cmd/kube-controller-manager) >"$building.log" 2>&1 || {
    tail -n 5 "$building.log" >&2
    rm -rf "$building" "$building.log"
    without "$none they could not be built; Go's last words are above."
}
rm -f "$building.log"
# Another run may have been faster.
mv -T "$building" "$cache" 2>/dev/null || rm -rf "$building"
