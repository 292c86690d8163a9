"""What a node of the DHT answers, asked by peers that a test plays: BEP 5, 32, 33, 42, 43, 44
and 51, clause by clause, to a bare node and to a full one. All on lo."""
import contextlib
import json
import os
import subprocess
import time

from harness import LINNET, SLOW, WAIT_S, Lab, case, check, equal, finish
from krpc_peer import (K, NODE4, NODE6, ORDER, Fabric, Key, Net, Raw, bencode, bloom, compact, error,
                       near, nearest, nodes_of, reply, sha1)

PROTOCOL, UNKNOWN, TOO_BIG, SIGNATURE, SALT, CAS, SEQ = 203, 204, 205, 206, 207, 301, 302
DATAGRAM_MAX, SMALL_MAX = 1400, 1024  # of ours, with a value and without
INT64_MAX = 2**63 - 1
TARGETS = {"find_node": "target", "get": "target", "sample_infohashes": "target",
           "get_peers": "info_hash"}
PING = b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe"


class Asked:
    """The node under test."""

    def __init__(self, net, name, addr):
        self.net, self.name, self.addr = net, name, addr
        self.nodes = b"nodes6" if ":" in addr[0] else b"nodes"
        self.id = None
        self.id = self.ask("ping").r[b"id"]

    def peer(self, **more):
        return self.net.peer(**more)

    def ask(self, method, peer=None, **args):
        """The answer, to a passer-by unless a peer is given; who asks is read-only, so that the
        node asks nothing back."""
        args.setdefault("top", {"ro": 1})
        who = peer or self.peer(**({"host": "::1"} if ":" in self.addr[0] else {}))
        m = who.ask(self.addr, method, **args)
        check(m.msg[b"ip"] == compact(who.addr), "ip", m)
        check(m.kind == b"e" or self.id in (None, m.r[b"id"]), "id", m)
        check(set(m.msg) == {b"ip", b"t", b"y", m.kind}, "keys", m)
        check(len(m.raw) <= (DATAGRAM_MAX if b"v" in m.r else SMALL_MAX), len(m.raw))
        if peer is None:
            who.close()
        return m

    def gives(self, method, peer=None, **args):
        m = self.ask(method, peer, **args)
        equal(m.code, 0, method, args, m)
        return m.r

    def refuses(self, code, method, peer=None, **args):
        m = self.ask(method, peer, **args)
        equal(m.code, code, method, args, m)
        check(isinstance(m.msg[b"e"][1], bytes) and len(m.msg[b"e"]) == 2, m)

    def named(self, target, **args):
        return nodes_of(self.gives("find_node", target=target, **args)[self.nodes])

    def token(self, peer, target, method="get"):
        return self.gives(method, peer, **{TARGETS[method]: target})[b"token"]

    def announce(self, peer, info_hash, code=0, **args):
        if "token" not in args:
            args["token"] = self.token(peer, info_hash, "get_peers")
        m = self.ask("announce_peer", peer, info_hash=info_hash, **args)
        equal(m.code, code, args)
        check(code != 0 or set(m.r) == {b"id"}, m)

    def values(self, info_hash, peer=None, **args):
        return self.gives("get_peers", peer, info_hash=info_hash, **args).get(b"values", [])

    def put(self, peer, item, under=b"", code=0, **more):
        """Stores an item (under a salt) with a token for its target; more arguments, or others."""
        target = sha1(item["k"] + under) if "k" in item else sha1(bencode(item["v"]))
        args = {**item, **({"salt": under} if under else {}), **more}
        if "token" not in args:
            args["token"] = self.token(peer, target)
        m = self.ask("put", peer, **args)
        equal(m.code, code, more, m)
        check(code != 0 or set(m.r) == {b"id"}, m)

    def item(self, target, peer=None, **args):
        return self.gives("get", peer, target=target, **args)

    def value(self, target, peer=None, **args):
        """The bencoded value that a get gives back, or None."""
        r = self.item(target, peer, **args)
        return bencode(r[b"v"]) if b"v" in r else None


# ---- messages ----


