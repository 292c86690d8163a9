"""What attackers get: strangers who connect, flood and replay; floods of datagrams; API
clients that send garbage, flood, and never read. They get nothing, and harm nobody."""
import contextlib
import mmap
import os
import random
import resource
import select
import signal
import socket
import struct
import sys
import threading
import time
import traceback

import zmq

from harness import (Api, Lab, Skip, case, check, delivered, equal, finish, invite,
                     namespaces, pair, until)
from bounds import bounded, fds, rss

RECORD1 = 192  # bytes of a link's first record
BEACON, BEACON_PORT = 40, 7678
SILENT_S = 12  # longer than a handshake may take
FLOOD = 3000  # half-open connections at one time
FDS = 1500  # descriptors that the node may have open, whatever comes
RNG = random.Random(1)


def port(node):
    return node.status["port"]


# ---- strangers ----


class Proxy:
    """A TCP proxy in front of a node that keeps what diallers send."""

    def __init__(self, to):
        self.to, self.sent, self.open = to, [], []
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen()
        self.port = self.listener.getsockname()[1]
        self.enabled = True
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                a, _ = self.listener.accept()
            except OSError:
                return
            if not self.enabled:
                a.close()
                continue
            b = socket.create_connection(("127.0.0.1", self.to))
            kept = bytearray()
            self.sent.append(kept)
            self.open += [a, b]
            threading.Thread(target=self.carry, args=(a, b, kept), daemon=True).start()
            threading.Thread(target=self.carry, args=(b, a, None), daemon=True).start()

    @staticmethod
    def carry(a, b, kept):
        with contextlib.suppress(OSError):
            while data := a.recv(65536):
                if kept is not None:
                    kept += data
                b.sendall(data)
        for s in (a, b):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)

    def cut(self):
        for s in self.open:
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
        self.open.clear()

    def close(self):
        self.enabled = False
        self.listener.close()
        self.cut()


def probes():
    """What strangers say first."""
    lengths = [1, 2, 15, 16, 17, 191, RECORD1, 193, 255, 256, 512, 1000, 4096, 65536, 200000]
    yield from ((f"{n} random bytes", RNG.randbytes(n)) for n in lengths)
    yield from ((f"{RECORD1} bytes {b:#x}", bytes([b]) * RECORD1) for b in (0, 1, 255))
    yield "nothing", b""
    yield "HTTP", b"GET / HTTP/1.1\r\nHost: linnet\r\n\r\n"
    yield "HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9)
    yield "SSH", b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n"
    hello = b"\x03\x03" + RNG.randbytes(32) + b"\x20" + RNG.randbytes(32) + \
        b"\x00\x02\x13\x01\x01\x00\x00\x00"
    hello = b"\x01" + struct.pack(">I", len(hello))[1:] + hello
    yield "TLS", b"\x16\x03\x01" + struct.pack(">H", len(hello)) + hello
    yield "SOCKS", b"\x05\x01\x00"
    yield "SMB", b"\x00\x00\x00\x2f\xffSMB\x72" + bytes(40)
    yield "BitTorrent", b"\x13BitTorrent protocol" + bytes(8) + RNG.randbytes(40)


def strangers_get_nothing(to, what, timeout=SILENT_S):
    """Each says its piece, at once or in two parts; not one byte comes back, and every
    connection is ended."""
    waiting = {}
    for name, data in what:
        for split in (None, 1, RECORD1 - 1):
            if split is not None and split >= len(data):
                continue
            s = socket.create_connection(("127.0.0.1", to))
            with contextlib.suppress(OSError):  # it may be ended while we still speak
                s.sendall(data[:split])
                s.sendall(data[split:] if split is not None else b"")
            s.setblocking(False)
            waiting[s] = name
    end = time.monotonic() + timeout
    while waiting and time.monotonic() < end:
        for s in select.select(list(waiting), [], [], 0.5)[0]:
            try:
                data = s.recv(100)
            except OSError:
                data = b""
            check(data == b"", "an answer to", waiting[s], data)
            s.close()
            del waiting[s]
    names = set(waiting.values())
    for s in waiting:
        s.close()
    check(not names, "still open after", timeout, "s:", names)


