"""A Mainline DHT of other people's nodes, for tests of ours: libtorrent, and where they are
installed transmission, aria2 and rtorrent; besides a plain client, and a node that answers
some queries and is silent to others.

Nothing leaves the machine: the nodes are at addresses of lo, in 127/8, or at addresses that look
like those of an office or of the Internet, in a network namespace that has no way out.
The kernel chooses ports, so that tests may run side by side.
"""
import collections
import contextlib
import hashlib
import ipaddress
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings

from bencode import Raw, bdecode, bencode
from harness import LINNET, SLOW, WAIT_S, case, check, equal, skip_all, until

K = 8
NODES = 50
RPC_TIMEOUT_S = 15  # after which libtorrent waits no longer for an answer
MS = 1000

# How the i-th node's address comes about. In the namespaces lo has the whole prefix.
NETS = {
    "loopback": lambda i: f"127.44.{1 + i // 200}.{2 + i % 200}",
    "private": lambda i: f"10.44.{1 + i // 200}.{2 + i % 200}",
    # One in a /16, as limits for subnets and BEP 42 want it.
    "public": lambda i: f"45.{10 + 4 * i}.{7 + i}.9",
    "public6": lambda i: f"2a02:{0x100 + i:x}::1",
}


# In "private", what sockets that are bound to no address send from.
OFFICE = "10.44.0.1"

# Beside them: the plain client, who serves, and clients.
CLIENT, SERVE = 0, 1
OTHERS_N = 8
OTHERS = {"loopback": "127.45.0.", "private": "10.44.250.", "public": "45.250.0.",
          "public6": "2a02:80::"}


def free_address(net, i):
    """Where no node is."""
    return OTHERS[net] + str(2 + i)


def libtorrent(name):
    """The module; without it the script is skipped."""
    try:
        import libtorrent as lt  # pylint: disable=import-outside-toplevel
    except ImportError:
        skip_all(name, "python3-libtorrent is not installed")
    # Its simple constructors are called deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    return lt


def prefix_on_lo(prefix):
    """In a namespace: each address of the prefix is one of this machine."""
    subprocess.run(["ip", "address", "add", prefix, "dev", "lo"], check=True)


def join_address(at):
    return f"[{at[0]}]:{at[1]}" if ":" in at[0] else f"{at[0]}:{at[1]}"


def split_address(text):
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


# ---- messages ----


def stored(row):
    """K, or fewer: how many of the closest have it. Where ids seem to crowd the target it is stored
    behind them as well."""
    return min(row["copies"], K)


def immutable_target(v):
    """v: bencoded."""
    return hashlib.sha1(v).digest()


def distance(a, b):
    return int.from_bytes(a, "big") ^ int.from_bytes(b, "big")


class Key:
    """Signs mutable items (BEP 44)."""

    def __init__(self, seed):
        from cryptography.hazmat.primitives import serialization as s
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        self.seed = seed
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self._key.public_key().public_bytes(s.Encoding.Raw, s.PublicFormat.Raw)
        scalar = bytearray(hashlib.sha512(seed).digest())
        scalar[0] &= 248
        scalar[31] = scalar[31] & 63 | 64
        self.expanded = bytes(scalar)  # as libtorrent wants it

    @staticmethod
    def signed(v, seq, salt):
        salted = b"4:salt" + bencode(salt) if salt else b""
        return salted + b"3:seqi%de1:v%s" % (seq, v)

    def sign(self, v, seq, salt=b""):
        """v: bencoded."""
        return self._key.sign(self.signed(v, seq, salt))

    def verify(self, sig, v, seq, salt=b""):
        """Raises when the signature is not over exactly that."""
        self._key.public_key().verify(sig, self.signed(v, seq, salt))

    def target(self, salt=b""):
        return hashlib.sha1(self.public + salt).digest()


# ---- BEP 42 ----


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def id_fits(node_id, address):
    """Whether an id is one of those that a node at that address may have."""
    ip = ipaddress.ip_address(address).packed
    mask = b"\x03\x0f\x3f\xff" if len(ip) == 4 else b"\x01\x03\x07\x0f\x1f\x3f\x7f\xff"
    masked = bytearray(a & b for a, b in zip(ip, mask))
    masked[0] |= (node_id[19] & 7) << 5
    return crc32c(masked) >> 11 == int.from_bytes(node_id[:3], "big") >> 3


