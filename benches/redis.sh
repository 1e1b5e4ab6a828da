#!/bin/sh
# The rates of GET and SET over the Redis protocol, of a node and of redis-server on this machine,
# as redis-benchmark measures them: 50 connections, with one request and with 16 under way on each.
# Prints the middle of the rounds for each and the ratio. A SET of the node is signed, checked and
# written to its pool's file; one of redis-server, which saves nothing here, is in its memory.
#
# usage: benches/redis.sh [rounds]          (3 rounds; GRAVEN names the binary)
set -eu
cd "$(dirname "$0")/.."

rounds=${1:-3}
graven=${GRAVEN:-target/release/graven}
for program in redis-server redis-benchmark redis-cli; do
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
node='' redis=''
finish() {
    [ -z "$node" ] || kill "$node" 2>/dev/null || true
    [ -z "$redis" ] || kill "$redis" 2>/dev/null || true
    wait
    rm -rf "$folder"
}
trap finish EXIT

: >"$folder/node.out"
# The node says where it listens; redis-server cannot choose a port by itself.
GRAVEN_LOG=error "$graven" node --network dev --data "$folder/data" --mine=1 \
    --listen 127.0.0.1:0 --admin 127.0.0.1:0 >"$folder/node.out" &
node=$!
redis_port=${REDIS_PORT:-16379}
redis-server --port "$redis_port" --save '' --appendonly no --dir "$folder" >"$folder/redis.out" &
redis=$!
port=''
tries=0
while [ -z "$port" ] || ! redis-cli -p "$redis_port" ping >/dev/null 2>&1; do
    port=$(sed -n 's/^listening admin=.*://p' "$folder/node.out")
    tries=$((tries + 1))
    if [ "$tries" -gt 300 ]; then
        echo 'the servers did not start' >&2
        exit 1
    fi
    sleep 0.1
done
for at in "$port" "$redis_port"; do
    printf 'SET key:__rand_int__ xxx\nWAIT 1 60000\n' | redis-cli -p "$at" >/dev/null
done

rate() { # port, test, requests, pipeline
    redis-benchmark -p "$1" -t "$2" -n "$3" -c 50 -P "$4" --csv |
        sed -n "s/^\"$(echo "$2" | tr a-z A-Z)\",\"\([0-9]*\).*/\1/p"
}

middle() { sort -n | sed -n "$(((rounds + 1) / 2))p"; }

printf '%-5s %9s %12s %14s %7s\n' test pipeline 'graven/s' 'redis-server/s' ratio
for test in get set; do
    for pipeline in 1 16; do
        requests=200000
        [ "$test" = get ] || requests=50000
        : >"$folder/ours"
        : >"$folder/theirs"
        round=0
        while [ "$round" -lt "$rounds" ]; do
            rate "$port" "$test" "$requests" "$pipeline" >>"$folder/ours"
            rate "$redis_port" "$test" "$requests" "$pipeline" >>"$folder/theirs"
            round=$((round + 1))
        done
        ours=$(middle <"$folder/ours")
        theirs=$(middle <"$folder/theirs")
        ratio=$(awk "BEGIN { printf \"%.2f\", $ours / $theirs }")
        printf '%-5s %9s %12s %14s %7s\n' "$test" "$pipeline" "$ours" "$theirs" "$ratio"
    done
done
