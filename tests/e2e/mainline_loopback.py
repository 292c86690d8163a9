"""Our DHT among fifty nodes of libtorrent, on lo: each finds what the other has stored or
announced, and each obeys the other's limits."""
import contextlib
import hashlib
import os

from harness import REFUSED, Lab, case, check, equal, finish, until
from mainline import (K, Key, Mainline, Serve, bencode, distance, immutable_target, join_address,
                      libtorrent, run, stores_and_gives, stored)

BAD_SIG, BAD_CAS, OLD_SEQ = 206, 301, 302  # BEP 44
TARGETS = 10
VALUE_MAX = 1000 # bencoded

STRINGS = {"short": b"hello", "empty": b"", "of any bytes": bytes(range(256)),
           "the longest": b"x" * 996}
OTHERS = {"a number": 42, "a negative one": -(2**62), "an empty list": [],
          "a list": [1, b"two", {"three": 3}], "a dictionary": {"b": b"\xff\x00", "a": [{}]}}


@contextlib.contextmanager
def pipe(seed):
    r, w = os.pipe()
    os.write(w, seed)
    os.close(w)
    try:
        yield r
    finally:
        os.close(r)


def put_mutable(node, key, value, *options, code=0):
    """On the command line. value: bencoded."""
    with pipe(key.seed) as fd:
        result = node.run("--json", "dht", "put", "--mutable", "--seed-fd", fd, "--bencoded",
                          *options, value, pass_fds=(fd,))
    equal(result.code, code, result)
    return result.json[0] if code == 0 else result


def read_by_others(net, writer, key, value, seq, salt=b""):
    """Two nodes of libtorrent find exactly that."""
    first = net.pick(writer)
    for node in (first, net.pick(writer, first)):
        got = node.get_mutable(key, salt)
        check(got is not None, "libtorrent does not find it")
        equal(got["seq"], seq)
        key.verify(got["sig"], value, seq, salt)


def joining(net, ann, serve):
    with case("it comes to know them, and they know who serves"):
        until(lambda: ann.json("dht", "stats")[0]["ip4"]["nodes"] >= 2 * K, "nodes are known")
        for node in net.nodes[::10]:
            row = ann.json("dht", "ping", join_address(node.at))[0]
            equal(row["address"], join_address(node.at))
        equal(net.client.id_of(serve.at), serve.id)
        until(lambda: any(m["id"] == serve.id.hex() for m in ann.json("dht", "find",
              serve.id.hex())[0]["nodes"]), "the node that serves is found")
    with case("find gives the closest of all nodes"):
        ids = [*net.ids(), serve.id]
        hits = 0
        for i in range(TARGETS):
            target = hashlib.sha1(b"target %d" % i).digest()
            nodes = ann.json("dht", "find", target.hex())[0]["nodes"]
            true = sorted(ids, key=lambda i, t=target: distance(i, t))[:K]
            hits += sum(bytes.fromhex(n["id"]) in true for n in nodes)
        check(hits >= TARGETS * K * 0.95, hits, "of", TARGETS * K)


def immutable(net, ann):
    for what, value in {**STRINGS, **OTHERS}.items():
        with case(f"an immutable item, {what}: libtorrent puts, ours gets"):
            target = net.pick().put(value)
            equal(target, immutable_target(bencode(value)))
            row = ann.json("dht", "get", target.hex())[0]
            equal((row["bencoded"], row["mutable"]), (bencode(value).hex(), False))
        with case(f"an immutable item, {what}: ours puts, libtorrent gets"):
            # Another one, so that what is found is what ours has put.
            v = bencode([b"ours", value])
            v = v if len(v) <= VALUE_MAX else bencode(value.upper())
            target = ann.json("dht", "put", "--bencoded", "-", stdin=v)[0]["target"]
            equal(target, immutable_target(v).hex())
            check(net.pick().get(bytes.fromhex(target)), "libtorrent does not find it")


