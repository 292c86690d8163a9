"""Our DHT among fifty nodes of libtorrent that have IPv6 alone, one in a /32 (BEP 32): items and
peers both ways."""
import os
import subprocess

from harness import Lab, case, check, equal, finish, namespaces, until
from mainline import (K, Key, Mainline, Serve, bencode, id_fits, join_address, libtorrent, run,
                      stores_and_gives, stored)

NAME = "DHT over IPv6"
OURS = "2a02:40::2" # what sockets that are bound to no address send from
TABLE = "100"


def addresses_on_lo(addresses):
    """The kernel would take the address that a datagram goes to as its source, too, since both
    are of this host: so a route with a source comes before the table of local ones."""
    lines = [f"address add {a}/128 dev lo nodad" for a in (*addresses, OURS)]
    lines += [f"route add local 2a02::/16 dev lo src {OURS} table {TABLE}",
              "rule add pref 10 lookup local", f"rule add pref 5 lookup {TABLE}",
              "rule del pref 0"]
    subprocess.run(["ip", "-6", "-batch", "-"], input="\n".join(lines), text=True, check=True)


def ip6(node):
    return node.json("dht", "stats")[0]["ip6"]


def voting(ann):
    with case("the nodes say what our address is, and our id comes to fit it"):
        row = until(lambda: ip6(ann)["seen"] and ip6(ann), "they agree")
        equal(row["seen"], f"[{OURS}]:{ann.status['port']}")
        check(id_fits(bytes.fromhex(row["id"]), OURS), row)
        until(lambda: ip6(ann)["nodes"] >= 2 * K, "nodes are known")


def items(net, ann):
    with case("items: libtorrent puts, ours gets"):
        value = os.urandom(100)
        target = net.pick().put(value)
        equal(ann.json("dht", "get", target.hex())[0]["bencoded"], bencode(value).hex())
        key = Key(os.urandom(32))
        equal(net.pick().put_mutable(key, b"theirs", b"s"), 1)
        row = ann.json("dht", "get", "--key", key.public.hex(), "--salt", "s")[0]
        equal((row["value"], row["seq"]), ("theirs", 1))
    with case("items: ours puts, libtorrent gets"):
        value = bencode({"a": [1, -2]})
        target = ann.json("dht", "put", "--bencoded", value)[0]["target"]
        check(net.pick().get(bytes.fromhex(target)), "libtorrent does not find it")
        row = ann.api.call("dht.put", mutable=True, seed=key.seed.hex(), value="ours",
                           salt_hex=b"s".hex())
        equal((row["seq"], stored(row)), (2, K))
        got = net.pick().get_mutable(key, b"s")
        check(got is not None, "libtorrent does not find it")
        key.verify(got["sig"], b"4:ours", 2, b"s")


def peers(lab, net, ann):
    with case("peers, both ways"):
        info_hash, who = os.urandom(20), net.pick()
        equal(stored(ann.json("dht", "announce", info_hash.hex(), "--port", 4321)[0]), K)
        net.pick(who).finds_peer(info_hash, f"[{OURS}]:4321")
        who.announce(info_hash, lab.dir)
        until(lambda: join_address(who.at) in
              ann.json("dht", "peers", info_hash.hex())[0]["peers"],
              "the announcement is found")


def main():
    lt = libtorrent(NAME)
    namespaces(NAME, "ip")
    addresses_on_lo(Mainline.addresses("public6"))
    with Lab() as lab:
        net = Mainline(lt, "public6")
        ann = lab.node("ann", options=["--scope", "internet", "--bootstrap", net.bootstrap]).start()
        voting(ann)
        with case("a node is pinged"):
            at = join_address(net.pick().at)
            equal(ann.json("dht", "ping", at)[0]["address"], at)
        items(net, ann)
        peers(lab, net, ann)
        serve = Serve(lab, net)
        with case("who serves has an id that fits its address"):
            equal(net.client.id_of(serve.at), serve.id)
            check(id_fits(serve.id, serve.at[0]), serve.id.hex())
        stores_and_gives(net, serve)
    finish()


run(main)
