#!/bin/sh
# install-newer-rabbitmq.sh [PINS]: get a newer RabbitMQ than the installed one, to run beside it; see
# support/brokers.py.
#
# A file beside this one pins it, newer-rabbitmq.packages unless another is named: RabbitMQ, its Erlang, and
# the libraries they need. All are packages of a later Debian, fetched with lists and sources of our own, and
# unpacked into a cache outside the repository: nothing is installed, and nothing that apt-get knows of this
# machine changes. Erlang is made to run on the libraries it was built with, because this machine's are older.
#
# What cannot be had makes the tests on it skip and say why, so this never fails.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
pins="$here/${1:-newer-rabbitmq.packages}"
# Where one loses a version before the other, both are named.
suites=$(sed -n 's/^suites //p' "$pins")
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

package=$(sed -n 's/^rabbitmq-server \([^ ]*\) .*/\1/p' "$pins")
version=${package%-*}
cache="${XDG_CACHE_HOME:-$HOME/.cache}/springline"
root="$cache/rabbitmq-$version"
making="$root.making"
# Says that the directory is whole: written last, when its Erlang has run.
complete="$root/complete"
# What the tests say where it is missing.
why="$root.missing"
log="$making/log"

# What is being made is this run's only while it has the lock.
locked=
tidy() {
    if [ -n "$locked" ]; then rm -rf "$making"; fi
}

without() {
    trap - EXIT
    if [ -s "$log" ]; then tail -n 5 "$log" >&2; fi
    if [ -d "$cache" ]; then echo "$1" >"$why"; fi
    tidy
    echo "The tests on RabbitMQ $version will not run: $1"
    exit 0
}

# What was interrupted leaves nothing, and what fails in a way of its own is missing like the rest.
at_the_end() {
    code=$?
    case $code in
    0 | 129 | 130 | 143) tidy ;;
    *) without "it could not be got; the last words on it are above." ;;
    esac
}

# Of this script alone: lists, packages and states of packages are not the machine's.
configure() {
    mkdir -p "$making/lists/partial" "$making/archives/partial" "$making/none"
    : >"$making/status"
    cat >"$making/apt.conf" <<EOF
Dir::State::Lists "$making/lists";
Dir::State::Status "$making/status";
Dir::Cache "$making";
Dir::Etc::SourceList "$1";
Dir::Etc::SourceParts "$2";
APT::Architecture "amd64";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "30";
#clear APT::Architectures;
#clear APT::Update;
APT::Update::Error-Mode "any";
#clear Acquire::IndexTargets::deb::DEP-11;
#clear Acquire::IndexTargets::deb::DEP-11-icons-small;
#clear Acquire::IndexTargets::deb::DEP-11-icons;
#clear Acquire::IndexTargets::deb::CNF;
EOF
}

# apt NAME WORD…: run a program of apt's as configured; its words go to the log.
apt() {
    program=$1
    shift
    "$program" -c "$making/apt.conf" "$@" 2>>"$log"
}

# Where this machine gets Debian's packages. In a fresh container that is known only from lists.
mirror() {
    set -- '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian'
    found=$(apt-get indextargets --format "$@" 2>/dev/null | head -n 1)
    if [ -z "$found" ]; then
        configure /etc/apt/sources.list /etc/apt/sources.list.d
        apt apt-get update >>"$log" || true
        found=$(apt apt-get indextargets --format "$@" | head -n 1)
    fi
    echo "$found"
}

# What is pinned, one package a line.
pinned() {
    sed -e '/^#/d' -e '/^$/d' -e '/^suites /d' "$pins"
}

# fetch WORD…: have apt-get download packages; without its sandbox, whose user may not write here.
fetch() (
    cd "$making/packages" && apt apt-get download "$@"
)

