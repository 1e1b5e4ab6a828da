#!/bin/sh
# How many puts a second are on stable storage: of a node, as `graven bench put` measures it, and of
# etcd on this machine, one member with its defaults, so that it syncs its log before it answers. Its
# load is that of its own `etcdctl check perf`: 1,000 clients that put new keys with values of 1 KB for
# a minute, at most 15,000 a second. Prints each rate and the ratio.
#
# usage: benches/etcd.sh [puts]          (250000 puts; GRAVEN names the binary)
set -eu
cd "$(dirname "$0")/.."

puts=${1:-250000}
graven=${GRAVEN:-target/release/graven}
for program in etcd etcdctl; do
    if ! command -v "$program" >/dev/null; then
        echo "skipped: $program is not installed"
        exit 0
    fi
done
if [ ! -x "$graven" ]; then
    echo "skipped: there is no $graven; build it: cargo build --release --locked -p cli"
    exit 0
fi

folder=$(mktemp -d)
etcd=''
finish() {
    [ -z "$etcd" ] || kill "$etcd" 2>/dev/null || true
    wait
    rm -rf "$folder"
}
trap finish EXIT

# etcd cannot choose ports by itself.
clients=127.0.0.1:${ETCD_PORT:-23790}
peers=127.0.0.1:${ETCD_PEER_PORT:-23800}
etcd --data-dir "$folder/etcd" --listen-client-urls "http://$clients" \
    --advertise-client-urls "http://$clients" --listen-peer-urls "http://$peers" \
    --initial-advertise-peer-urls "http://$peers" --initial-cluster "default=http://$peers" \
    >"$folder/etcd.out" 2>&1 &
etcd=$!
export ETCDCTL_API=3
tries=0
while ! etcdctl --endpoints "$clients" endpoint health >/dev/null 2>&1; do
    tries=$((tries + 1))
    if [ "$tries" -gt 100 ] || ! kill -0 "$etcd" 2>/dev/null; then
        echo 'etcd did not start' >&2
        tail -n 5 "$folder/etcd.out" >&2
        exit 1
    fi
    sleep 0.1
done
# Fails when the rate is below 15,000, which says nothing here.
etcdctl --endpoints "$clients" check perf --load=xl >"$folder/perf" 2>/dev/null || true
kill "$etcd"
wait "$etcd" 2>/dev/null || true
etcd=''
theirs=$(sed -n 's/.*[Tt]hroughput[a-z ]*:* \([0-9]*\) writes\/s.*/\1/p' "$folder/perf")
if [ -z "$theirs" ]; then
    echo 'etcd was not measured:' >&2
    tail -n 5 "$folder/perf" >&2
    exit 1
fi
ours=$("$graven" bench put --puts "$puts" --json |
    sed -n 's/.*"confirmed_puts_per_second":\([0-9]*\).*/\1/p')
version=$(etcd --version | sed -n 's/^etcd Version: //p')
printf '%-24s %14s\n' 'durable puts' 'a second'
printf '%-24s %14s\n' "etcd $version" "$theirs"
printf '%-24s %14s\n' 'graven bench put' "$ours"
awk "BEGIN { printf \"%-24s %14.1f\n\", \"ratio\", $ours / $theirs }"