def messages(t):
    with case(f"{t.name}: ping, byte for byte"):
        peer = t.peer()
        m = t.ask("ping", peer, tid=b"aa")
        equal(m.raw, bencode({"ip": compact(peer.addr), "r": {"id": t.id}, "t": "aa", "y": "r"}))
        check(len(t.id) == 20 and t.id not in (bytes(20), peer.id), "an id of its own")
    with case(f"{t.name}: a transaction id comes back, whatever its length and bytes"):
        peer = t.peer()
        for tid in [b"", b"\x00", b"1", b"i1e", b"4:\x00e:", *(os.urandom(n) for n in
                    (2, 3, 4, 5, 8, 15, 16, 17, 20, 32, 64, 65, 100, 128, 200, 256))]:
            equal(t.ask("ping", peer, tid=tid).t, tid)
    with case(f"{t.name}: an id that is none, no arguments, no method"):
        for bad in (None, b"", bytes(19), bytes(21), 5, [bytes(20)], {}):
            for method in ("ping", "find_node", "vote"):
                t.refuses(PROTOCOL, method, id=bad, target=bytes(20))
        peer = t.peer()
        for top in ({}, {"a": []}, {"a": "x"}, {"a": 7}, {"a": {}}):
            m = peer.exchange(t.addr, b"xy", bencode({"t": "xy", "y": "q", "q": "ping", **top}))
            equal(m.code, PROTOCOL, top)
        a = {"id": peer.id, "target": bytes(20), "info_hash": bytes(20)}
        for q in ({}, {"q": 4}, {"q": ["ping"]}):
            m = peer.exchange(t.addr, b"xy", bencode({"t": "xy", "y": "q", "a": a, **q}))
            equal(m.code, PROTOCOL, q)
    with case(f"{t.name}: an unknown method is one; with a target it asks for nodes"):
        for name in ("", "vote", "PING", "ping ", "find_nodes", "x" * 500):
            t.refuses(UNKNOWN, name)
        t.refuses(UNKNOWN, "vote", target=bytes(19))
        for key in ("target", "info_hash"):
            equal(set(t.gives("vote", **{key: bytes(20)})), {b"id", b"nodes"})
    with case(f"{t.name}: a target that is missing or none"):
        for method, key in TARGETS.items():
            other = "info_hash" if key == "target" else "target"
            t.refuses(PROTOCOL, method)
            t.refuses(PROTOCOL, method, **{other: bytes(20)})
            for bad in (b"", bytes(19), bytes(21), 3, [], {}):
                t.refuses(PROTOCOL, method, **{key: bad})


def with_value(x):
    """A ping with an argument that nobody knows."""
    return PING.replace(b"e1:q", b"1:x%se1:q" % x)