# ---- a plain client, or a node that knows only some queries ----


class Endpoint:
    """A socket that asks, and answers the queries named in `answers`; to others it is silent,
    or sends an error. `asked` counts what others asked."""

    def __init__(self, address, node_id=None, answers=(), errors=True):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.bind((address, 0))
        self.at = self.socket.getsockname()[:2]
        self.id = node_id or os.urandom(20)
        self.answers, self.errors = set(answers), errors
        self.asked = collections.Counter()
        self._replies, self._changed = {}, threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _answer(self, m, at):
        method = m.get(b"q", b"").decode("ascii", "replace")
        self.asked[method] += 1
        out = {"t": m.get(b"t", b"")}
        if method in self.answers:
            r = {"id": self.id}
            if method != "ping":
                r["nodes"] = b""
            if method == "get_peers":
                r["token"] = b"none"
            out.update(y="r", r=r)
        elif self.errors:
            out.update(y="e", e=[202, "asks only"])
        else:
            return
        self.socket.sendto(bencode(out), at)

    def _read(self):
        while True:
            try:
                data, at = self.socket.recvfrom(4096)
            except OSError:
                return
            if not data:
                return
            with contextlib.suppress(ValueError, IndexError, TypeError, AttributeError, OSError):
                m = bdecode(data)
                if m[b"y"] == b"q":
                    self._answer(m, at)
                else:
                    with self._changed:
                        self._replies[m[b"t"]] = m
                        self._changed.notify_all()

    def ask(self, at, method, timeout=WAIT_S, **args):
        """The answer: of BEP 5, with keys of bytes."""
        tid = os.urandom(4)
        m = {"t": tid, "y": "q", "q": method, "a": {"id": self.id, **args}}
        if not self.answers:
            m["ro"] = 1
        end = time.monotonic() + timeout * SLOW
        self.socket.sendto(bencode(m), at)
        with self._changed:
            self._changed.wait_for(lambda: tid in self._replies, end - time.monotonic())
            check(tid in self._replies, join_address(at), "does not answer", method)
            return self._replies.pop(tid)

    def id_of(self, at):
        return self.ask(at, "ping")[b"r"][b"id"]

    def put(self, at, key, v, seq, salt=b"", cas=None):
        """Stores a mutable item at one node; 0 or the number of the error."""
        token = self.ask(at, "get", target=key.target(salt))[b"r"][b"token"]
        more = {"salt": salt} if salt else {}
        if cas is not None:
            more["cas"] = cas
        answer = self.ask(at, "put", token=token, k=key.public, seq=seq, v=Raw(v),
                          sig=key.sign(v, seq, salt), **more)
        return answer[b"e"][0] if answer[b"y"] == b"e" else 0

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


# ---- libtorrent ----


def _salt_of(alert):
    """None: the binding takes a salt for text, and this one is none."""
    try:
        salt = alert.salt
    except UnicodeDecodeError:
        return None
    return salt if isinstance(salt, bytes) else salt.encode()


def _found(alert):
    """The binding gives no values but strings; the message shows each."""
    return "<uninitialized>" not in alert.message()


def _plain(alert):
    """What a test wants of an alert, which itself lives until the next is taken."""
    kind = type(alert).__name__
    if kind == "dht_put_alert":
        return {"target": alert.target.to_bytes(), "key": bytes(alert.public_key),
                "seq": alert.seq, "copies": alert.num_success}
    if kind == "dht_immutable_item_alert":
        return {"target": alert.target.to_bytes(), "found": _found(alert)}
    if kind == "dht_mutable_item_alert":
        return {"key": bytes(alert.key), "salt": _salt_of(alert), "seq": alert.seq,
                "sig": bytes(alert.signature), "found": _found(alert),
                "last": alert.authoritative}
    if kind == "dht_get_peers_reply_alert":
        return {"hash": alert.info_hash.to_bytes(), "peers": {join_address(p) for p in alert.peers()}}
    if kind == "session_stats_alert":
        return {k[4:]: v for k, v in alert.values.items() if k.startswith("dht.")}
    if kind == "listen_failed_alert":
        raise AssertionError(alert.message())
    return None


