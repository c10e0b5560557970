#!/bin/sh
# Build the image; `make image` does it with what is named on its command line.
#
#   image/build.sh [BUILD ARGUMENT…]
#
# The builder is the first of docker, podman and buildah that works; docker's client without its daemon
# does not. BUILDER names one, IMAGE the image, BASE what it is built on, BUILD_BASE what it is built in,
# and PLATFORM what for. What else is given goes to the builder as it is.
set -eu

cd "$(dirname "$0")/.."

works() {
    command -v "$1" >/dev/null || { problem='is not here'; return 1; }
    "$1" info >/dev/null 2>&1 || { problem='is here but cannot build; is its daemon running?'; return 1; }
}

if [ -n "${BUILDER:-}" ]; then
    works "$BUILDER" || { echo "make image: $BUILDER $problem" >&2; exit 1; }
    builder=$BUILDER
else
    builder=
    problems=
    for name in docker podman buildah; do
        if works "$name"; then builder=$name; break; fi
        problems="$problems
  $name $problem"
    done
    if [ -z "$builder" ]; then
        echo "make image needs docker, podman or buildah:$problems" >&2
        exit 1
    fi
fi

version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' operator/springline/__init__.py)
image=${IMAGE:-springline:$version}
# Its dates are that of the commit, so that it is the same whenever it is built.
date=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
created=$(date --utc --date="@$date" +%Y-%m-%dT%H:%M:%SZ)
source=${SOURCE:-$(git remote get-url origin 2>/dev/null | sed -n 's|^https://[^/]*@|https://|; s|\.git$||; /^https:/p')}

set -- --tag "$image" \
    --build-arg VERSION="$version" \
    --build-arg REVISION="$(git rev-parse HEAD 2>/dev/null)" \
    --build-arg SOURCE="$source" \
    --build-arg CREATED="$created" \
    --build-arg SOURCE_DATE_EPOCH="$date" \
    ${BASE:+--build-arg "BASE=$BASE"} \
    ${BUILD_BASE:+--build-arg "BUILD_BASE=$BUILD_BASE"} \
    ${PLATFORM:+--platform "$PLATFORM"} \
    "$@"
# docker has SOURCE_DATE_EPOCH for this.
case $(basename "$builder") in
    podman | buildah) set -- --timestamp "$date" "$@" ;;
esac

echo "Building $image with $builder…"
exec "$builder" build "$@" .
