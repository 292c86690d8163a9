"""A hostile neighbour on the LAN: floods of garbage by multicast and to the ports, recorded
beacons and open beacons replayed from another address, half-open connections, and names that
look like a contact's or act on the terminal. Two honest nodes meet, talk and see who is there
all the while, and the victim's memory and processor stay bounded."""
import contextlib
import json
import mmap
import os
import random
import select
import socket
import struct
import subprocess
import sys
import time

from bounds import bounded, cpu
from harness import (INSIDE, NOBODY, Lab, case, check, delivered, equal, finish, invite,
                     namespaces, pair, until)

BEACON, OPEN, RECORD1 = 40, 128, 192  # bytes
GROUP, PORT = "239.255.76.78", 7678
HELD = 200  # connections kept open
PACE = 60  # datagrams between two pauses of 10 ms
NEARBY_SOURCE = 8  # people that one address can put into the list of those nearby
NAMES = ["bob", "b\u043eb", "b\u200bob", "ann\u202egnp.exe", "\x1b[31mred", "two\nlines", "x" * 64,
         "\u2066bob\u2069", "b0b", "\u738b\u5c0f\u660e", "", " bob", "a\x00b"]
COUNTERS = ("datagrams", "replays", "connections")


def open_beacon(junk, name, cert=None, port=7679):
    """As wire_open_put writes it, whatever the name."""
    raw = name.encode()[:64]
    return (b"linnet\x01\x01" + junk.randbytes(16) + struct.pack(">HBB", port, 0, len(raw)) +
            (cert or junk.randbytes(32)) + raw.ljust(64, b"\0") + bytes(4))


# ---- the neighbour, in a namespace of his own ----


def listen(address):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("", PORT))
    s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                 socket.inet_aton(GROUP) + socket.inet_aton(address))
    return s


def knock(held, targets, junk, told):
    """Half-open connections: some say nothing, some a record of garbage."""
    s = socket.socket()
    s.setblocking(False)
    with contextlib.suppress(OSError):
        s.connect(targets[junk.randrange(len(targets))])
    select.select([], [s], [], 0.01)
    with contextlib.suppress(OSError):
        s.send(junk.randbytes(junk.choice([1, RECORD1 - 1, RECORD1, 1400])))
    held.append(s)
    if len(held) > HELD:
        held.pop(0).close()
    told["connections"] += 1


def attack(address, counters, heard, targets):
    """Records what it hears and floods until it is killed."""
    targets = [tuple(t) for t in json.loads(targets)]
    with open(counters, "r+b") as f:
        shared = mmap.mmap(f.fileno(), 8 * len(COUNTERS))
    told = dict.fromkeys(COUNTERS, 0)
    junk, held, beacons = random.Random(3), [], []
    ear = listen(address)
    ear.setblocking(False)
    mouth = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    mouth.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
    mouth.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
    mouth.setblocking(False)
    everywhere = [(GROUP, PORT), *targets, *((host, PORT) for host, _ in targets)]
    with open(heard, encoding="ascii") as f:
        beacons = [bytes.fromhex(line) for line in f]
    i = 0
    while True:
        for _ in range(PACE):
            i += 1
            old = beacons[i % len(beacons)] if beacons else b""
            kind = i % 5
            if kind == 0:
                told["replays"] += 1
            data = (old if kind == 0 else junk.randbytes(BEACON) if kind == 1 else
                    junk.randbytes(junk.randrange(1400)) if kind == 2 else
                    open_beacon(junk, junk.choice(NAMES)) if kind == 3 else
                    bytes(b ^ (junk.randrange(64) == 0) for b in old))
            with contextlib.suppress(OSError):
                mouth.sendto(data, everywhere[i // 5 % len(everywhere)])
            told["datagrams"] += 1
        knock(held, targets, junk, told)
        with contextlib.suppress(BlockingIOError):
            while True:
                data, source = ear.recvfrom(2000)
                if source[0] != address and len(beacons) < 10000:
                    beacons.append(data)
        shared[:] = struct.pack(f"={len(COUNTERS)}Q", *told.values())
        time.sleep(0.01)


class Neighbour:
    """Mallory, on host h3."""

    def __init__(self, lab, targets, heard):
        self.lab = lab
        self.path = os.path.join(lab.dir, "counters")
        with open(self.path, "wb") as f:
            f.write(bytes(8 * len(COUNTERS)))
        ns = lab.netlab("ns", "h3").strip()
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", ns, sys.executable, os.path.abspath(__file__), "attack",
             "192.168.50.13", self.path, heard, json.dumps(targets)],
            stdin=subprocess.DEVNULL, env={**os.environ, INSIDE: "1"})
        lab.children.append(self.process)

    def counts(self):
        check(self.process.poll() is None, "the flood ended by itself")
        with open(self.path, "rb") as f:
            return dict(zip(COUNTERS, struct.unpack(f"={len(COUNTERS)}Q", f.read())))

    def after(self, what, more):
        """Waits until it has done that so many times more."""
        before = self.counts()[what]
        until(lambda: self.counts()[what] >= before + more, what, timeout=60)

    def end(self):
        self.process.kill()
        self.process.wait()
        self.lab.children.remove(self.process)