class Torrent:
    """A libtorrent session, as a node of the DHT."""

    def __init__(self, lt, address, public, more):
        self.lt, self.address = lt, address
        category = lt.alert.category_t
        self.session = lt.session({
            "listen_interfaces": join_address((address, 0)),
            "alert_mask": category.dht_notification | category.dht_operation_notification
                          | category.error_notification,
            "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
            "enable_dht": True, "aio_threads": 1,
            # Nodes of this setting never enter a table: add_dht_node() does.
            "dht_bootstrap_nodes": "",
            # By default one node for an address and few for a /24, and whole /8 left out.
            "dht_restrict_routing_ips": public, "dht_restrict_search_ips": public,
            "dht_ignore_dark_internet": public, "dht_prefer_verified_node_ids": public,
            # It bans who sends 50 packets in 10 s, and drops queries above 8 kB/s.
            "dht_block_ratelimit": 1000000, "dht_upload_rate_limit": 50000000,
            # Buckets of 8: else each of fifty nodes knows all others.
            "dht_extended_routing_table": False,
            **more})
        self._seen = []
        until(self.session.listen_port, address, "listens")
        self.at = (address, self.session.listen_port())

    # -- alerts --

    def expect(self, kind, condition=lambda a: True, timeout=WAIT_S):
        """The next alert of that kind that meets the condition; None with timeout 0 when
        none is there."""
        end = time.monotonic() + timeout * SLOW
        while True:
            for alert in self.session.pop_alerts():
                plain = _plain(alert)
                if plain is not None:
                    self._seen.append((type(alert).__name__, plain))
            for i, (name, plain) in enumerate(self._seen):
                if name == kind and condition(plain):
                    del self._seen[i]
                    return plain
            left = end - time.monotonic()
            if left <= 0:
                check(timeout == 0, f"no {kind} from libtorrent within {timeout} s")
                return None
            self.session.wait_for_alert(int(left * MS) + 1)

    def counters(self):
        self._seen = [s for s in self._seen if s[0] != "session_stats_alert"]
        self.session.post_session_stats()
        return self.expect("session_stats_alert")

    # -- operations; each returns when libtorrent says that it has ended --

    def begin_put(self, value):
        return self.session.dht_put_immutable_item(value).to_bytes()

    def put(self, value, timeout=WAIT_S):
        target = self.begin_put(value)
        done = self.expect("dht_put_alert", lambda a: a["target"] == target, timeout)
        check(done["copies"] > 0, "libtorrent stored nothing")
        return target

    def put_mutable(self, key, value, salt=b""):
        """libtorrent reads first; the seq is one more than what it found."""
        self.session.dht_put_mutable_item(key.expanded, key.public, value, salt)
        done = self.expect("dht_put_alert", lambda a: a["key"] == key.public)
        check(done["copies"] > 0, "libtorrent stored nothing")
        return done["seq"]

    def get(self, target, timeout=WAIT_S):
        """Whether it is found; libtorrent has compared the hash."""
        self.session.dht_get_immutable_item(self.lt.sha1_hash(target))
        return self.expect("dht_immutable_item_alert", lambda a: a["target"] == target,
                           timeout)["found"]

    def get_mutable(self, key, salt=b""):
        """The newest that is found, or None; libtorrent has verified the signature."""
        best = None
        self.session.dht_get_mutable_item(key.public, salt)
        while True:
            got = self.expect("dht_mutable_item_alert", lambda a: a["key"] == key.public
                              and a["salt"] in (None, salt))
            if got["found"] and (best is None or got["seq"] > best["seq"]):
                best = got
            if got["last"]:
                return best

    def finds_peer(self, info_hash, address):
        """Looks until somebody names that peer."""

        def found():
            self.session.dht_get_peers(self.lt.sha1_hash(info_hash))
            got = None
            with contextlib.suppress(AssertionError):
                got = self.expect("dht_get_peers_reply_alert", lambda a: a["hash"] == info_hash
                                  and address in a["peers"], timeout=2)
            return got

        until(found, address, "is found through libtorrent")

    def announce(self, info_hash, folder):
        """Its own port, as who has that torrent."""
        params = self.lt.add_torrent_params()
        params.save_path = folder
        params.info_hashes = self.lt.info_hash_t(self.lt.sha1_hash(info_hash))
        self.session.add_torrent(params).force_dht_announce()


