"""redis-py against a node whose admin port is the argument. Prints done."""

import sys

import redis


def main(port):
    for protocol in (2, 3):
        client = redis.Redis(port=port, protocol=protocol, socket_timeout=60)
        key = f"py{protocol}"
        assert client.ping()
        assert client.set(key, b"\x00\xff") is True
        assert client.get(key) == b"\x00\xff"
        assert client.wait(1, 60_000) >= 1
        assert client.mset({f"{key}:1": "a", f"{key}:2": "b"})
        assert client.set(f"{key}:1", "c", nx=True) is None
        assert client.wait(1, 60_000) >= 1
        assert client.mget(f"{key}:1", f"{key}:2", "nothing") == [b"a", b"b", None]
        assert sorted(client.scan_iter(match=f"{key}:*")) == [f"{key}:1".encode(), f"{key}:2".encode()]
        assert client.delete(f"{key}:1", "nothing") == 1

        def double(pipe):
            value = pipe.get(f"{key}:2")
            pipe.multi()
            pipe.set(f"{key}:2", value * 2)
            pipe.get(f"{key}:2")

        assert client.transaction(double, f"{key}:2") == [True, b"bb"]
        assert client.wait(1, 60_000) >= 1
        entries = client.xrange(f"{key}:2")
        assert [(number, fields[b"value"]) for number, fields in entries] == [
            (b"1-0", b"b"),
            (b"2-0", b"bb"),
        ], entries
        assert client.info()["role"] == "master"
        assert client.config_get("save") == {"save": ""}
        try:
            client.incr(key)
        except redis.ResponseError as error:
            assert "not offered" in str(error), error
        else:
            raise AssertionError("INCR was accepted")
        listener = client.pubsub(ignore_subscribe_messages=True)
        listener.subscribe(f"__keyspace@0__:{key}")
        assert listener.get_message(timeout=60) is None  # the confirmation
        client.set(key, "news")
        heard = []
        while heard[-1:] != [b"set"]:
            message = listener.get_message(timeout=60)
            heard += [message["data"]] if message else []
        assert heard == [b"pending", b"set"], heard
        listener.close()
        client.close()


main(int(sys.argv[1]))
print("done")
