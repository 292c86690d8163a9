"""Files over a network that is cut, unplugged and slow, between hosts that move and sleep;
how many bytes a transfer takes that is killed again and again; and chat beside a transfer
that fills the link."""
import os
import re
import time

from files_share import (LEAF, done, downloads, make, moving, offer, parts, reaches, same, slow,
                         transfer, verb)
from harness import Lab, case, check, delivered, finish, namespaces, pair, until

SIZE = 16 * LEAF + 4321
RATE = 4 * LEAF
FRAMING = 1.03  # bytes on the wire for each of the file
LOST = 2 * LEAF  # what may be on its way, and not verified, when either end is killed
TEXTS = 60
PATH = 125000  # bytes that 20 Mbit/s and 50 ms hold


class Two:
    """Two hosts; ann sends to bob."""

    def __init__(self, lab):
        self.lab = lab
        self.ann, self.bob = lab.node("ann", "h1").start(), lab.node("bob", "h2").start()
        pair(self.ann, self.bob)
        self.down = downloads(self.bob)
        self.turn = 0

    def begun(self, size=SIZE, least=LEAF, rate=RATE):
        """A transfer in the middle: its id."""
        self.turn += 1
        slow(self.ann, rate)
        self.path = make(os.path.join(self.lab.dir, "src", f"{self.turn}.bin"), size)
        tid = offer(self.ann, "bob", self.path)[0]
        verb(self.bob, tid, "accept")
        moving(self.bob, tid, least)
        until(lambda: transfer(self.bob, tid)["rate_down"] > 0 and
              transfer(self.ann, tid)["rate_up"] > 0, "its rate is known")
        return tid

    def ends(self, tid, timeout=90):
        """It goes on by itself, all is right."""
        start = time.monotonic()
        slow(self.ann, None)
        done(self.ann, self.bob, tid, timeout)
        same(self.path, os.path.join(self.down, os.path.basename(self.path)))
        check(not parts(self.down), parts(self.down))
        print(f"# done after {time.monotonic() - start:.2f} s", flush=True)

    def stands(self, tid):
        """Nothing comes any more."""
        until(lambda: transfer(self.bob, tid)["rate_down"] == 0, "it stands still")

    def sent_bytes(self):
        """What h1 has put on its cable."""
        for line in self.lab.netlab("exec", "h1", "cat", "/proc/net/dev").splitlines():
            name, _, fields = line.strip().partition(":")
            if name == "eth0":
                return int(fields.split()[8])
        raise AssertionError("h1 has no eth0")


def breaks(two):
    lab = two.lab
    with case("the link is cut for a while"):
        tid = two.begun()
        lab.netlab("cut", "h1", "h2")
        two.stands(tid)
        lab.netlab("heal")
        two.ends(tid)
    with case("the link is cut until both have noticed"):
        tid = two.begun()
        lab.netlab("cut", "h1", "h2")
        for node in (two.ann, two.bob):
            reaches(node, tid, "waiting", timeout=90)
        lab.netlab("heal")
        two.ends(tid)
    with case("the cable is pulled and put back"):
        for host in ("h1", "h2"):
            tid = two.begun()
            lab.netlab("unplug", host)
            two.stands(tid)
            lab.netlab("heal")
            two.ends(tid)
    with case("the receiver gets a new address, and then the sender"):
        for host in ("h2", "h1"):
            tid = two.begun()
            lab.netlab("readdress", host)
            two.ends(tid)
    with case("a host sleeps for a while"):
        for host in ("h2", "h1"):
            tid = two.begun()
            lab.netlab("suspend", host)
            # Whoever is awake sees that nothing moves any more.
            awake, rate = ((two.ann, "rate_up") if host == "h2" else (two.bob, "rate_down"))
            until(lambda n=awake, r=rate, t=tid: transfer(n, t)[r] == 0, "it stands still")
            lab.netlab("resume", host)
            two.ends(tid)