class Mainline:
    """Some nodes of libtorrent that know each other. They end with the
    process: see run()."""

    def __init__(self, lt, net, n=NODES, seed=1, **more):
        self.lt, self.net, self.seed = lt, net, random.Random(seed)
        self.nodes = [Torrent(lt, NETS[net](i), net.startswith("public"), more)
                      for i in range(n)]
        self.client = Endpoint(self.free_address(CLIENT))
        self._joined()

    @staticmethod
    def addresses(net, n=NODES):
        """Those that it will be at."""
        return [*map(NETS[net], range(n)),
                *(free_address(net, i) for i in range(OTHERS_N))]

    def free_address(self, i):
        return free_address(self.net, i)

    def _joined(self):
        n = len(self.nodes)
        for i, node in enumerate(self.nodes):
            for step in (1, 2, 5, 11, 23):
                node.session.add_dht_node(self.nodes[(i + step) % n].at)
        least = min(K, n - 1)

        def settled():
            for node in self.nodes:
                node.session.dht_get_peers(self.lt.sha1_hash(os.urandom(20)))
            return all(c["dht_nodes"] >= least for c in self.counters())

        until(settled, "libtorrent's nodes know each other", timeout=2 * WAIT_S, every=0.3)
        if self.net.startswith("public"):
            until(lambda: all(id_fits(i, n.address) for i, n in zip(self.ids(), self.nodes)),
                  "libtorrent's ids fit their addresses", timeout=2 * WAIT_S, every=0.3)

    def counters(self):
        """Of each node."""
        return [node.counters() for node in self.nodes]

    def asked(self, method):
        """How many such queries came to all nodes so far."""
        return sum(c[f"dht_{method}_in"] for c in self.counters())

    def ids(self):
        return [self.client.id_of(node.at) for node in self.nodes]

    def introduce(self, at):
        """Every node asks there, and takes who answers into its table."""
        for node in self.nodes:
            node.session.add_dht_node(at)

    def pick(self, *others):
        """Any node, but none of those."""
        return self.seed.choice([n for n in self.nodes if n not in others])

    @property
    def bootstrap(self):
        return join_address(self.nodes[0].at)


def value_near(node_id, ids, tag):
    """A byte string whose target is nearer to node_id than to all but K / 2 of ids."""
    for i in range(100000):
        value = b"%s %d" % (tag, i)
        target = immutable_target(bencode(value))
        mine = distance(target, node_id)
        if sum(distance(target, other) < mine for other in ids) < K // 2:
            return value, target
    raise AssertionError("no value is near enough")


class Serve:
    """`linnet dht serve` that begins from the network."""

    def __init__(self, lab, net):
        at = net.free_address(SERVE)
        process = subprocess.Popen(
            [LINNET, "--json", "dht", "serve", "--listen", join_address((at, 0)),
             "--bootstrap", net.bootstrap], env=lab.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        lab.children.append(process)
        row = json.loads(process.stdout.readline())
        self.at, self.id = split_address(row["address"]), bytes.fromhex(row["id"])


def stores_and_gives(net, serve):
    """Cases: who serves is one of them to libtorrent."""
    client, ids = net.client, net.ids()
    with case("a node that serves stores what libtorrent puts near it"):

        def nodes():
            answer = client.ask(serve.at, "find_node", target=serve.id)[b"r"]
            return answer.get(b"nodes") or answer.get(b"nodes6")

        until(nodes, "it knows nodes")
        net.introduce(serve.at)
        value, target = value_near(serve.id, ids, b"near")

        def stored():
            net.pick().put(value)
            return client.ask(serve.at, "get", target=target)[b"r"].get(b"v") == value

        until(stored, "it is stored there")
    with case("… and gives libtorrent what was put there alone"):
        value, target = value_near(serve.id, ids, b"alone")
        token = client.ask(serve.at, "get", target=target)[b"r"][b"token"]
        answer = client.ask(serve.at, "put", token=token, v=value)
        equal(answer[b"y"], b"r", answer)
        until(lambda: net.pick().get(target), "libtorrent finds it there")


def run(main):
    """Runs a test's main(), and leaves without waiting for dozens of sessions to end."""
    code = 1
    try:
        main()
    except SystemExit as e:
        code = e.code
    except BaseException:  # pylint: disable=broad-except
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


# ---- other programs ----


class Client:
    """A BitTorrent client that looks for the peers of one torrent and announces itself.
    told: what its log says when it has found one; None: it connects to it."""

    def __init__(self, lab, name, at, argv, home, told=None):
        self.name, self.at, self.home, self.told = name, at, home, told
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, cwd=home,
                                   env={**lab.env, "HOME": home, "TERM": "xterm"})
        lab.children.append(process)

    def said(self):
        with open(os.path.join(self.home, "log"), encoding="utf-8", errors="replace") as f:
            return f.read()