def sloppy(t):
    with case(f"{t.name}: what is no message is met with silence"):
        bad = [b"", b"d", b"de", b"i42e", b"4:ping", b"l4:pinge", bytes(64), b"\xff" * 100, b"l" * 1400,
               b"d1:a" * 350, b"d1:a" * 200 + b"i1e" + b"e" * 200, PING + b"x", PING + b"\n", PING + PING,
               PING.replace(b"1:t2:aa", b""), PING.replace(b"2:aa", b"i5e"),
               PING.replace(b"1:t2:aa", b"1:t2:aa1:t2:bb"), PING.replace(b"2:aa", b"257:" + b"a" * 257),
               PING.replace(b"1:qe", b"1:ze"), PING.replace(b"1:qe", b"0:e"),
               PING.replace(b"1:qe", b"i1ee"), PING.replace(b"1:y1:q", b""),
               PING.replace(b"20:a", b"-20:a"), PING.replace(b"20:a", b"4294967316:a"),
               PING.replace(b"20:a", b"18446744073709551636:a"), PING.replace(b"2:id", b"i2e"),
               PING.replace(b"2:id", b"2:id20:abcdefghij01234567892:id"),
               *map(with_value, (b"ie", b"i-e", b"i1", b"i 1e", b"i1.5e", b"l" * 12 + b"e" * 12,
                                 b"5000:" + bytes(5000)))]
        for i in range(0, len(bad), 10):
            peer = t.peer()
            for raw in bad[i:i + 10]:
                check(not peer.draws(t.addr, raw), raw)
        peer = t.peer()
        for n in range(0, len(PING), 3):
            check(not peer.draws(t.addr, PING[:n]), n)
    with case(f"{t.name}: answers that nobody waits for, and errors, draw nothing"):
        peer = t.peer()
        for m in ({"y": "r", "r": {"id": peer.id}}, {"y": "r", "r": {"id": peer.id, "nodes": peer.node}},
                  {"y": "e", "e": [201, "x"]}, {"y": "e", "e": "x", "r": {"id": peer.id}}, {"y": "r"}):
            check(not peer.draws(t.addr, bencode({"t": "zq", **m})), m)
    with case(f"{t.name}: sloppy, but a query: keys in any order, unknown ones, odd numbers"):
        odd = [b"d1:y1:q1:t2:aa1:q4:ping1:ad2:id20:abcdefghij0123456789ee",
               PING.replace(b"d1:ad", b"d1:ad1:Ald1:xi1eee"), PING.replace(b"e1:q", b"1:zd1:ai1eee1:q"),
               PING.replace(b"1:y", b"1:v4:LT\x01\x021:y"), PING.replace(b"1:y", b"1:vi5e1:y"),
               PING.replace(b"1:t", b"2:roi0e1:t"), PING.replace(b"1:t", b"2:ro1:11:t"),
               *map(with_value, (b"i-0e", b"i007e", b"i9223372036854775808e", b"i" + b"9" * 200 + b"e",
                                 b"0:", b"l" + b"0:" * 600 + b"e", b"03:abc", b"1:y1:xi1e"))]
        peer = t.peer()
        for raw in odd:
            equal(peer.exchange(t.addr, b"aa", raw).r, {b"id": t.id}, raw)
        m = peer.exchange(t.addr, b"aa", PING.replace(b"20:a", b"020:a"))
        equal(m.code, PROTOCOL, "a length that is none")
    with case(f"{t.name}: one datagram for one query, also for who is read-only"):
        for ro in (1, 2, "1", [], -1, 0):
            peer = t.peer()
            t.ask("find_node", peer, target=bytes(20), top={"ro": ro})
            peer.draws(t.addr, b"")
            equal(peer.strays, [], ro)


# ---- nodes ----


def ask_until(t, peers, done, *what):
    """They ask now and then, as long as done(peer) is not true."""
    end = time.monotonic() + WAIT_S * SLOW
    while left := [p for p in peers if not done(p)]:
        check(time.monotonic() < end, len(left), "are still not", *what)
        for peer in left:
            peer.ask(t.addr, "find_node", target=peer.id)
        again = time.monotonic() + 0.5
        while time.monotonic() < again:
            t.net.turn(again - time.monotonic())


def is_named(t):
    return lambda peer: peer.id in t.named(peer.id)


def table(t):
    fabric = Fabric(t.net, 14)
    with case(f"{t.name}: who asks, and answers when asked, is named to others"):
        ask_until(t, fabric.peers, is_named(t), "named")
    ids = {p.id: p.addr for p in fabric.peers}
    with case(f"{t.name}: the eight closest, the closest first, each once, where they are"):
        for _ in range(20):
            target = os.urandom(20)
            got = t.named(target)
            others = set(got) - set(ids)  # the full node has a contact of its own
            equal(len(got), K)
            check(len(others) <= 1, got)
            equal(list(got), nearest([*ids, *others], target))
            check(all(ids.get(i, a) == a for i, a in got.items()), got)
        for peer in fabric.peers[:4]:
            got = t.named(peer.id, peer=peer)
            check(peer.id not in got, "the asker itself")
            equal(len(got), K)
    with case(f"{t.name}: an id stays where it answers, whoever else claims it"):
        victim = fabric.peers[0]
        thief = t.peer(node_id=victim.id)
        for _ in range(3):
            thief.ask(t.addr, "ping")
        last = t.peer()
        ask_until(t, [last], is_named(t), "named")
        equal(t.named(victim.id)[victim.id], victim.addr)
        thief.close()
    with case(f"{t.name}: its own queries are canonical, unlike each other, and say no more than needed"):
        equal(t.net.faults, [])
        asked = [q for p in fabric.peers for q in p.asked if q.addr == t.addr]
        check(len(asked) >= len(fabric.peers), len(asked))
        equal(len({q.t for q in asked}), len(asked))
        for q in asked:
            check(len(q.t) >= 4 and q.a[b"id"] == t.id, q)
            check(set(q.msg) - {b"ro"} == {b"a", b"q", b"t", b"y"} and q.msg.get(b"ro", 1) == 1, q)
            check(q.method == "ping" and set(q.a) == {b"id"} or
                  q.method == "find_node" and set(q.a) - {b"want"} == {b"id", b"target"}, q)


