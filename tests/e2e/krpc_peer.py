"""Nodes of the DHT that a test plays: bencode, items of BEP 44, KRPC over UDP.

All sockets of a test are served by one loop while anything is waited for, so a script is
one thread, and what a peer answers is decided by a function of it:

    net = Net()
    peer = net.peer()
    answer = peer.ask(("127.0.0.1", 6881), "find_node", target=bytes(20))
    check(answer.r[b"nodes"] == b"", answer)

Whatever comes in must be canonical bencode; what is not is kept in net.faults.
"""
import hashlib
import ipaddress
import itertools
import os
import selectors
import socket
import struct
import time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bencode import Raw, bdecode as any_bdecode, bencode
from harness import SLOW, WAIT_S

ORDER = 2**252 + 27742317777372353535851937790883648493  # of the group of Ed25519
K = 8
NODE4, NODE6 = 26, 38
DATAGRAM_MAX = 65536


# ---- bencode ----


def bdecode(p):
    """Canonical bencode: what encodes to the same bytes again."""
    v = any_bdecode(p)
    if bencode(v) != p:
        raise ValueError(f"not canonical: {p!r}")
    return v


# ---- addresses, ids, items ----


def compact(addr):
    return ipaddress.ip_address(addr[0]).packed + struct.pack(">H", addr[1])


def expand(p):
    return str(ipaddress.ip_address(p[:-2])), struct.unpack(">H", p[-2:])[0]


def nodes_of(p):
    """{id: address} of a string of nodes or nodes6, whose length says which it is."""
    size = NODE4 if len(p) % NODE4 == 0 else NODE6
    assert len(p) % size == 0, len(p)
    got = [(p[i:i + 20], expand(p[i + 20:i + size])) for i in range(0, len(p), size)]
    assert len(dict(got)) == len(got), "an id twice"
    return dict(got)


def distance(a, b):
    return int.from_bytes(a, "big") ^ int.from_bytes(b, "big")


def nearest(ids, target, n=K):
    return sorted(ids, key=lambda i: distance(i, target))[:n]


def near(target, bits):
    """A random id that shares exactly so many bits with target."""
    x = int.from_bytes(os.urandom(20), "big") >> bits | 1 << (159 - bits)
    return (int.from_bytes(target, "big") ^ x).to_bytes(20, "big")


def sha1(p):
    return hashlib.sha1(p).digest()


