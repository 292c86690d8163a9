"""A full node asks a network of nodes that a test plays: what its queries look like, what it
does with odd answers, and what it stores where. BEP 5, 32, 42, 43 and 44; all on lo."""
import contextlib
import json
import os
import time

from harness import ERROR, NOBODY, REFUSED, SLOW, WAIT_S, Lab, case, check, equal, finish
from krpc_peer import (Fabric, Key, Net, Raw, bencode, compact, error, near, reply, sha1, verifies)

ARGS = {"ping": {b"id"}, "find_node": {b"id", b"target"}, "get": {b"id", b"target"},
        "get_peers": {b"id", b"info_hash"}}
COMMAND_S = 40


class Asking:
    """The node under test, and the nodes that it knows."""

    def __init__(self, lab, net, n=20):
        self.lab, self.net, self.fabric = lab, net, Fabric(net, n)
        at = "%s:%d" % self.fabric.peers[0].addr
        self.node = lab.node("full", options=["--bootstrap", at])
        self.node.spawn()
        end = time.monotonic() + WAIT_S * SLOW
        self.run("--json", "status", wait=True)
        while not json.loads(self.ok("--json", "dht", "stats"))["ready"]: # each serves the network
            check(time.monotonic() < end, "the node finds no others")

    def run(self, *args, wait=False, **more):
        """A command, while the network answers: its exit code, what it printed and said."""
        while True:
            process = self.node.popen("--no-start", *args, stdout=-1, stderr=-1, **more)
            self.net.until(lambda p=process: p.poll() is not None, *args, timeout=COMMAND_S)
            self.lab.children.remove(process)
            out, err = process.communicate()
            if process.returncode == 0 or not wait:
                return process.returncode, out.decode(), err.decode()

    def ok(self, *args, **more):
        code, out, err = self.run(*args, **more)
        equal(code, 0, args, err)
        return out

    def fails(self, wanted, *args, **more):
        code, _, err = self.run(*args, **more)
        equal(code, wanted, args, err)
        return err

    def put(self, key, value, *options, code=0):
        """A mutable item with the key's seed: what it said, or where it failed why."""
        r, w = os.pipe()
        os.write(w, key.seed)
        os.close(w)
        try:
            args = ("dht", "put", "--mutable", "--seed-fd", str(r), *options, value)
            return self.fails(code, *args, pass_fds=(r,)) if code else self.ok(*args, pass_fds=(r,))
        finally:
            os.close(r)

    @contextlib.contextmanager
    def case(self, name):
        """A case with a network that answers well to begin with."""
        self.fabric.reset()
        self.net.faults.clear()
        with case(name):
            yield self.fabric
            equal(self.net.faults, [], "what is no canonical message")

    def asked(self, method, **args):
        """The queries of a method that have these arguments; what was begun before goes on."""
        args = {k.encode(): v for k, v in args.items()}
        return [q for p in self.fabric.peers for q in p.asked
                if q.method == method and args.items() <= q.a.items()]


