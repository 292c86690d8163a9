"""What our lookups cost beside libtorrent's, on the same network of fifty nodes on lo: queries,
counted where they arrive, and time, which is told and not judged; and what it costs that one
of the closest nodes never answers."""
import hashlib
import statistics
import time

from harness import ERROR, ApiError, Lab, case, check, equal, finish, until
from mainline import (K, MS, RPC_TIMEOUT_S, Endpoint, Key, Mainline, bencode,
                      immutable_target, libtorrent, run, stored)

LOOKUPS = 24


def told(what, ours, theirs, unit):
    print(f"# {what}: ours {ours:.1f} {unit}, libtorrent's {theirs:.1f} {unit}", flush=True)


def targets(what):
    return [hashlib.sha1(b"%s %d" % (what, i)).digest() for i in range(LOOKUPS)]


class Beside:
    """Counts the queries of one kind that arrive at all nodes, and takes the time."""

    def __init__(self, net, method):
        self.net, self.method = net, method
        self.mine, self.others = [], []  # queries, the mean of each kind

    def mean(self, lookup, what):
        """Queries, the mean, and milliseconds, the median, of a lookup."""
        before, times = self.net.asked(self.method), []
        for x in what:
            start = time.monotonic()
            lookup(x)
            times.append((time.monotonic() - start) * MS)
        return (self.net.asked(self.method) - before) / len(what), statistics.median(times)

    def compare(self, what, ours, theirs, on):
        mine, my_ms = self.mean(ours, on)
        others, their_ms = self.mean(theirs, on)
        told(what, mine, others, "queries")
        told(what, my_ms, their_ms, "ms, median")
        check(mine > 0, "no query of ours arrived")
        # Whose view of who is closest is which, and so who has a copy, is a matter of chance.
        check(mine <= others + 1, "ours needs more queries")
        self.mine.append(mine)
        self.others.append(others)


def silent(net, ann):
    """Nodes like this one are usual: transmission and aria2 answer neither get nor put."""
    value = b"near to who is silent"
    target = immutable_target(bencode(value))
    mute = Endpoint(net.free_address(7), node_id=target[:-1] + bytes([target[-1] ^ 1]),
                    answers=("ping", "find_node", "get_peers"), errors=False)
    net.introduce(mute.at)
    until(lambda: mute.id.hex() in str(ann.json("dht", "find", target.hex())),
          "who is silent is known")
    with case("one of the closest is silent: ours has ended before libtorrent's time-out"):
        them = net.pick()
        start = time.monotonic()
        equal(them.begin_put(value), target)
        waits = mute.asked["get"]
        put = ann.json("dht", "put", "--bencoded", bencode(value))[0]
        equal((put["target"], stored(put)), (target.hex(), K))
        check(mute.asked["get"] > waits, "who is silent was not asked")
        equal(ann.ok("dht", "get", target.hex()).raw, value + b"\n")
        check(not them.expect("dht_put_alert", timeout=0), "it was in nobody's way")
        done = them.expect("dht_put_alert", lambda a: a["target"] == target,
                           timeout=2 * RPC_TIMEOUT_S)
        took = (time.monotonic() - start) * MS
        told("a put where one is silent", put["ms"], took, "ms")
        check(put["ms"] < RPC_TIMEOUT_S * MS / 3 < took, put, took, done)
    mute.errors = True # from here on it is in nobody's way


def beside(net, ann):
    """By the API, so that no time goes into starting a program."""
    get = Beside(net, "get")

    def missing(target):
        try:
            ann.api.call("dht.get", target=target.hex())
        except ApiError as e:
            equal(e.code, ERROR)
            return
        raise AssertionError("something is there")

    with case("a lookup of what is not there"):
        get.compare("nothing is there", missing, lambda t: check(not net.pick().get(t)),
                    targets(b"nothing"))
    with case("an immutable item"):
        # Twice as many, since the difference is small.
        there = [net.pick().put(b"value %d" % i) for i in range(2 * LOOKUPS)]
        get.compare("an immutable item", lambda t: ann.api.call("dht.get", target=t.hex()),
                    lambda t: check(net.pick().get(t)), there)
    with case("a mutable item"):
        keys = [Key(t + t[:12]) for t in targets(b"key")]
        for key in keys:
            equal(net.pick().put_mutable(key, b"value"), 1)
        get.compare("a mutable item", lambda k: ann.api.call("dht.get", key=k.public.hex()),
                    lambda k: check(net.pick().get_mutable(k)), keys)
    with case("a put"):
        # Its queries are those of the lookup before it.
        get.compare("a put", lambda v: ann.api.call("dht.put", value=f"mine {v.hex()}"),
                    lambda v: net.pick().put(v), targets(b"put"))
    with case("all of them together"):
        equal(len(get.mine), 4)
        check(sum(get.mine) <= sum(get.others), "ours need more queries", get.mine, get.others)


def main():
    lt = libtorrent("lookups beside libtorrent's")
    with Lab() as lab:
        net = Mainline(lt, "loopback")
        ann = lab.node("ann", options=["--bootstrap", net.bootstrap]).start()
        until(lambda: ann.json("dht", "stats")[0]["ip4"]["nodes"] >= 2 * K, "nodes are known")
        silent(net, ann)
        beside(net, ann)
    finish()


run(main)
