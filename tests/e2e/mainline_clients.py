"""Our DHT in an office's network of fifty nodes of libtorrent, with other people's clients among
them: transmission and aria2, which answer no get and no put, and rtorrent, which answers them
with an error."""
import os
import socket

from harness import (ERROR, SLOW, Lab, Skip, case, check, equal, finish, namespaces, skip_all,
                     until)
from mainline import (K, MS, OFFICE, RPC_TIMEOUT_S, Key, Mainline, bencode, installed_clients,
                      join_address, libtorrent, prefix_on_lo, run, value_near, stored)

NAME = "DHT among BitTorrent clients"
LONG_S = 60 # some look and announce only some time after their start


class Wanted:
    """A torrent that a client looks for, which our node announces before the client runs, at a
    port where somebody listens."""

    def __init__(self, ann):
        self.info_hash = os.urandom(20)
        self.listener = socket.socket()
        self.listener.bind((OFFICE, 0))
        self.listener.listen()
        self.port = self.listener.getsockname()[1]
        ann.ok("dht", "announce", self.info_hash.hex(), "--port", self.port)

    def visited(self):
        """Waits until somebody comes who has found that announcement: no other way leads to
        this port."""
        self.listener.settimeout(LONG_S * SLOW)
        try:
            self.listener.accept()[0].close()
        except TimeoutError:
            raise AssertionError("it does not come") from None
        finally:
            self.listener.close()


def client_cases(ann, net, tool, client, wanted):
    with case(f"{tool} is pinged, and answers lookups"):
        until(lambda: ann.run("dht", "ping", join_address(client.at)).code == 0, "it answers",
              timeout=LONG_S)
        net.introduce(client.at)
        node_id = net.client.id_of(client.at).hex()

        def near():
            nodes = ann.json("dht", "find", node_id)[0]["nodes"]
            return nodes[0] == {"id": node_id, "address": join_address(client.at)}

        until(near, "it is found at its own id", timeout=LONG_S)
    with case(f"{tool} finds what ours has announced"):
        if client.told:
            until(lambda: client.told in client.said(), "it is told of a peer", timeout=LONG_S)
        else:
            wanted.visited()
    with case(f"ours finds what {tool} has announced"):

        def found():
            got = ann.json("dht", "peers", wanted.info_hash.hex())[0]["peers"]
            return join_address(client.at) in got

        until(found, "its announcement is found", timeout=LONG_S, every=0.5)


def items(ann, net, clients):
    with case("where they are the closest, ours stores and finds all the same, without waiting"):
        check(clients, "none runs")
        ids = net.ids()
        for client in clients:
            node_id = net.client.id_of(client.at)
            value, target = value_near(node_id, ids, client.name.encode())
            put = ann.json("dht", "put", "--bencoded", bencode(value))[0]
            equal((put["target"], stored(put)), (target.hex(), K))
            check(put["ms"] < RPC_TIMEOUT_S * MS / 3, put)
            print(f"# a put near {client.name}: {put['ms']} ms, {put['asked']} queries", flush=True)
            equal(ann.ok("dht", "get", target.hex()).raw, value + b"\n")
            # libtorrent's own get tells of the first copy at once, its put waits.
            check(net.pick().get(target), "libtorrent does not find it")
            _, absent = value_near(node_id, ids, b"absent")
            ann.fails(ERROR, "dht", "get", absent.hex())
    with case("mutable items, too"):
        for client in clients:
            key = Key(os.urandom(32))
            salt = next_salt(key, net.client.id_of(client.at), net.ids())
            row = ann.api.call("dht.put", mutable=True, seed=key.seed.hex(), value="mine",
                               salt_hex=salt.hex())
            equal(stored(row), K)
            got = ann.api.call("dht.get", key=key.public.hex(), salt_hex=salt.hex())
            equal((got["value"], got["seq"]), ("mine", 1))
            check(got["copies"] >= K // 2, got) # all, unless some were slow to one of the two
            check(got["ms"] < RPC_TIMEOUT_S * MS / 3, got)


def next_salt(key, node_id, ids):
    """One with which the item's target is near to that node."""
    for i in range(100000):
        salt = b"%d" % i
        target = int.from_bytes(key.target(salt), "big")
        mine = target ^ int.from_bytes(node_id, "big")
        if sum(target ^ int.from_bytes(o, "big") < mine for o in ids) < K // 2:
            return salt
    raise AssertionError("no salt is near enough")


def main():
    lt = libtorrent(NAME)
    tools = installed_clients()
    if not tools:
        skip_all(NAME, "transmission-cli, aria2 and rtorrent are not installed")
    namespaces(NAME, "ip")
    prefix_on_lo(f"{OFFICE}/16")
    with Lab() as lab:
        net = Mainline(lt, "private")
        ann = lab.node("ann", options=["--bootstrap", net.bootstrap]).start()
        until(lambda: ann.json("dht", "stats")[0]["ip4"]["nodes"] >= 2 * K, "nodes are known")
        wanted = {tool: Wanted(ann) for tool in tools}
        clients = {tool: make(lab, net, wanted[tool].info_hash) for tool, make in tools.items()}
        for tool in ("transmission-cli", "aria2c", "rtorrent"):
            if tool in tools:
                client_cases(ann, net, tool, clients[tool], wanted[tool])
            else:
                with case(f"{tool} among the nodes"):
                    raise Skip(f"{tool} is not installed")
        items(ann, net, list(clients.values()))
    finish()


run(main)
