#!/bin/sh
# Run a command on a private node with real pods, with our image on it; `make test-node` runs the tests.
#
#   tests/support/node.sh COMMAND…
#
# The image is built by `make image`, on a base of Debian's packages. NODE_CA=identified gives the node's
# authority the key identifiers that Amazon EKS' has not. KEEP=1 keeps the logs of the node's programs.
# Where there can be no node, one line says why, and it ends with 0.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cache="${XDG_CACHE_HOME:-$HOME/.cache}/springline"
podman="$cache/containers/podman"
image=localhost/springline:node

without() {
    echo "The tests in real pods did not run: $1"
    exit 0
}

[ -x "$podman" ] || without "there is nothing to build an image with; make image-builder says why."
for name in pause rabbitmq; do
    [ -f "$cache/node-images/$name.tar" ] || without "there is no image of $name; make node says why."
done

cd "$root"
making=$(mktemp -d)
trap 'rm -rf "$making"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

IMAGE=$image BUILDER=$podman BASE=localhost/springline-base:trixie \
    BUILD_BASE=localhost/springline-build-base:trixie \
    image/build.sh >"$making/log" 2>&1 || {
    tail -n 20 "$making/log" >&2
    echo "The image could not be built; the last words on it are above." >&2
    exit 1
}
"$podman" save --quiet --format oci-archive --output "$making/springline.tar" "$image"

export SPRINGLINE_TEST_IMAGE="$image" PYTHONPATH="$root/tests"
.venv/bin/python -m support.node \
    --image "$cache/node-images/pause.tar" \
    --image "$cache/node-images/rabbitmq.tar" \
    --image "$making/springline.tar" \
    ${NODE_CA:+"--$NODE_CA"} -- "$@"