def not_named(t):
    with case(f"{t.name}: who has not answered, or not as who he is, is named to nobody"):
        target = near(t.id, 0)

        def at(bits, script):
            return t.peer(node_id=near(target, bits), script=script)

        def elsewhere(q):
            mouth.send(reply(q, id=ear.id), t.addr)

        mouth, ear = t.peer(), at(30, elsewhere)
        # Who is silent has a place for a while; few wait in each bucket.
        quiet, hidden = at(31, lambda q: None), t.peer(node_id=near(t.id, 3), script=lambda q: None)
        wrong = [ear, quiet, at(33, lambda q: error(q, 202)), at(34, lambda q: reply(q, id=t.id)),
                 at(35, lambda q: reply(q, nodes=b"")), at(36, lambda q: bencode(
                     {"t": q.t, "y": "r", "r": []})), at(37, lambda q: reply(q, id=bytes(20)))]
        dead, shy, zero = t.peer(node_id=near(t.id, 4)), at(38, None), t.peer(node_id=bytes(20))
        told = dead.node + hidden.node + quiet.node + os.urandom(20) + bytes(6) + \
            os.urandom(20) + compact(("224.0.0.1", 5)) + os.urandom(20) + compact(("127.0.0.1", 0))
        liar = t.peer(script=lambda q: reply(q, id=liar.id, nodes=told))
        dead.close()
        t.gives("find_node", shy, target=target)
        ask_until(t, [*wrong, liar], lambda p: p.asked, "asked")
        zero.ask(t.addr, "ping")
        last = t.peer(node_id=near(target, 40))
        ask_until(t, [last], is_named(t), "named")
        for want in (target, bytes(20), dead.id, hidden.id, t.id):
            got = t.named(want)
            for peer in (*wrong, dead, hidden, shy, zero):
                check(peer.id not in got and peer.addr not in got.values(), peer.id.hex())
            check(t.id not in got and bytes(20) not in got, "no id of a node")
        equal(shy.asked, [], "who is read-only is not asked")
    with case(f"{t.name}: who says another id than before is named by what it answers"):
        said = os.urandom(20)
        peer = t.peer(script=lambda q: reply(q, id=said, nodes=b""))
        ask_until(t, [peer], lambda p: said in t.named(said), "named")
        check(peer.id not in t.named(peer.id), "the first id")


def wants(t):
    own, other = {b"nodes"}, {b"nodes6"}
    with case(f"{t.name}: want says of which families (BEP 32)"):
        for method, key in TARGETS.items():
            for want, keys in ((None, own), (["n4"], own), (["n6"], other), (["n4", "n6"], own | other),
                               (["n6", "n4", "n6"], own | other), (["x9", 7, [], {}, "", "n4"], own),
                               ([], own), ("n6", own), (6, own), ({"n6": 1}, own), (["N6"], own)):
                r = t.gives(method, want=want, **{key: bytes(20)})
                equal(set(r) & {b"nodes", b"nodes6"}, keys, method, want)
                equal((len(r.get(b"nodes", b"")) % NODE4, len(r.get(b"nodes6", b"")) % NODE6), (0, 0))


# ---- peers ----