def mutable_by_them(net, ann):
    with case("a mutable item: libtorrent puts, ours reads each seq, with and without a salt"):
        for salt in (b"", b"news", bytes(range(128, 192))):
            key = Key(os.urandom(32))
            for seq, value in enumerate((b"one", b"two"), 1):
                equal(net.pick().put_mutable(key, value, salt), seq)
                row = ann.api.call("dht.get", key=key.public.hex(), salt_hex=salt.hex())
                equal((row["bencoded"], row["seq"], row["target"]),
                      (bencode(value).hex(), seq, key.target(salt).hex()))
                key.verify(bytes.fromhex(row["sig"]), bencode(value), seq, salt)
    with case("other values than strings, from a plain client at libtorrent's nodes"):
        for value in OTHERS.values():
            key, v = Key(os.urandom(32)), bencode(value)
            at = sorted(zip(net.ids(), net.nodes),
                        key=lambda n: distance(n[0], key.target(b"s")))[:K]
            for _, node in at:
                equal(net.client.put(node.at, key, v, 7, b"s"), 0)
            row = ann.json("dht", "get", "--key", key.public.hex(), "--salt", "s")[0]
            equal((row["bencoded"], row["seq"]), (v.hex(), 7))
            check(row["copies"] >= K // 2, row) # all, unless one is ours that serves, or slow


def mutable_by_us(net, ann):
    with case("a mutable item: ours puts, two others of libtorrent read it"):
        for value in [*STRINGS.values(), *OTHERS.values()]:
            key, v = Key(os.urandom(32)), bencode(value)
            row = ann.api.call("dht.put", mutable=True, seed=key.seed.hex(), bencoded=v.hex(),
                               salt_hex="00ff")
            equal((row["seq"], row["key"], stored(row)), (1, key.public.hex(), K))
            read_by_others(net, None, key, v, 1, b"\x00\xff")
    with case("who puts next reads what the other has put; seq and cas are obeyed"):
        key, salt = Key(os.urandom(32)), b"turns"
        equal(net.pick().put_mutable(key, b"theirs", salt), 1)
        equal(put_mutable(ann, key, "4:ours", "--salt", "turns")["seq"], 2)
        read_by_others(net, None, key, b"4:ours", 2, salt)
        equal(net.pick().put_mutable(key, b"again", salt), 3)
        equal(ann.json("dht", "get", "--key", key.public.hex(), "--salt", "turns")[0]["seq"], 3)
        old = put_mutable(ann, key, "3:old", "--salt", "turns", "--seq", 2, code=REFUSED)
        check("seq" in old.err, old)
        bad = put_mutable(ann, key, "3:bad", "--salt", "turns", "--seq", 8, "--cas", 7, # nobody ever had it
                          code=REFUSED)
        check("cas" in bad.err, bad)
        put_mutable(ann, key, "4:good", "--salt", "turns", "--seq", 9, "--cas", 3)
        read_by_others(net, None, key, b"4:good", 9, salt)
    with case("the highest seq that there is"):
        key, most = Key(os.urandom(32)), 2**63 - 1
        put_mutable(ann, key, "1:x", "--seq", most)
        read_by_others(net, None, key, b"1:x", most)


def peers(lab, net, ann):
    with case("announced by libtorrent, found by ours"):
        info_hash, who = os.urandom(20), net.pick()
        who.announce(info_hash, lab.dir)

        def found():
            got = ann.run("--json", "dht", "peers", info_hash.hex())
            return got.code == 0 and join_address(who.at) in got.json[0]["peers"]

        until(found, "the announcement is found")
    with case("announced by ours, found by libtorrent: any port, and the node's own"):
        info_hash = os.urandom(20)
        equal(stored(ann.json("dht", "announce", info_hash.hex(), "--port", 4321)[0]), K)
        net.pick().finds_peer(info_hash, "127.0.0.1:4321")
        info_hash = os.urandom(20)
        ann.ok("dht", "announce", info_hash.hex())
        net.pick().finds_peer(info_hash, f"127.0.0.1:{ann.status['port']}")


def refusing(net, serve):
    client = net.client
    with case("it refuses what libtorrent refuses, with the same errors"):
        key, there = Key(os.urandom(32)), net.pick().at
        for at in (serve.at, there):
            equal(client.put(at, key, b"1:a", 5), 0)
            equal(client.put(at, key, b"1:b", 4), OLD_SEQ)
            equal(client.put(at, key, b"1:c", 6, cas=4), BAD_CAS)
            equal(client.put(at, key, b"1:d", 6, cas=5), 0)
            token = client.ask(at, "get", target=key.target())[b"r"][b"token"]
            answer = client.ask(at, "put", token=token, k=key.public, seq=7, v=b"e",
                                sig=key.sign(b"1:f", 7))
            equal((answer[b"y"], answer[b"e"][0]), (b"e", BAD_SIG))
            got = client.ask(at, "get", target=key.target(), seq=0)[b"r"]
            equal((got[b"seq"], got[b"v"], got[b"k"]), (6, b"d", key.public))


def main():
    lt = libtorrent("DHT among libtorrent's")
    with Lab() as lab:
        net = Mainline(lt, "loopback")
        ann = lab.node("ann", options=["--bootstrap", net.bootstrap]).start()
        serve = Serve(lab, net)
        joining(net, ann, serve)
        immutable(net, ann)
        mutable_by_them(net, ann)
        mutable_by_us(net, ann)
        peers(lab, net, ann)
        stores_and_gives(net, serve)
        refusing(net, serve)
    finish()


run(main)
