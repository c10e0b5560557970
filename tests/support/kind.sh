#!/bin/sh
# Run the tests that are marked `kind` on a kind cluster of their own, with everything in pods.
#
#   tests/support/kind.sh [PYTEST ARGUMENT…]
#
# Needs docker and kind; kubectl and Helm come with `make tools`. The cluster is deleted at the end;
# with KEEP=1 it stays, and the next run uses it again.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
python="$root/.venv/bin/python"
cluster=springline-tests
image=springline:kind

fail() {
    echo "make test-kind: $1" >&2
    exit 1
}

tool() {
    PYTHONPATH="$root/tests" "$python" -c "from support import tools; print(tools.$1())" 2>/dev/null ||
        fail "there is no $1; run make tools to see why."
}

command -v docker >/dev/null || fail "docker is missing."
command -v kind >/dev/null || fail "kind is missing."
docker info >/dev/null 2>&1 || fail "docker's daemon does not answer."
[ -x "$python" ] || fail "there is no .venv; run make venv."
tool kubectl >/dev/null
tool helm4 >/dev/null

directory=$(mktemp -d)
clean_up() {
    if [ -z "${KEEP:-}" ]; then kind delete cluster --name "$cluster" || true; fi
    rm -rf "$directory"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

IMAGE="$image" BUILDER=docker "$root/image/build.sh"
if ! kind get clusters | grep -qx "$cluster"; then
    kind create cluster --name "$cluster" --wait 5m
fi
kind get kubeconfig --name "$cluster" >"$directory/kubeconfig"
kind load docker-image "$image" --name "$cluster"

# The tests install the chart with this image and put RabbitMQ beside it.
cd "$root"
SPRINGLINE_TEST_KUBECONFIG="$directory/kubeconfig" SPRINGLINE_TEST_IMAGE="$image" \
    .venv/bin/pytest tests/cluster -m kind "$@"