def bloom(*hosts):
    """The filter of BEP 33."""
    bits = bytearray(256)
    for host in hosts:
        h = sha1(ipaddress.ip_address(host).packed)
        for i in (0, 2):
            bit = (h[i] | h[i + 1] << 8) % 2048
            bits[bit // 8] |= 1 << bit % 8
    return bytes(bits)


def signed(seq, v, salt):
    return (b"4:salt" + bencode(salt) if salt else b"") + b"3:seqi%de1:v" % seq + v


class Key:
    """An Ed25519 key, and what it signs."""

    def __init__(self, seed=None):
        self.seed = seed or os.urandom(32)
        self.private = Ed25519PrivateKey.from_private_bytes(self.seed)
        self.k = self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def target(self, salt=b""):
        return sha1(self.k + salt)

    def sign(self, seq, v, salt=b""):
        return self.private.sign(signed(seq, v, salt))

    def item(self, seq, v, salt=b""):
        """The arguments of a put, or what a get gives back; v is bencoded."""
        return {"k": self.k, "seq": seq, "sig": self.sign(seq, v, salt), "v": Raw(v)}


def verifies(args, salt=b""):
    """Whether a put's item is signed."""
    Ed25519PublicKey.from_public_bytes(args[b"k"]).verify(
        args[b"sig"], signed(args[b"seq"], bencode(args[b"v"]), salt))
    return True


# ---- messages ----


class Message:
    def __init__(self, raw, addr):
        self.raw, self.addr, self.msg = raw, addr, bdecode(raw)
        self.kind = self.msg[b"y"]
        self.t = self.msg[b"t"]

    @property
    def method(self):
        return self.msg[b"q"].decode()

    @property
    def a(self):
        return self.msg[b"a"]

    @property
    def r(self):
        """What a reply holds; that of an error is none."""
        return self.msg[b"r"] if self.kind == b"r" else {}

    @property
    def code(self):
        """Of an error; 0 of a reply."""
        return self.msg[b"e"][0] if self.kind == b"e" else 0

    def __repr__(self):
        return repr(self.msg)


def query(tid, method, args, **top):
    return bencode({"t": tid, "y": "q", "q": method, "a": args, **top})


def reply(to, **r):
    return bencode({"t": to.t, "y": "r", "r": r})


def error(to, code, text="no"):
    return bencode({"t": to.t, "y": "e", "e": [code, text]})


# ---- peers ----


class Peer:
    """A socket, an id, and what it answers: script(query) gives one datagram, several, or
    None (silence)."""

    def __init__(self, net, host, node_id):
        six = ":" in host
        self.net, self.id = net, node_id or os.urandom(20)
        self.script = self.plain
        self.asked, self.replies, self.strays = [], {}, []
        self.socket = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.addr = self.socket.getsockname()[:2]
        self.node = self.id + compact(self.addr)
        self.tids = itertools.count(int.from_bytes(os.urandom(2), "big"))

    def plain(self, q):
        """Alone in the world, and everything else right."""
        more = {"token": b"tok"} if q.method in ("get", "get_peers") else {}
        if q.method not in ("ping", "put", "announce_peer"):
            more["nodes6" if len(self.node) == NODE6 else "nodes"] = b""
        return reply(q, id=self.id, **more)

    def send(self, raw, to):
        self.socket.sendto(raw, to)

    def receive(self):
        raw, addr = self.socket.recvfrom(DATAGRAM_MAX)
        try:
            m = Message(raw, addr[:2])
        except (ValueError, KeyError, AttributeError) as e:
            self.net.faults.append((raw, e))
            return
        if m.kind == b"q":
            self.asked.append(m)
            out = self.script(m) or []
            for p in [out] if isinstance(out, bytes) else out:
                self.send(p, addr)
        elif m.t in self.replies and self.replies[m.t] is None:
            self.replies[m.t] = m
        else:
            self.strays.append(m)

    def tid(self):
        return b"%08x" % next(self.tids)

    def exchange(self, to, tid, raw):
        """Sends, and waits for the answer with that transaction id."""
        self.replies[tid] = None
        self.send(raw, to)
        return self.net.until(lambda: self.replies[tid], "an answer to", raw)

    def ask(self, to, method, tid=None, top=None, node_id=None, **args):
        tid = self.tid() if tid is None else tid
        args.setdefault("id", self.id if node_id is None else node_id)
        args = {k: v for k, v in args.items() if v is not None}
        return self.exchange(to, tid, query(tid, method, args, **(top or {})))

    def draws(self, to, raw):
        """What comes back for a datagram, before a ping that follows it is answered."""
        before = len(self.strays)
        self.send(raw, to)
        self.ask(to, "ping", top={"ro": 1})
        return self.strays[before:]

    def methods(self):
        return [q.method for q in self.asked]

    def close(self):
        self.net.selector.unregister(self.socket)
        self.net.peers.remove(self)
        self.socket.close()


class Net:
    """The peers of a test. Each has an address of its own unless one is named, so that what
    an address may ask for is no limit to the others."""

    def __init__(self):
        self.selector = selectors.DefaultSelector()
        self.hosts = itertools.count(1)
        self.peers, self.faults = [], []

    def peer(self, host=None, node_id=None, script=None):
        if host is None:
            n = next(self.hosts)
            host = f"127.77.{n // 250}.{n % 250 + 1}"
        peer = Peer(self, host, node_id)
        if script is not None:
            peer.script = script
        self.selector.register(peer.socket, selectors.EVENT_READ, peer)
        self.peers.append(peer)
        return peer

    def turn(self, timeout):
        for key, _ in self.selector.select(timeout):
            key.data.receive()

    def until(self, condition, *what, timeout=WAIT_S):
        """Serves all peers until condition() is true; returns what it returned."""
        end = time.monotonic() + timeout * SLOW
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > end:
                raise AssertionError(f"not within {timeout} s: {' '.join(map(str, what))}")
            self.turn(0.05)

    def close(self):
        for peer in list(self.peers):
            peer.close()
        self.selector.close()


class Fabric:
    """Peers that know each other: each names the closest to a target."""

    def __init__(self, net, n):
        self.net = net
        self.peers = [net.peer() for _ in range(n)]
        self.reset()

    def nodes(self, target):
        known = {p.id: p for p in self.peers}
        return b"".join(known[i].node for i in nearest(known, target))

    def answer(self, peer, q, **more):
        """What a good node says."""
        target = q.a.get(b"target") or q.a.get(b"info_hash")
        if q.method in ("put", "announce_peer"):
            peer.stored.append(q)
            return reply(q, id=peer.id)
        if target is not None:
            more.setdefault("nodes", self.nodes(target))
        if q.method in ("get", "get_peers"):
            more.setdefault("token", peer.token)
        return reply(q, id=peer.id, **more)

    def closest(self, target, n=K):
        known = {p.id: p for p in self.peers}
        return [known[i] for i in nearest(known, target, n)]

    def reset(self):
        """All are good again, and nobody has been asked."""
        for p in self.peers:
            p.asked, p.stored, p.token = [], [], os.urandom(4)
            p.script = lambda q, p=p: self.answer(p, q)