def peers(t):
    with case(f"{t.name}: get_peers gives a token and nodes, announce_peer stores"):
        peer, h = t.peer(), os.urandom(20)
        equal(set(t.gives("get_peers", info_hash=h)), {b"id", b"nodes", b"token"})
        check(0 < len(t.token(peer, h, "get_peers")) <= 20)
        t.announce(peer, h, port=4321)
        r = t.gives("get_peers", info_hash=h)
        equal(set(r), {b"id", b"nodes", b"token", b"values"})
        equal(r[b"values"], [compact((peer.addr[0], 4321))])
        equal(t.values(os.urandom(20)), [])
    with case(f"{t.name}: a token is for an address and a target"):
        a, b, h = t.peer(), t.peer(), os.urandom(20)
        good, other = t.token(a, h, "get_peers"), t.token(b, h, "get_peers")
        another = t.token(a, os.urandom(20), "get_peers")
        equal(len({good, other, another}), 3)
        for bad in (None, b"", b"x", other, another, good + b"x", good[:-1], bytes(len(good)),
                    b"t" * 65, 5, [good]):
            t.announce(a, h, code=PROTOCOL, port=1, token=bad)
        equal(t.values(h), [], "one of those was stored")
        same = t.peer(host=a.addr[0])
        t.announce(same, h, port=7, token=good)
        t.announce(a, h, port=8, token=good)
        equal(t.values(h), [compact((a.addr[0], 8))], "one entry an address, the newest")
        t.announce(b, h, port=9, token=other)
        equal(sorted(t.values(h)), sorted(compact(x) for x in ((a.addr[0], 8), (b.addr[0], 9))))
        for bad in (None, bytes(19), 4):
            t.refuses(PROTOCOL, "announce_peer", a, info_hash=bad, port=1, token=good)
    with case(f"{t.name}: ports that are none, and implied ones"):
        h = os.urandom(20)
        for port in (None, 0, -1, 65536, 70000, 2**63, "80", b"\x00\x50", []):
            a = t.peer()
            t.announce(a, h, code=PROTOCOL, port=port)
            t.announce(a, h, code=PROTOCOL, port=port, implied_port=0)
        equal(t.values(h), [])
        for port in (1, 65535):
            t.announce(a, h, port=port, implied_port=0)
            equal(t.values(h), [compact((a.addr[0], port))])
        for port in (None, 0, 1, 70000, "x"):
            t.announce(a, h, port=port, implied_port=1)
            equal(t.values(h), [compact(a.addr)], port)
            t.announce(a, h, port=4)
    with case(f"{t.name}: of many peers as many as fit, each once, not always the same"):
        h, all_of = os.urandom(20), set()
        for _ in range(90):
            a = t.peer()
            t.announce(a, h, port=1000)
            all_of.add(compact((a.addr[0], 1000)))
            a.close()
        got = t.values(h, want=["n4", "n6"])
        equal(len(set(got)), len(got))
        check(set(got) <= all_of and len(got) >= 30, len(got))
        check(set(got).union(*(t.values(h) for _ in range(12))) > set(got), "always the same ones")


def scrapes(t):
    with case(f"{t.name}: the filters of a scrape, and what a seed is (BEP 33)"):
        h = os.urandom(20)
        equal(set(t.gives("get_peers", info_hash=h, scrape=1)), {b"id", b"nodes", b"token"})
        seeds, others = [t.peer() for _ in range(3)], [t.peer() for _ in range(4)]
        for a in seeds:
            t.announce(a, h, port=1, seed=1)
        for a, seed in zip(others, (None, 0, 2, "1")):
            t.announce(a, h, port=1, seed=seed)
        r = t.gives("get_peers", info_hash=h, scrape=1, want=["n4", "n6"])
        equal(r[b"BFsd"], bloom(*(a.addr[0] for a in seeds)))
        equal(r[b"BFpe"], bloom(*(a.addr[0] for a in others)))
        check(r[b"values"] and r[b"token"] and b"nodes" in r, r)
        for scrape in (None, 0, "1"):
            check(b"BFsd" not in t.gives("get_peers", info_hash=h, scrape=scrape), scrape)
        equal(set(t.values(h, noseed=1)), {compact((a.addr[0], 1)) for a in others})
        equal(len(t.values(h, noseed=0)), 7)
        t.announce(seeds[0], h, port=2)
        equal(t.gives("get_peers", info_hash=h, scrape=1)[b"BFsd"],
              bloom(*(a.addr[0] for a in seeds[1:])), "it was one")
        h = os.urandom(20)
        t.announce(seeds[0], h, port=1, seed=1)
        equal(t.values(h, noseed=1), [])
        equal(t.gives("get_peers", info_hash=h, scrape=1)[b"BFpe"], bytes(256))