def counted(two):
    with case("killed again and again: nothing that was verified is sent again"):
        before = two.sent_bytes()
        tid = two.begun(size=24 * LEAF)
        kills = 0
        for victim in (two.bob, two.ann, two.bob, two.ann):
            moving(two.bob, tid, transfer(two.bob, tid)["done"] + 3 * LEAF)
            victim.kill()
            victim.start()
            kills += 1
        done(two.ann, two.bob, tid, timeout=90)
        size = 24 * LEAF
        took = two.sent_bytes() - before
        print(f"# {took} bytes for {size}, {kills} kills", flush=True)
        check(took <= size * FRAMING + kills * LOST, took, "bytes for", size)
        two.ends(tid)
    with case("paused, cut and resumed: the same"):
        before = two.sent_bytes()
        tid = two.begun(size=SIZE)
        for node in (two.ann, two.bob, two.bob):
            verb(node, tid, "pause")
            delivered(two.ann, "bob", "while it is paused")
            verb(node, tid, "resume")
            moving(two.bob, tid, transfer(two.bob, tid)["done"] + LEAF)
        two.ends(tid)
        took = two.sent_bytes() - before
        print(f"# {took} bytes for {SIZE}, 3 pauses", flush=True)
        check(took <= SIZE * FRAMING + 3 * LOST, took, "bytes")


def delays(two, label, count=TEXTS):
    """Texts, one after the other: how long each takes until it is known to be
    delivered, in ms, sorted."""
    events = two.ann.events("state")
    out = []
    for i in range(count):
        start = time.monotonic()
        mid = two.ann.api.call("send", to="bob", text=f"{label} {i}")["id"]
        events.wait("state", lambda e, mid=mid: e["id"] == mid and e["state"] == "delivered")
        out.append((time.monotonic() - start) * 1000)
    events.close()
    return sorted(out)


def shown(label, ms):
    at = {p: ms[min(len(ms) - 1, len(ms) * p // 100)] for p in (50, 99)}
    print(f"# {label}: p50 {at[50]:.0f} ms, p99 {at[99]:.0f} ms, worst {ms[-1]:.0f} ms",
          flush=True)
    return at[50]


def window(lab, host):
    """Bytes that a host lets be on their way to it, of its widest connection."""
    out = lab.netlab("exec", host, "ss", "-tin", "state", "established")
    return max(int(n) for n in re.findall(r"rcv_ssthresh:(\d+)", out))


def chat():
    with Lab().up("lan", 2) as lab:
        # Before there is a link: the congestion control remembers the shortest way.
        lab.netlab("impair", "h1", "delay", "25ms", "rate", "20mbit")
        two = Two(lab)
        with case("chat beside a transfer that fills a link of 20 Mbit/s and 25 ms"):
            delivered(two.ann, "bob", "the first one takes longer")
            idle = shown("idle", delays(two, "idle"))
            tid = two.begun(size=64 * LEAF, least=2 * LEAF, rate=None)
            beside = shown("beside a file", delays(two, "beside"))
            t = transfer(two.bob, tid)
            check(t["state"] == "active" and t["done"] < t["size"], "the file was there first", t)
            print(f"# the file meanwhile: {t['rate_down'] * 8 / 1e6:.1f} Mbit/s", flush=True)
            check(beside < 1000, "the median is", beside, "ms; idle", idle)
            texts = [f"beside {i}" for i in range(TEXTS)]
            check([t for t in two.bob.texts("ann") if t in texts] == texts, "all of them")
            until(lambda: window(lab, "h2") < 2 * PATH, "what is on its way is bounded")
            verb(two.ann, tid, "cancel")


def main():
    namespaces("a LAN of namespaces", "ip", "nft", "ss")
    with Lab().up("lan", 2) as lab:
        two = Two(lab)
        breaks(two)
        counted(two)
    chat()
    finish()


main()
