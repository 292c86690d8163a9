"""Our DHT in a network like the public one: fifty nodes of libtorrent with its default limits, one
in a /16, so that ids are held to their addresses (BEP 42); then the same, where who has no
fitting id gets nothing but errors."""
import os

from harness import Lab, case, check, equal, finish, namespaces, until
from mainline import (K, Key, Mainline, Serve, bencode, id_fits, join_address, libtorrent,
                      prefix_on_lo, run, stores_and_gives, stored)

NAME = "DHT in a public network"
OURS = "45.0.0.1" # what sockets that are bound to no address send from
INVALID_ID = 203


def ip4(node):
    return node.json("dht", "stats")[0]["ip4"]


def fits(node):
    """It knows its address, and its id is one for it."""
    row = ip4(node)
    return row["seen"] and id_fits(bytes.fromhex(row["id"]), OURS) and row


def voting(ann):
    with case("the nodes say what our address is, and our id comes to fit it"):
        row = until(lambda: fits(ann), "the id fits")
        equal(row["seen"], f"{OURS}:{ann.status['port']}")
        until(lambda: ip4(ann)["nodes"] >= 2 * K, "nodes are known")


def items(net, ann):
    value = os.urandom(100)
    target = net.pick().put(value)
    equal(ann.json("dht", "get", target.hex())[0]["bencoded"], bencode(value).hex())
    key = Key(os.urandom(32))
    equal(net.pick().put_mutable(key, b"theirs", b"s"), 1)
    row = ann.json("dht", "get", "--key", key.public.hex(), "--salt", "s")[0]
    equal((row["value"], row["seq"]), ("theirs", 1))
    mine = ann.api.call("dht.put", mutable=True, seed=key.seed.hex(), value="ours",
                        salt_hex=b"s".hex())
    equal((mine["seq"], stored(mine)), (2, K))
    first = net.pick()
    for node in (first, net.pick(first)):
        got = node.get_mutable(key, b"s")
        check(got is not None, "libtorrent does not find it")
        key.verify(got["sig"], b"4:ours", 2, b"s")


def peers(lab, net, ann):
    info_hash, who = os.urandom(20), net.pick()
    equal(stored(ann.json("dht", "announce", info_hash.hex(), "--port", 4321)[0]), K)
    net.pick(who).finds_peer(info_hash, f"{OURS}:4321")
    who.announce(info_hash, lab.dir)
    until(lambda: join_address(who.at) in ann.json("dht", "peers", info_hash.hex())[0]["peers"],
          "the announcement is found")


def main():
    lt = libtorrent(NAME)
    namespaces(NAME, "ip")
    prefix_on_lo(f"{OURS}/8")
    with Lab() as lab:
        net = Mainline(lt, "public")
        options = ["--scope", "internet", "--bootstrap", net.bootstrap]
        ann = lab.node("ann", options=options).start()
        voting(ann)
        with case("items, both ways"):
            items(net, ann)
        with case("peers, both ways"):
            peers(lab, net, ann)
        serve = Serve(lab, net)
        with case("who serves has an id that fits its address"):
            equal(net.client.id_of(serve.at), serve.id)
            check(id_fits(serve.id, serve.at[0]), serve.id.hex())
        stores_and_gives(net, serve)
        for node in net.nodes:
            node.session.apply_settings({"dht_enforce_node_id": True})
        with case("where only fitting ids are answered, we are"):
            refused = net.client.ask(net.pick().at, "find_node", target=os.urandom(20))
            equal((refused[b"y"], refused[b"e"][0]), (b"e", INVALID_ID), "who does not fit")
            items(net, ann)
            peers(lab, net, ann)
        with case("who comes there without an address learns it from the refusals"):
            bob = lab.node("bob", options=options).start()
            voting(bob)
            items(net, bob)
    finish()


run(main)