def samples(t):
    def ask():
        r = t.gives("sample_infohashes", target=bytes(20))
        equal(set(r), {b"id", b"interval", b"nodes", b"num", b"samples"})
        check(0 <= r[b"interval"] <= 21600, r[b"interval"])
        got = [r[b"samples"][i:i + 20] for i in range(0, len(r[b"samples"]), 20)]
        equal((len(set(got)), len(r[b"samples"]) % 20), (len(got), 0))
        check(len(got) <= r[b"num"], r)
        return r[b"num"], got

    with case(f"{t.name}: samples of the hashes that have peers (BEP 51)"):
        equal(ask(), (0, []))
        known, before = set(), None
        for i in range(30):
            peer, h = t.peer(), os.urandom(20)
            t.announce(peer, h, port=1)
            peer.close()
            known.add(h)
            num, got = ask()
            equal((num, len(got)), (i + 1, min(i + 1, 20)))
            check(set(got) <= known, "a hash without peers")
            check(num <= 21 or got == before, "others within the interval")
            before = got


# ---- items ----


def immutable(t):
    with case(f"{t.name}: a get gives a token and nodes, and nothing that is not there"):
        for seq in (None, 0, 5):
            equal(set(t.item(os.urandom(20), seq=seq)), {b"id", b"nodes", b"token"})
    with case(f"{t.name}: an immutable item of any type comes back as it was"):
        for v in (os.urandom(30), b"", 0, -7, INT64_MAX, -2**63, [], {}, [1, b"two", [3], {}],
                  {"a": 1, "zz": [b""]}, bytes(range(256)), b"x" * 996):
            peer = t.peer()
            t.put(peer, {"v": v})
            r = t.item(sha1(bencode(v)), peer)
            equal(set(r), {b"id", b"nodes", b"token", b"v"}, v)
            equal(bencode(r[b"v"]), bencode(v))
            equal(t.value(sha1(bencode(v)), peer, seq=5), bencode(v), "seq says nothing of it")
        t.put(peer, {"v": v}, target=bytes(20))
    with case(f"{t.name}: an immutable put that is none"):
        peer, v = t.peer(), os.urandom(9)
        for bad in (None, b"", b"nonsense", 7, t.token(peer, os.urandom(20))):
            t.put(peer, {"v": v}, code=PROTOCOL, token=bad)
        t.put(peer, {"v": v}, code=PROTOCOL, token=t.token(t.peer(), sha1(bencode(v))))
        t.put(peer, {"v": v}, code=TOO_BIG, v=b"x" * 997)
        t.put(peer, {"v": v}, code=TOO_BIG, v=[b"x" * 500, b"y" * 500])
        t.refuses(PROTOCOL, "put", peer, token=t.token(peer, sha1(bencode(v))))
        equal(t.value(sha1(bencode(v))), None)
        t.put(peer, {"v": v}, token=t.token(peer, sha1(bencode(v)), "get_peers"))
        t.put(peer, {"v": v}, cas=3, salt=b"")
        equal(t.value(sha1(bencode(v))), bencode(v))
    with case(f"{t.name}: bencode that is not canonical is not stored"):
        peer = t.peer()
        for v in (b"i-0e", b"i007e", b"i-e", b"03:abc", b"d1:bi1e1:ai1ee", b"d1:ai1e1:ai2ee", b"li01ee"):
            target = sha1(v)
            raw = b"d1:ad2:id20:%s5:token8:%s1:v%se1:q3:put1:t2:aa1:y1:qe" % (
                peer.id, t.token(peer, target), v)
            peer.send(raw, t.addr)
            equal(t.value(target, peer), None, v)
            peer.strays = [m for m in peer.strays if m.code != PROTOCOL]
        equal(peer.strays, [])