def queries(t):
    with t.case("queries are canonical and bare; transaction ids are long, and none comes twice"):
        t.ok("dht", "find", os.urandom(20).hex())
        t.ok("dht", "put", os.urandom(8).hex())
        t.ok("dht", "announce", os.urandom(20).hex())
        t.ok("dht", "find", os.urandom(20).hex())
        asked = [q for p in t.fabric.peers for q in p.asked]
        equal(len({q.a[b"id"] for q in asked}), 1)
        equal(len({q.t for q in asked}), len(asked))
        check(all(len(q.t) >= 4 for q in asked))
        steps = {int.from_bytes(b.t, "big") - int.from_bytes(a.t, "big")
                 for a, b in zip(asked, asked[1:])}
        check(len(steps) > len(asked) // 2, "they can be foretold", steps)
        for q in asked:
            check(set(q.msg) - {b"ro"} == {b"a", b"q", b"t", b"y"}, q)
            check(q.msg.get(b"ro", 1) == 1, "ro is 1, or not there")
            check(set(q.a.get(b"want", [])) <= {b"n4", b"n6"}, q)
            if q.method in ARGS:
                equal(set(q.a) - {b"want"}, ARGS[q.method], q)
            check(all(len(q.a[k]) == 20 for k in (b"id", b"target", b"info_hash") if k in q.a), q)
    with t.case("the closest eight are found, wherever they were named"):
        target = os.urandom(20)
        lines = t.ok("dht", "find", target.hex()).splitlines()
        equal(lines, ["%s %s:%d" % (p.id.hex(), *p.addr) for p in t.fabric.closest(target)])


def tokens(t):
    with t.case("stored is at the eight closest that gave a token, each with its own"):
        value = os.urandom(8).hex()
        target = sha1(bencode(value))
        lengths = (1, 2, 8, 20, 64)
        for i, p in enumerate(t.fabric.peers):
            p.token = os.urandom(lengths[i % len(lengths)])
        bad = t.fabric.closest(target, 4)
        for p, token in zip(bad, (b"", b"x" * 65, 7, None)):
            p.token = token
            if token is None:
                p.script = lambda q, p=p: reply(q, id=p.id, nodes=t.fabric.nodes(target))
        equal(t.ok("dht", "put", value).strip(), target.hex())
        check(not any(p.stored for p in bad), "without a token")
        equal([len(p.stored) for p in t.fabric.closest(target)[4:]], [1] * 4)
        equal(sum(len(p.stored) for p in t.fabric.peers), 8, "others stand in")
        for p in t.fabric.peers:
            for q in p.stored:
                equal(q.a, {b"id": q.a[b"id"], b"token": p.token, b"v": value.encode()})
                check("get" in p.methods()[:p.methods().index("put")], "before it had a token")
    with t.case("announce_peer has a port, and says when it is the one it comes from"):
        h = os.urandom(20)
        t.ok("dht", "announce", h.hex(), "--port", "4321")
        t.ok("dht", "announce", h.hex())
        got = [q for p in t.fabric.closest(h) for q in p.stored]
        equal(len(got), 16)
        for p in t.fabric.closest(h):
            first, second = p.stored
            for q in p.stored:
                check(set(q.a) == {b"id", b"implied_port", b"info_hash", b"port", b"token"}, q)
                equal((q.a[b"info_hash"], q.a[b"token"]), (h, p.token))
            equal((first.a[b"port"], first.a[b"implied_port"]), (4321, 0))
            check(second.a[b"implied_port"] == 1 and 0 < second.a[b"port"] < 65536, second)
    with t.case("errors instead of tokens: nothing is stored, and that is said"):
        for p in t.fabric.peers:
            p.script = lambda q, p=p: (error(q, 204) if q.method in ("get", "get_peers")
                                       else t.fabric.answer(p, q))
        t.fails(NOBODY, "dht", "put", os.urandom(8).hex())
        t.fails(NOBODY, "dht", "get", os.urandom(20).hex())
        equal([p.stored for p in t.fabric.peers if p.stored], [])


def gives(t, p, item, **more):
    """The peer has an item."""
    def script(q):
        if q.method != "get":
            return t.fabric.answer(p, q)
        has = {k: v for k, v in item.items() if k == "seq" or "seq" not in item or
               q.a.get(b"seq", -1) < item["seq"]}
        return t.fabric.answer(p, q, **has, **more)
    p.script = script


def immutable(t):
    with t.case("a value that is not that of the target is passed over"):
        value = os.urandom(9).hex().encode()
        target = sha1(bencode(value))
        near_ones = t.fabric.closest(target, 5)
        for p, v in zip(near_ones, (b"junk", [value], Raw(b"018:" + value), 5)):
            gives(t, p, {"v": v})
        equal(len(bencode(value)), len(b"18:") + 18)
        gives(t, near_ones[4], {"v": value})
        equal(t.ok("dht", "get", target.hex()), value.decode() + "\n")
    with t.case("a value that comes late, when all others have answered, still counts"):
        late = t.fabric.closest(target)[5]
        kept = []

        def script(q):
            if q.method != "get":
                return t.fabric.answer(late, q)
            kept.append(q)
            return None

        def others(p, q):
            if kept and len(t.asked("get", target=target)) >= 8:
                late.send(t.fabric.answer(late, kept.pop(), v=value), q.addr)
            return t.fabric.answer(p, q)

        for p in t.fabric.peers:
            p.script = lambda q, p=p: others(p, q)
        late.script = script
        equal(t.ok("dht", "get", target.hex()), value.decode() + "\n")
    with t.case("nobody has it: not found, and that is no failure to ask"):
        t.fails(ERROR, "dht", "get", os.urandom(20).hex())


def mutable(t):
    key = Key()
    salt = b"news"
    with t.case("a get of a mutable item has a seq; the newest value that is signed wins"):
        target = key.target(salt)
        closest = t.fabric.closest(target)
        good, old = key.item(7, b"5:seven", salt), key.item(6, b"3:six", salt)
        spoilt = {**key.item(9, b"4:nine", salt), "sig": bytes(64)}
        for p, item in zip(closest, (old, spoilt, Key().item(9, b"4:nine", salt), key.item(9, b"4:nine"),
                                     {**good, "seq": 8}, {"seq": 9, "v": b"nine"}, good,
                                     {**good, "v": b"SEVEN"})):
            gives(t, p, item)
        equal(t.ok("dht", "get", "--key", key.k.hex(), "--salt", "news"), "seven\n")
        check(len(t.asked("get", target=target)) >= 8)
        for q in t.asked("get", target=target):
            equal(set(q.a) - {b"want"}, {b"id", b"seq", b"target"})
            check(q.a[b"seq"] >= 0, q)
        stored = t.asked("put", k=key.k)
        check({p.addr for p in closest if p.stored} >= {closest[0].addr, closest[1].addr}, "no repair")
        for q in stored: # again where it was old or not there, as it was signed
            equal((q.a[b"seq"], q.a[b"v"], q.a[b"salt"]), (7, b"seven", salt))
            check(verifies(q.a, salt) and b"cas" not in q.a)
    with t.case("a put is signed, with its salt; cas goes to who has named a seq"):
        for p in closest[:3]:
            gives(t, p, good)
        t.put(key, "eight", "--salt", "news", "--seq", "8", "--cas", "7")
        for p in closest:
            q, = [q for q in p.stored if q.a.get(b"k") == key.k]
            equal(set(q.a), {b"id", b"k", b"salt", b"seq", b"sig", b"token", b"v"} |
                  ({b"cas"} if p in closest[:3] else set()))
            equal((q.a[b"k"], q.a[b"salt"], q.a[b"seq"], q.a[b"v"]), (key.k, salt, 8, b"eight"))
            equal((q.a.get(b"cas", 7), q.a[b"token"]), (7, p.token))
            check(verifies(q.a, salt))
    with t.case("without a salt there is none"):
        t.put(key, "plain", "--seq", "1")
        equal(len(t.asked("put", k=key.k)), 8)
        for q in t.asked("put", k=key.k):
            equal(set(q.a), {b"id", b"k", b"seq", b"sig", b"token", b"v"})
            check(verifies(q.a))
    with t.case("another value with the seq of a put, or a higher seq: nothing is stored, and why"):
        for seq, v, word in ((8, b"4:ours", "another value has seq 8"), (9, b"4:nine", "higher seq 9")):
            t.fabric.reset()
            gives(t, closest[5], key.item(seq, v, salt))
            said = t.put(key, "eight", "--salt", "news", "--seq", "8", code=REFUSED)
            check(word in said, said)
            equal(t.asked("put", k=key.k), [])
        t.fabric.reset()
        gives(t, closest[5], {**key.item(8, b"4:ours", salt), "sig": bytes(64)})
        t.put(key, "eight", "--salt", "news", "--seq", "8")
        equal(len(t.asked("put", k=key.k)), 8, "what is not signed stands in nobody's way")
    with t.case("one that obeyed but whose answer was lost is no conflict"):
        for p in closest:
            gives(t, p, good)
        lost = closest[2]
        has = [7]

        def script(q):
            if q.method != "put":
                return t.fabric.answer(lost, q, **({"seq": has[0]} if q.method == "get" else {}))
            if q.a.get(b"cas", has[0]) != has[0]:
                return error(q, 301)
            has[0] = q.a[b"seq"]
            lost.stored.append(q)
            return None if len(lost.stored) == 1 else reply(q, id=lost.id)

        lost.script = script
        t.put(key, "eight", "--salt", "news", "--seq", "8", "--cas", "7")
        check(has == [8] and len(lost.stored) >= 1, has)
    with t.case("refusals of all: error 302 and 301 are told apart"):
        for code, word in ((302, "seq"), (301, "cas"), (202, "202")):
            for p in t.fabric.peers:
                p.script = lambda q, p=p, code=code: (error(q, code) if q.method == "put"
                                                      else t.fabric.answer(p, q))
            said = t.put(key, "eight", "--salt", "news", "--seq", "8", code=REFUSED)
            check(word in said, said)
    with t.case("refused for its seq by nodes that show no value: what one names is told as such"):
        for p in t.fabric.peers:
            p.script = lambda q, p=p: (error(q, 302) if q.method == "put" else t.fabric.answer(
                p, q, **({"seq": 2 ** 62} if q.method == "get" and p is closest[5] else {})))
        said = t.put(key, "eight", "--salt", "news", "--seq", "8", code=REFUSED)
        check(f"Some name seq {2 ** 62}, which need not be true" in said, said)
        check("what is there has" not in said, said)


def odd_answers(t):
    target = os.urandom(20)
    closest = t.fabric.closest(target)

    def found():
        return [line.split()[0] for line in t.ok("dht", "find", target.hex()).splitlines()]

    with t.case("nodes: 25 of them, none, half a one, and addresses that are none"):
        junk = b"".join(os.urandom(20) + compact(a) for a in (
            ("0.0.0.0", 6881), ("224.0.0.1", 6881), ("255.255.255.255", 6881), ("127.0.0.1", 0)))
        for p, nodes in zip(closest, (junk + b"".join(x.node for x in t.fabric.peers) + closest[0].node * 9,
                                      b"", closest[1].node[:-1], closest[1].node + b"x", 5, [], None)):
            p.script = lambda q, p=p, nodes=nodes: reply(
                q, id=p.id, **({} if nodes is None else {"nodes": nodes}))
        equal(found(), [p.id.hex() for p in closest])
    with t.case("answers with unsorted keys, unknown ones, v, ip and odd numbers are read"):
        for i, p in enumerate(closest):
            def script(q, p=p, i=i):
                r = b"2:id20:%s5:nodes%d:%s" % (p.id, len(t.fabric.nodes(target)), t.fabric.nodes(target))
                t_ = b"%d:%s" % (len(q.t), q.t)
                return (b"d1:y1:r1:t%s1:rd%see" % (t_, r), b"d2:ip3:abc1:rd%s1:xi007ee1:t%s1:y1:re" % (r, t_),
                        b"d2:ip6:\x7f\x00\x00\x01\x1a\xe11:rd%s1:pi99999ee1:t%s1:v4:LT\x02\x081:y1:re" % (r, t_),
                        b"d1:eli201e1:xe1:rd%se1:t%s1:y1:re" % (r, t_))[i % 4]
            p.script = script
        equal(found(), [p.id.hex() for p in closest])
    with t.case("an answer counts once, from where it was asked, with its transaction id"):
        mouth = t.net.peer()
        ghost = [near(target, 20 + i) for i in range(5)]
        p0, p1, p2, p3 = closest[:4]
        p0.script = lambda q: mouth.send(reply(q, id=p0.id, nodes=ghost[0] + compact(mouth.addr)), q.addr)
        p1.script = lambda q: reply(q, id=p1.id, nodes=b"") + b"x"
        p2.script = lambda q: [bencode({"t": q.t[:-1], "y": "r", "r": {"id": p2.id}}),
                               bencode({"t": q.t + b"x", "y": "r", "r": {"id": p2.id}})]
        p3.script = lambda q: [reply(q, id=p3.id, nodes=b""), reply(q, id=p3.id, nodes=closest[4].node)] * 3
        got = found()
        equal(got[0], p3.id.hex(), got)
        check(not {p.id.hex() for p in (p0, p1, p2)} & set(got), got)
        check(not any(g.hex() in got for g in ghost) and not mouth.asked, got)
    with t.case("who answers as somebody else, as nobody or as ourselves is not found"):
        own = t.node.json("dht", "stats")[0]["ip4"]["id"]
        said = near(target, 25)
        for p, r in zip(closest, ({"id": said}, {}, {"id": bytes.fromhex(own)}, {"id": b"short"})):
            p.script = lambda q, r=r: reply(q, nodes=b"", **r)
        got = found()
        check(not {p.id.hex() for p in closest[:4]} & set(got) and own not in got, got)
        equal(got[0], closest[4].id.hex())
    with t.case("errors of any shape, silence, and what is no message, keep nobody from being found"):
        bad = (lambda q: bencode({"t": q.t, "y": "e", "e": []}),
               lambda q: bencode({"t": q.t, "y": "e", "e": [203]}),
               lambda q: bencode({"t": q.t, "y": "e", "e": "no", "r": {"id": closest[2].id}}),
               lambda q: bencode({"t": q.t, "y": "r", "r": []}), lambda q: bencode({"t": q.t, "y": "z"}),
               lambda q: b"d" * 5000)
        for p, script in zip(closest, bad):
            p.script = script
        got = found()
        equal(got[:2], [p.id.hex() for p in closest[6:8]])
        check(not {p.id.hex() for p in closest[:6]} & set(got), got)


def values(t):
    with t.case("peers of both families in one list, odd entries passed over (BEP 32)"):
        h = os.urandom(20)
        good = ("127.0.0.1", 5000), ("127.9.9.9", 1), ("::1", 7)
        odd = [b"", b"abc", b"x" * 7, 5, [], compact(("127.0.0.1", 0)), compact(("0.0.0.0", 5)),
               compact(("224.0.0.1", 5)), compact(("ff02::1", 5)), compact(("::ffff:127.0.0.1", 9)),
               *(compact(a) for a in good)]
        for p, v in zip(t.fabric.closest(h), (odd, [], "no list", 5, odd)):
            p.script = lambda q, p=p, v=v: t.fabric.answer(p, q, **(
                {"values": v} if q.method == "get_peers" else {}))
        equal(sorted(t.ok("dht", "peers", h.hex()).split()), ["127.0.0.1:5000", "127.9.9.9:1", "[::1]:7"])
    with t.case("nobody has any: not found"):
        t.fails(ERROR, "dht", "peers", os.urandom(20).hex())


def main():
    with Lab() as lab, contextlib.closing(Net()) as net:
        t = Asking(lab, net)
        queries(t)
        tokens(t)
        immutable(t)
        mutable(t)
        values(t)
        odd_answers(t)
        t.run("stop")
        equal(t.node.ended(), 0)
    finish()


main()