def _home(lab, name):
    return tempfile.mkdtemp(prefix=f"{name}.", dir=lab.dir)


def _free_port(address):
    """A port that is free for TCP and UDP; a namespace of our own, so it stays so."""
    with socket.socket() as s:
        s.bind((address, 0))
        return s.getsockname()[1]


def transmission(lab, net, info_hash):
    """It answers no get and no put. It reads the file of nodes to begin from after a while
    only; who asks it is taken into its table at once."""
    home = _home(lab, "transmission")
    address = net.free_address(100)
    port = _free_port(address)
    with open(os.path.join(home, "settings.json"), "w", encoding="ascii") as f:
        f.write('{"bind-address-ipv4": "%s", "dht-enabled": true, "lpd-enabled": false, '
                '"port-forwarding-enabled": false, "utp-enabled": false}' % address)
    with open(os.path.join(home, "dht.bootstrap"), "w", encoding="ascii") as f:
        f.writelines(f"{n.at[0]} {n.at[1]}\n" for n in net.nodes[:8])
    return Client(lab, "transmission", (address, port), [
        "transmission-cli", "-g", home, "-w", home, "-p", str(port), "-M",
        f"magnet:?xt=urn:btih:{info_hash.hex()}"], home)


def aria2(lab, net, info_hash):
    """It answers no get and no put, and is bound to no address."""
    home = _home(lab, "aria2")
    port = _free_port("0.0.0.0")
    return Client(lab, "aria2", (OFFICE, port), [
        "aria2c", "--no-conf", f"--dir={home}", "--enable-dht=true", "--enable-dht6=false",
        "--disable-ipv6=true", f"--dht-listen-port={port}", f"--listen-port={port}",
        f"--dht-entry-point={net.bootstrap}", f"--dht-file-path={home}/dht.dat",
        "--bt-enable-lpd=false", "--enable-peer-exchange=false", "--quiet=true",
        f"magnet:?xt=urn:btih:{info_hash.hex()}"], home)


def rtorrent(lab, net, info_hash):
    """It answers get and put with an error. Version 0.9.8 connects to none of the peers that
    the DHT names: it reads all of them where the first one's length stands."""
    home = _home(lab, "rtorrent")
    address = net.free_address(101)
    port = _free_port(address)
    with open(os.path.join(home, "rc"), "w", encoding="ascii") as f:
        f.write(f"""system.daemon.set = true
session.path.set = {home}
directory.default.set = {home}
network.bind_address.set = {address}
network.port_range.set = {port}-{port}
network.port_random.set = no
trackers.use_udp.set = no
protocol.pex.set = no
dht.mode.set = on
dht.port.set = {port}
log.open_file = "log", {home}/log
log.add_output = "tracker_debug", "log"
schedule2 = join, 1, 5, ((dht.add_node, "{net.bootstrap}"))
schedule2 = load, 2, 0, ((load.start, "magnet:?xt=urn:btih:{info_hash.hex()}"))
""")
    return Client(lab, "rtorrent", (address, port),
                  ["rtorrent", "-n", "-o", f"import={home}/rc"], home,
                  told="received 1 peers (url:dht://)")


CLIENTS = {"transmission-cli": transmission, "aria2c": aria2, "rtorrent": rtorrent}


def installed_clients():
    return {tool: make for tool, make in CLIENTS.items() if shutil.which(tool)}