def mutable(t):
    key = Key()
    one, two = bencode(b"one"), bencode({"n": 2})
    with case(f"{t.name}: a mutable item comes back with what proves it"):
        peer = t.peer()
        t.put(peer, key.item(4, one), cas=99)
        r = t.item(key.target())
        equal(set(r), {b"id", b"k", b"nodes", b"seq", b"sig", b"token", b"v"})
        equal((r[b"k"], r[b"seq"], r[b"sig"], bencode(r[b"v"])), (key.k, 4, key.sign(4, one), one))
    with case(f"{t.name}: which seq and cas replace"):
        peer = t.peer()
        t.put(peer, key.item(4, one))
        for seq, v, cas, code in ((3, two, None, SEQ), (4, two, None, SEQ), (0, two, None, SEQ),
                                  (3, one, None, SEQ), (5, two, 3, CAS), (5, two, 5, CAS),
                                  (5, two, 0, CAS), (5, two, -1, CAS), (4, one, 3, CAS),
                                  (3, two, 4, SEQ), (4, two, 4, SEQ)):
            t.put(peer, key.item(seq, v), code=code, cas=cas)
        equal(t.value(key.target()), one)
        t.put(peer, key.item(4, one), cas=4)
        t.put(peer, key.item(5, two), cas=4)
        equal(t.value(key.target()), two)
        t.put(peer, key.item(2**62, one))
        t.put(peer, key.item(INT64_MAX, two))
        equal(t.item(key.target())[b"seq"], INT64_MAX)
        t.put(peer, Key().item(0, one))
    with case(f"{t.name}: get with a seq leaves out what the asker has"):
        key2, peer = Key(), t.peer()
        t.put(peer, key2.item(4, one))
        for seq, has in ((None, True), (0, True), (3, True), (-1, True), ("4", True), (4, False),
                         (5, False), (INT64_MAX, False)):
            r = t.item(key2.target(), peer, seq=seq)
            equal(set(r), {b"id", b"nodes", b"seq", b"token"} | ({b"k", b"sig", b"v"} if has else set()))
            equal(r[b"seq"], 4)
    with case(f"{t.name}: what is not signed is not stored"):
        peer, key3 = t.peer(), Key()
        good = key3.item(1, one)
        spoilt = bytearray(good["sig"])
        spoilt[7] ^= 1
        high = int.from_bytes(good["sig"][32:], "little") + ORDER
        for sig in (bytes(spoilt), key3.sign(2, one), key3.sign(1, two), key3.sign(1, one, b"salt"),
                    Key().sign(1, one), bytes(64), good["sig"][:32] + high.to_bytes(32, "little")):
            t.put(peer, good, code=SIGNATURE, sig=sig)
        t.put(peer, {**good, "k": b"\x01" + bytes(31)}, code=SIGNATURE, sig=b"\x01" + bytes(63))
        peer = t.peer()
        for more in ({"sig": None}, {"seq": None}, {"sig": None, "seq": None}, {"sig": good["sig"][:63]},
                     {"sig": good["sig"] + b"x"}, {"seq": -1}, {"seq": 2**63}, {"seq": "1"}, {"sig": 5},
                     {"cas": "1"}, {"salt": 5}, {"v": None}, {"token": None}):
            t.put(peer, good, code=PROTOCOL, **more)
        for k in (good["k"][:31], good["k"] + b"x", 5):
            t.put(peer, good, code=PROTOCOL, k=k)
        equal(t.item(key3.target()).get(b"v"), None)
        peer = t.peer()
        t.put(peer, {"v": Raw(one)}, code=PROTOCOL, sig=good["sig"])
        t.put(peer, {"v": Raw(one)}, code=PROTOCOL, seq=1)
        t.put(peer, {"v": Raw(one)}, code=PROTOCOL, salt=b"x")
    with case(f"{t.name}: an unsigned put hides no signed item"):
        peer = t.peer()
        t.put(peer, good)
        t.put(peer, good, code=PROTOCOL, sig=None, seq=None, v=b"junk")
        equal(t.value(key3.target()), one)
        equal(t.value(key3.target(), seq=0), one)
    with case(f"{t.name}: salts are told apart, an empty one is none, one of 65 bytes too long"):
        key4, peer = Key(), t.peer()
        for salt, v in ((b"a", one), (b"\x00" * 64, two)):
            t.put(peer, key4.item(1, v, salt), salt)
            r = t.item(key4.target(salt), peer)
            check(b"salt" not in r and bencode(r[b"v"]) == v, r)
        equal(t.value(key4.target(), peer), None)
        t.put(peer, key4.item(1, two), salt=b"")
        equal(t.value(key4.target(), peer), two)
        long = b"s" * 65
        t.put(peer, key4.item(1, one, long), long, code=SALT)
        equal(t.value(key4.target(long), peer), None)
    with case(f"{t.name}: the largest value, with the longest of all else, in one datagram"):
        key5, peer, salt = Key(), t.peer(), b"s" * 64
        large = b"996:" + os.urandom(996)
        t.put(peer, key5.item(INT64_MAX - 1, large, salt), salt)
        m = t.ask("get", peer, target=key5.target(salt), tid=os.urandom(128), want=["n4", "n6"])
        equal(bencode(m.r[b"v"]), large)
        t.put(peer, key5.item(INT64_MAX, b"997:" + bytes(997), salt), salt, code=TOO_BIG)
        equal(t.value(key5.target(salt), peer), large)