def replays(lab, ann):
    bob = lab.node("bob", interfaces="none0")
    proxy = Proxy(port(ann))
    bob.start("--peer", f"127.0.0.1:{proxy.port}")
    with case("two meet through a proxy"):
        code = invite(ann, "--addr", f"127.0.0.1:{proxy.port}")
        bob.ok("add", code)
        until(lambda: bob.contact("ann")["linked"], "linked")
        delivered(bob, "ann", "recorded")
        check(len(proxy.sent) >= 2, "an invite's link and a contact's:", len(proxy.sent))
        equal(bob.contact("ann")["online"], True)
    records = [bytes(k) for k in proxy.sent if len(k) >= RECORD1]
    with case("who replays first records, or whole sessions, gets nothing"):
        for _ in range(2):
            what = [(f"record {i}", r[:RECORD1]) for i, r in enumerate(records)]
            what += [(f"session {i}", r) for i, r in enumerate(records)]
            what += [(f"record {i} flipped", flipped(r[:RECORD1])) for i, r in
                     enumerate(records)]
            strangers_get_nothing(port(ann), what)
        ann.alive()
        bob.alive()
    with case("a link that was tampered with is made again; nothing is lost"):
        for i in range(3):
            proxy.cut()
            delivered(bob, "ann", f"after cut {i}")
    with case("first records of links that are over get nothing"):
        old = [bytes(k) for k in proxy.sent if len(k) >= RECORD1]
        proxy.close()
        bob.stop()
        strangers_get_nothing(port(ann), [(f"old {i}", r) for i, r in enumerate(old)])