# fetched_as_pinned PATTERN: whether the pinned packages that match are here, to the bit.
fetched_as_pinned() {
    sha256sum "$making"/packages/*.deb >"$making/sums"
    pinned | grep "$1" | while read -r name wanted digest; do
        grep -q "^$digest " "$making/sums" && continue
        echo "$name $wanted is pinned as $digest" >>"$log"
        return 1
    done
}

# offers PACKAGE…: whether Debian has them, in just these versions where one is named.
offers() {
    fetch --print-uris "$@" >/dev/null
}

# apt-get has seen Debian's signature of all. It is the RabbitMQ that is pinned in any case; where Debian
# has moved on from its Erlang, another one that this RabbitMQ allows is better than none.
fetch_all() {
    mkdir -p "$making/packages"
    wanted=$(pinned | awk '{ print $1 "=" $2 }')
    exact=.
    if ! offers $wanted; then
        if ! offers "rabbitmq-server=$package"; then
            found=$(apt apt-cache madison rabbitmq-server | awk '{ print $3 }' | sort -u | xargs)
            without "$package is pinned, and Debian's $suites offer ${found:-none}."
        fi
        echo "Debian has moved on from the Erlang that is pinned with it; taking what it offers now."
        wanted=$(pinned | awk '{ print $1 ($1 == "rabbitmq-server" ? "=" $2 : "") }')
        exact='^rabbitmq-server '
    fi
    fetch $wanted >>"$log" || without "its packages cannot be fetched; apt-get's words are above."
    fetched_as_pinned "$exact" || without "what Debian offers is not what is pinned."
}

is_program() {
    [ "$(head -c 4 "$1" | od -An -c | tr -d ' ')" = '177ELF' ]
}

# Have Erlang's programs load the libraries that came with them, from where all of it is going to be.
unpack() {
    for each in "$making"/packages/*.deb; do
        dpkg-deb -x "$each" "$making/root" || return 1
    done
    libraries=usr/lib/x86_64-linux-gnu
    loader="$libraries/ld-linux-x86-64.so.2"
    patch="$making/root/$loader --library-path $making/root/$libraries $making/root/usr/bin/patchelf"
    find "$making/root/usr/lib/erlang" -type f \( -perm -100 -o -name '*.so' \) >"$making/files"
    while read -r each; do
        is_program "$each" || continue
        if $patch --print-interpreter "$each" >/dev/null 2>&1; then
            $patch --set-interpreter "$root/$loader" "$each" || return 1
        fi
        $patch --force-rpath --set-rpath "$root/$libraries" "$each" || return 1
    done <"$making/files"
    # Debian's path, where a script has it.
    find "$making/root/usr/lib/erlang" -type f -perm -100 -exec grep -Il '/usr/lib/erlang' {} + |
        xargs sed -i "s|\([^a-zA-Z0-9]\)/usr/lib/erlang|\1$root/usr/lib/erlang|g"
    rm -rf "$making/root/usr/share" "$making/root/usr/bin" "$making/root/usr/sbin" "$making/root/etc" \
        "$making/root/var"
}

# Erlang, its cryptography, and that RabbitMQ is the one which is named.
runs() {
    said=$(PATH="$root/usr/lib/erlang/bin:$PATH" erl -noinput -boot no_dot_erlang \
        -pa "$root/usr/lib/rabbitmq/lib/rabbitmq_server-$version/plugins/rabbit-$version/ebin" \
        -eval 'ok = crypto:start(), ok = application:load(rabbit),
            {ok, Version} = application:get_key(rabbit, vsn), io:put_chars(Version), halt().') || return 1
    echo "It says that it is RabbitMQ $said."
    [ "$said" = "$version" ]
}

if [ -f "$complete" ]; then exit 0; fi
trap at_the_end EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
mkdir -p "$cache"
for each in apt-get dpkg dpkg-deb flock; do
    command -v "$each" >/dev/null || without "it comes from Debian's packages, and there is no $each here."
done
[ "$(dpkg --print-architecture)" = amd64 ] || without "it is pinned for amd64 only."
# Two at once would unpack into one directory. The lock ends with this process, however it ends.
exec 9>"$root.lock"
flock 9
locked=yes
if [ -f "$complete" ]; then exit 0; fi
# Of a run that was killed.
rm -rf "$making" "$root"
mkdir -p "$making"

from=$(mirror)
[ -n "$from" ] || without "it comes from Debian's packages, and apt-get knows no mirror of Debian here."
echo "Getting RabbitMQ $version with its Erlang from Debian's packages (about 60 MB, once)…"
configure "$making/sources.list" "$making/none"
for suite in $suites; do
    if [ -f "$keyring" ]; then signed="[signed-by=$keyring] "; else signed=; fi
    echo "deb $signed$from $suite main"
done >"$making/sources.list"
apt apt-get update >>"$log" || without "Debian's lists of packages cannot be fetched; apt-get's words are above."
fetch_all
echo "Unpacking RabbitMQ ${version}…"
unpack >>"$log" 2>&1 || without "it could not be unpacked; the last words on it are above."
mv -T "$making/root" "$root"
runs >>"$log" 2>&1 || { rm -rf "$root"; without "its Erlang does not run here; its words are above."; }
touch "$complete"
rm -rf "$making" "$why"
echo "RabbitMQ $version is there, beside the one that is installed."