RECORD = f"""
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("", {PORT}))
s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton("{GROUP}") + socket.inet_aton(sys.argv[1]))
print("listening", flush=True)
while True:
    data, source = s.recvfrom(2000)
    print(source[0], data.hex(), flush=True)
"""


def record(lab, bob):
    """What h3 hears of bob when he starts: three beacons at least."""
    ns = lab.netlab("ns", "h3").strip()
    p = subprocess.Popen(["ip", "netns", "exec", ns, sys.executable, "-c", RECORD,
                          "192.168.50.13"], stdout=subprocess.PIPE, text=True)
    lab.children.append(p)
    equal(p.stdout.readline(), "listening\n")
    bob.stop()
    bob.start()
    heard = []
    while len(heard) < 3:
        source, data = p.stdout.readline().split()
        if source == "192.168.50.12":
            heard.append(data)
    p.kill()
    p.wait()
    lab.children.remove(p)
    path = os.path.join(lab.dir, "heard")
    with open(path, "w", encoding="ascii") as f:
        f.write("\n".join(heard) + "\n")
    return path


# ---- what must hold ----


def presence(ann, bob, mallory):
    with case("in the flood: who leaves is gone and stays gone, whatever is replayed"):
        sub = ann.events("presence")
        bob.stop()
        until(lambda: not ann.contact("bob")["online"], "bob is gone")
        mallory.after("replays", 2000)
        equal(ann.contact("bob")["online"], False, "by replayed beacons")
        ann.fails(NOBODY, "send", "bob", "are you there?", "--wait", "delivered", "--timeout",
                  "1s")
        topic, event = sub.next(0)
        while topic is not None:
            check(topic != "presence" or event["name"] != "bob" or not event["online"], event)
            topic, event = sub.next(0)
        sub.close()
    with case("in the flood: who comes back is there, and gets what waited"):
        bob.start()
        until(lambda: ann.contact("bob")["online"] and bob.contact("ann")["online"], "both")
        until(lambda: "are you there?" in bob.texts("ann"), "what waited")
        for i in range(20):
            delivered(ann, "bob", f"there {i}")
            delivered(bob, "ann", f"back {i}")


def nearby(ann, mallory):
    with case("who names himself like a contact, or with what acts on the terminal"):
        ann.ok("visible", "on")
        mallory.after("datagrams", 3000)
        listed = ann.run("nearby")
        equal(listed.code, 0)
        for output in (listed.raw, listed.err.encode()):
            bad = [b for b in output if (b < 32 and b not in b"\t\n") or b == 127]
            check(not bad, "raw control characters", output)
        for mark in "\u202e\u2066\u2069\u200b":
            check(mark not in listed.out, f"U+{ord(mark):04X} is obeyed", listed)
        people = ann.json("nearby")
        check(0 < len(people) <= NEARBY_SOURCE, len(people), "people of one address")
        check(not any(p.get("contact") for p in people), "taken for a contact", people)
        for p in people:
            if p["name"] in ("bob", "b\u043eb", "b0b"):
                equal(p["like"], "bob", p)
        ann.ok("visible", "off")


def main():
    if sys.argv[1:2] == ["attack"]:
        attack(*sys.argv[2:])
    namespaces("a LAN of namespaces", "ip", "nft")
    with Lab().up("lan", 3) as lab:
        lab.env["ASAN_OPTIONS"] = "quarantine_size_mb=4:" + lab.env.get("ASAN_OPTIONS", "")
        ann, bob = lab.node("ann", "h1").start(), lab.node("bob", "h2").start()
        pair(ann, bob)
        heard = record(lab, bob)
        mallory = Neighbour(lab, [["192.168.50.11", ann.status["port"]],
                                  ["192.168.50.12", bob.status["port"]]], heard)
        mallory.after("datagrams", 1000)
        start, used = time.monotonic(), cpu(ann)
        with bounded(ann):
            presence(ann, bob, mallory)
            with case("in the flood: two who never met pair"):
                carol = lab.node("carol", "h2").start()
                code = invite(ann)
                until(lambda: carol.run("add", code).code == 0, "they pair", timeout=60)
                delivered(carol, "ann", "hello")
            nearby(ann, mallory)
        with case("the victim's processor is bounded"):
            seconds, used = time.monotonic() - start, cpu(ann) - used
            print(f"# {mallory.counts()}; {used:.1f} s of processor in {seconds:.1f} s",
                  flush=True)
            check(used < max(1.0, 0.9 * seconds), used, "of", seconds)
        with case("a node that has forgotten all nonces does not take replays either"):
            bob.stop()
            ann.stop()
            ann.start("--port", ann.status["port"])
            mallory.after("replays", 500)
            equal(ann.contact("bob")["online"], False)
            bob.start("--port", bob.status["port"])
            delivered(ann, "bob", "there you are")
        mallory.end()
        with case("afterwards all is as before"):
            delivered(ann, "bob", "quiet again")
            delivered(bob, "ann", "at last")
            ann.stop()
            bob.stop()
    finish()


main()