def flipped(data):
    i = RNG.randrange(len(data) * 8)
    out = bytearray(data)
    out[i // 8] ^= 1 << i % 8
    return bytes(out)


class Flood:
    """A process that holds FLOOD connections open and makes those anew that are ended."""

    def __init__(self, to, sources):
        self.told = mmap.mmap(-1, 8)  # how many it holds, how many it has made
        self.pid = os.fork()
        if self.pid == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            try:
                self.hold(to, sources)
            except BaseException:  # pylint: disable=broad-except
                traceback.print_exc(file=sys.stdout)
            os._exit(1)

    def counts(self):
        return struct.unpack("=II", self.told[:8])

    def hold(self, to, sources):
        made = 0
        poll = select.epoll()
        held = {}
        junk = random.Random(2)
        while True:
            for _ in range(50 if len(held) >= FLOOD else 200):
                s = socket.socket()
                s.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    s.bind((f"127.{junk.randrange(sources)}.{junk.randrange(sources)}.1", 0))
                    s.connect(("127.0.0.1", to))
                held[s.fileno()] = s
                made += 1
                poll.register(s, select.EPOLLHUP | select.EPOLLRDHUP | select.EPOLLOUT |
                              select.EPOLLET)
            for fd, events in poll.poll(0.02):
                if events & (select.EPOLLHUP | select.EPOLLRDHUP | select.EPOLLERR):
                    # Kept open at our side until there are enough of them.
                    if len(held) > FLOOD:
                        held.pop(fd).close()
                elif events & select.EPOLLOUT:
                    with contextlib.suppress(OSError):
                        held[fd].send(junk.randbytes(junk.choice([1, 100, 191])))
            while len(held) > FLOOD + 500:
                held.pop(next(iter(held))).close()
            self.told[:8] = struct.pack("=II", len(held), made)

    def end(self):
        os.kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        check(os.WIFSIGNALED(status), "the flood ended by itself")


def half_open(lab, ann):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FLOOD + 1000:
        raise Skip(f"only {hard} file descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, FLOOD + 1000), hard))
    cy = lab.node("cy").start()
    pair(ann, cy)
    for name, sources in (("one address", 1), ("many addresses", 200)):
        with case(f"{FLOOD} half-open connections from {name} keep no contact out"):
            with bounded(ann):
                cy.stop()
                flood = Flood(port(ann), sources)
                try:
                    until(lambda f=flood: f.counts()[0] >= FLOOD, "the flood rises")
                    cy.start()
                    until(lambda: cy.contact("ann")["linked"], "linked in the flood",
                          timeout=60)
                    delivered(cy, "ann", f"through {name}")
                    delivered(ann, "cy", f"back through {name}")
                    check(fds(ann) < FDS, "descriptors:", fds(ann))
                    strangers_get_nothing(port(ann), [("in the flood", RNG.randbytes(300))])
                    held, made = flood.counts()
                    print(f"# {held} connections held, {made} made", flush=True)
                    check(held >= FLOOD, "connections held:", held)
                finally:
                    flood.end()
    until(lambda: fds(ann) < 200, "descriptors are given back")
    return cy


def datagrams(ann, cy):
    with case("floods of datagrams, junk and replayed beacons"), bounded(ann):
        listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("", BEACON_PORT))
        member = socket.inet_aton("239.255.76.78") + socket.inet_aton("127.0.0.1")
        listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        listener.settimeout(20)
        cy.stop()
        cy.start()
        beacons = []
        while len(beacons) < 3:
            beacons.append(listener.recv(2000))
            equal(len(beacons[-1]), BEACON, "bytes of a beacon")
        listener.close()
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        s.setblocking(False)
        for i in range(60000):
            data = (beacons[i % 3] if i % 4 == 0 else
                    RNG.randbytes(BEACON) if i % 4 == 1 else
                    flipped(beacons[i % 3]) if i % 4 == 2 else
                    RNG.randbytes(RNG.randrange(1500)))
            to = (("239.255.76.78", BEACON_PORT), ("127.0.0.1", BEACON_PORT),
                  ("127.0.0.1", port(ann)))[i % 3]
            with contextlib.suppress(OSError):
                s.sendto(data, to)
            if i % 20000 == 0:
                ann.alive()
        check(not select.select([s], [], [], 1)[0], "an answer to a datagram")
        s.close()
        until(lambda: cy.contact("ann")["linked"], "linked after")
        delivered(cy, "ann", "after the datagrams")


def stops_in_floods(lab):
    with case("a node that is stopped in a flood ends well"):
        dan = lab.node("dan")
        for _ in range(5):
            dan.start()
            flood = Flood(port(dan), 1)
            go = True

            def spray(to=port(dan)):
                s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                while go:
                    with contextlib.suppress(OSError):
                        s.sendto(b"x" * BEACON, ("127.0.0.1", to))

            thread = threading.Thread(target=spray)
            thread.start()
            try:
                time.sleep(0.3)
                dan.stop()  # checks the exit code
            finally:
                go = False
                thread.join()
                flood.end()


# ---- clients of the API ----


def dealer(endpoint, **options):
    s = zmq.Context.instance().socket(zmq.DEALER)
    s.linger = 0
    for name, value in options.items():
        setattr(s, name, value)
    s.connect(endpoint)
    return s


def answers(ann):
    """The node answers a client of good will."""
    api = Api(ann.status["api"])
    equal(api.call("status")["pid"], ann.process.pid)
    api.close()


def garbage(ann):
    with case("garbage from a client of the API"), bounded(ann):
        s = dealer(ann.status["api"])
        deep = b'{"id":1,"method":"status","params":' + b"[" * 5000 + b"]" * 5000 + b"}"
        frames = [b"", b"\0", b"{", b"[]", b"null", b"1", b'""', b'"status"', deep,
                  b'{"id":1}', b'{"method":"status"}', b'{"id":{},"method":"status"}',
                  b'{"id":1,"method":1}', b'{"id":1,"method":"status","params":[]}',
                  b'{"id":1,"method":"\xff"}', b'{"id":1,"method":"a\\u0000b"}',
                  b'{"id":"' + b"i" * 5000 + b'","method":"status"}',
                  b'{"id":1e999,"method":"status"}',
                  b'{"id":1,"method":"send","params":{"to":"\\u202e","text":1}}',
                  b'{"id":1,"method":"history","params":{"limit":-1}}',
                  b'{"id":1,"method":"events.since","params":{"n":9223372036854775807}}',
                  b'{"id":1,"method":"events.since","params":{"n":18446744073709551615}}',
                  b'{"id":1,"method":"recv.ack","params":{"row":99999999999999999999}}']
        for frame in frames:
            s.send(frame)
            s.send_multipart([b"", frame])
            s.send_multipart([frame] * 3)
            s.send_multipart([b""] * 50 + [frame])
        methods = ["status", "id", "invite", "invite.ls", "invite.revoke", "add", "contacts",
                   "contact.rename", "contact.block", "contact.remove", "verify", "send",
                   "read", "history", "export", "message", "recv", "recv.ack", "events.since",
                   "config.get", "config.set", "passphrase"]
        values = [None, True, -1, 0, 2 ** 63 - 1, 1.5, "", "x", "\u202e", "x" * 60000, [], {}]
        keys = ["name", "text", "id", "n", "limit", "code", "as", "to", "reply", "key", "value",
                "row", "from", "since", "before", "after", "old", "addr", "expires"]
        for method in methods:
            for i in range(60):
                params = {k: RNG.choice(values) for k in RNG.sample(keys, 4)}
                if method in ("invite", "config.set") and i > 5:
                    break
                s.send_json({"id": i, "method": method, "params": params})
            while s.poll(0):
                s.recv_multipart()
        while s.poll(1000):
            s.recv_multipart()
        s.close()
        answers(ann)
    with case("raw bytes on the API's sockets"):
        for endpoint in (ann.status["api"], ann.status["events"]):
            for data in (b"", b"\0", RNG.randbytes(5000), b"GET / HTTP/1.0\r\n\r\n",
                         b"\xff" + b"\0" * 8 + b"\x7f\x03\0NULL" + bytes(48) +
                         b"\x02" + b"\xff" * 8):
                with socket.socket(socket.AF_UNIX) as raw:
                    raw.connect(endpoint.removeprefix("ipc://"))
                    with contextlib.suppress(OSError):
                        raw.sendall(data)
        answers(ann)
    with case("requests that are too long"), bounded(ann):
        for n in (100_000, 10_000_000, 200_000_000):
            s = dealer(ann.status["api"])
            s.send(b'{"id":1,"method":"status","x":"' + b"x" * n + b'"}')
            s.poll(300)
            s.close()
        answers(ann)


def deaf(ann, eve):
    """Clients who ask, or subscribe, and never read."""
    text = "long " * 6500
    sent = 60
    for i in range(sent):
        ann.ok("send", "eve", "-", stdin=f"{i} {text}")
    with case("a client that asks a lot and never reads"), bounded(ann):
        s = dealer(ann.status["api"], rcvhwm=1, sndhwm=0)
        for i in range(1500):
            s.send_json({"id": i, "method": "history", "params": {"name": "eve", "limit": 256}})
        for _ in range(20):
            answers(ann)
            time.sleep(0.2)
        answers(ann)
        delivered(ann, "eve", "beside a deaf client")
        check(rss(ann) < (1 << 30), rss(ann))
        s.close()
    with case("a subscriber that never reads, and one that does"), bounded(ann):
        deaf_one = zmq.Context.instance().socket(zmq.SUB)
        deaf_one.linger, deaf_one.rcvhwm = 0, 1
        deaf_one.connect(ann.status["events"])
        deaf_one.subscribe("")
        good = ann.events("message")
        flow(ann, good, text, 1500)
        deaf_one.close()
        good.close()
        answers(ann)


def flow(ann, good, text, n):
    """n long messages, of which the good subscriber learns every one: by its event, or, as
    docs/API.md says, by asking when it sees a gap."""
    s = dealer(ann.status["api"], rcvhwm=0)
    asked = answered = 0
    last, seen = good.welcome["newest"], 0
    while answered < n:
        while asked < n and asked - answered < 64:
            s.send_json({"id": asked, "method": "send",
                         "params": {"to": "eve", "text": f"{asked} {text}"}})
            asked += 1
        check(s.poll(30000), "no answer from the API")
        while s.poll(0):
            row = s.recv_json()
            check("result" in row, row)
            answered += 1
        topic, event = good.next(0)
        while topic is not None:
            if topic == "message":
                last, seen = event["n"], seen + 1
            topic, event = good.next(0)
    s.close()
    missed = [0]

    def all_seen():
        topic, event = good.next(0.2)
        if topic == "message":
            missed[0] += 1
        return seen + missed[0] >= n or event is None

    until(all_seen, "the rest of the events")
    print(f"# {seen + missed[0]} of {n} events came, the last one {last}", flush=True)
    check(seen + missed[0] > 0, "the reader gets events")


def subscriptions(ann):
    with case("a flood of subscriptions"), bounded(ann):
        s = zmq.Context.instance().socket(zmq.SUB)
        s.linger, s.sndhwm = 0, 0
        s.connect(ann.status["events"])
        for _ in range(10000):
            s.subscribe(RNG.randbytes(50))
        s.subscribe("welcome")
        check(s.poll(30000), "no welcome")
        s.close()
        answers(ann)


def main():
    namespaces("hostile")
    with Lab() as lab:
        lab.env["ASAN_OPTIONS"] = "quarantine_size_mb=4:" + lab.env.get("ASAN_OPTIONS", "")
        ann = lab.node("ann").start()
        if sys.argv[1:] != ["api"]:
            with case("strangers get silence"):
                strangers_get_nothing(port(ann), probes())
                ann.alive()
            replays(lab, ann)
            datagrams(ann, half_open(lab, ann))
            stops_in_floods(lab)
        ann, eve = lab.node("ann").start(), lab.node("eve").start()
        pair(ann, eve)
        garbage(ann)
        subscriptions(ann)
        deaf(ann, eve)
    finish()


main()
