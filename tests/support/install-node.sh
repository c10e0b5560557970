#!/bin/sh
# Get what the private node of the tests in real pods is made of, unless it is there; see support/node.
#
# containerd, runc and the network plugins come from Debian. The kubelet, kube-scheduler and kube-proxy
# are built once from the Go modules that tests/cluster/go.mod pins, and so are the images of the node's
# own pods, all into a cache outside the repository. What cannot be had makes `make test-node` say why
# it did not run, so this never fails.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
. "$here/debian.sh"

without() {
    echo "The tests in real pods will not run: $1"
    exit 0
}

modules="$here/../cluster"
version=$(sed -n 's|^require k8s.io/kubernetes \(v[0-9.]*\)$|\1|p' "$modules/go.mod")
cache="${XDG_CACHE_HOME:-$HOME/.cache}/springline"
programs="$cache/node-$version"
podman="$cache/containers/podman"
base=localhost/springline-build-base:trixie

[ "$(id -u)" -eq 0 ] || without "only root may make namespaces and cgroups."
for each in containerd:containerd runc:runc iptables:iptables conntrack:conntrack ip:iproute2; do
    if command -v "${each%%:*}" >/dev/null; then continue; fi
    can_install || without "${each%%:*} is missing; install it, or run this on Debian."
    echo "Installing ${each#*:} from Debian's packages…"
    install_package "${each#*:}" || without "${each#*:} could not be installed; apt-get's words are above."
done
if [ ! -x /usr/lib/cni/ptp ]; then
    can_install || without "the network plugins are missing in /usr/lib/cni."
    echo "Installing containernetworking-plugins from Debian's packages…"
    install_package containernetworking-plugins ||
        without "containernetworking-plugins could not be installed; apt-get's words are above."
fi

command -v go >/dev/null || [ -d "$programs" ] ||
    without "the kubelet is built with Go, and there is none."
if [ ! -d "$programs" ]; then
    echo "Building kubelet, kube-scheduler and kube-proxy $version (some minutes, once)…"
    building="$programs.building.$$"
    mkdir -p "$building"
    # As the control plane is built, so that they have what is compiled in common.
    stamp="-X k8s.io/component-base/version.gitVersion=$version"
    (cd "$modules" && go build -trimpath -ldflags "-s -w $stamp" -o "$building/" \
        k8s.io/kubernetes/cmd/kubelet \
        k8s.io/kubernetes/cmd/kube-scheduler \
        k8s.io/kubernetes/cmd/kube-proxy) >"$building.log" 2>&1 || {
        tail -n 5 "$building.log" >&2
        rm -rf "$building" "$building.log"
        without "they could not be built; Go's last words are above."
    }
    rm -f "$building.log"
    mv -T "$building" "$programs" 2>/dev/null || rm -rf "$building"
fi

# image NAME TAG [OPTION…]: build what images/NAME describes, unless its archive is there in this version.
image() {
    name=$1 tag=$2
    shift 2
    digest=$(cat "$here/node/images/$name"/* | sha256sum)
    archive="$cache/node-images/$name.tar"
    if [ "$(cat "$archive.of" 2>/dev/null)" = "$digest" ]; then return 0; fi
    echo "Building the image $tag for the node…"
    making=$(mktemp -d)
    cp "$here/node/images/$name"/* "$making"
    {
        if [ -f "$making/main.go" ]; then
            (cd "$making" && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$name" main.go)
        fi &&
            "$podman" build --network host --tag "$tag" "$@" "$making" &&
            mkdir -p "$cache/node-images" &&
            "$podman" save --quiet --format oci-archive --output "$archive.new.$$" "$tag" &&
            mv "$archive.new.$$" "$archive" &&
            echo "$digest" >"$archive.of"
    } >"$making/log" 2>&1 || {
        tail -n 5 "$making/log" >&2
        rm -rf "$making"
        without "the image $tag could not be built; the last words on it are above."
    }
    rm -rf "$making"
}

[ -x "$podman" ] || without "there is nothing to build images with: run make builder."
image pause localhost/springline-pause:1
image rabbitmq docker.io/library/rabbitmq:4.0 --build-arg "BASE=$base"