# ---- the other family ----


def six(t):
    """Everything of IPv6 comes from one address, which has 50 answers at once."""
    with case(f"{t.name}: nodes6, peers of 18 bytes and ip over IPv6 (BEP 32)"):
        peer, h = t.peer(host="::1"), os.urandom(20)
        equal(set(t.gives("find_node", peer, target=h)), {b"id", b"nodes6"})
        equal(set(t.gives("find_node", peer, target=h, want=["n4"])), {b"id", b"nodes"})
        t.announce(peer, h, port=4321)
        equal(t.values(h, peer, want=["n4", "n6"]), [compact(("::1", 4321))])
        check(bloom("::1") in t.gives("get_peers", peer, info_hash=h, scrape=1).values())
        ask_until(t, [peer], is_named(t), "named")
        equal(nodes_of(t.gives("find_node", target=h)[b"nodes6"]), {peer.id: peer.addr})
        t.put(peer, {"v": b"six"})
        equal(t.value(sha1(b"3:six"), peer), b"3:six")


def both(four, t):
    with case("a node of both families has an id in each, and names either's nodes to who wants them"):
        check(t.id != four.id, "one id")
        r = t.gives("find_node", target=bytes(20), want=["n4", "n6"])
        equal((len(r[b"nodes"]), r[b"nodes6"]), (K * NODE4, b""))
        equal(nodes_of(r[b"nodes"]), four.named(bytes(20)))


@contextlib.contextmanager
def served(lab, host="127.0.0.1"):
    """The address of a bare node."""
    at = f"[{host}]:0" if ":" in host else f"{host}:0"
    with subprocess.Popen([LINNET, "--json", "dht", "serve", "--listen", at], env=lab.env,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        lab.children.append(process)
        port = json.loads(process.stdout.readline())["address"].rpartition(":")[2]
        yield host, int(port)
        process.terminate()
        equal(process.wait(), 0)
        lab.children.remove(process)


def all_of(t):
    samples(t)
    table(t)
    not_named(t)
    wants(t)
    messages(t)
    sloppy(t)
    peers(t)
    scrapes(t)
    immutable(t)
    mutable(t)


def main():
    with Lab() as lab:
        with served(lab) as addr, contextlib.closing(Net()) as net:
            all_of(Asked(net, "bare", addr))
        with served(lab) as addr, contextlib.closing(Net()) as net:
            full = lab.node("full", options=["--bootstrap", "%s:%d" % addr]).start()
            four = Asked(net, "full", ("127.0.0.1", full.status["port"]))
            all_of(four)
            both(four, Asked(net, "full, IPv6", ("::1", full.status["port"])))
            full.stop()
        with served(lab, "::1") as addr, contextlib.closing(Net()) as net:
            six(Asked(net, "bare, IPv6", addr))
    finish()


main()
