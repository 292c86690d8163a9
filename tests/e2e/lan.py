"""Nodes on one LAN of network namespaces: multicast, two users of one host, IPv6 alone,
snooping switches, no multicast, client isolation, and a kill in the middle of a burst."""
import time

from harness import (ERROR, NOBODY, TIMEOUT, Lab, case, check, delivered, equal, exactly_once,
                     finish, namespaces, pair, until)


DEAD_S = 20  # then TCP gives up a path by itself (sock.h)


def online(node, name):
    contact = node.contact(name)
    return contact and contact["online"]


def talk(a, b, label):
    delivered(a, b.name, f"{label}, there")
    delivered(b, a.name, f"{label}, and back")


def meet_again(a, b):
    """b starts: how long until a message passes, in seconds."""
    b.start()
    start = time.monotonic()
    until(lambda: online(a, b.name) and online(b, a.name), "they find each other")
    return time.monotonic() - start


def flood_lan():
    with Lab().up("lan", 3) as lab:
        ann, bob = lab.node("ann", "h1").start(), lab.node("bob", "h2").start()
        with case("two hosts find each other by multicast and pair"):
            pair(ann, bob)
            talk(ann, bob, "two hosts")
        with case("they find each other again"):
            bob.stop()
            print(f"# found after {meet_again(ann, bob):.2f} s", flush=True)
            talk(ann, bob, "again")
        with case("two users of one host"):
            carol = lab.node("carol", "h1").start()
            check(carol.status["port"] != ann.status["port"])
            pair(carol, ann)
            pair(carol, bob)
            talk(ann, carol, "one host")
            talk(bob, carol, "another host")
            ann.kill()
            ann.start()
            talk(ann, carol, "one host, again")
            talk(ann, bob, "two hosts, again")
        with case("the cable is pulled and put back"):
            lab.netlab("unplug", "h2")
            ann.run("send", "bob", "unplugged", "--wait", "delivered", "--timeout", "2s")
            check(ann.export("bob")[-1]["state"] in ("queued", "sent"))
            lab.netlab("heal")
            until(lambda: "unplugged" in bob.texts("ann"), "arrives", timeout=90)
            talk(ann, bob, "plugged in")
        with case("an address changes under a running node"):
            lab.netlab("exec", "h2", "ip", "address", "del", "192.168.50.12/24", "dev", "eth0")
            lab.netlab("exec", "h2", "ip", "address", "add", "192.168.50.99/24", "dev", "eth0")
            start = time.monotonic()
            delivered(ann, "bob", "to your new address", timeout=DEAD_S // 2)
            delivered(bob, "ann", "from my new address", timeout=DEAD_S // 2)
            print(f"# delivered after {time.monotonic() - start:.2f} s", flush=True)
        with case("kill -9 in the middle of a burst"):
            texts = [f"burst {i}" for i in range(500)]
            for text in texts:
                ann.api.send("send", to="bob", text=text)
            for _ in range(100):
                check("result" in ann.api.answer())
            bob.kill()
            for _ in range(400):
                check("result" in ann.api.answer())
            bob.start()
            until(lambda: texts[-1] in bob.texts("ann"), "all arrive", timeout=60)
            exactly_once(bob, "ann", texts)


def snoop():
    with Lab().up("lan", 2) as lab:
        lab.netlab("lanmode", "lan", "snoop")
        ann, bob = lab.node("ann", "h1").start(), lab.node("bob", "h2").start()
        with case("a switch that snoops: only members of the group hear beacons"):
            pair(ann, bob)
            bob.stop()
            meet_again(ann, bob)
            talk(ann, bob, "snooped")


def ipv6_only():
    with Lab().up("lan", 2) as lab:
        for host in ("h1", "h2"):
            lab.netlab("exec", host, "ip", "-4", "address", "flush", "dev", "eth0")
        ann, bob = lab.node("ann", "h1").start(), lab.node("bob", "h2").start()
        with case("IPv6 alone"):
            pair(ann, bob)
            talk(ann, bob, "six")
            check(all(":" in a for a in ann.json("status")[0]["addresses"]))
            bob.kill()
            meet_again(ann, bob)
            talk(ann, bob, "six, again")
    with Lab().up("lan", 2) as lab:
        for host in ("h1", "h2"):
            lab.netlab("exec", host, "ip", "-4", "address", "flush", "dev", "eth0")
            lab.netlab("exec", host, "ip", "-6", "address", "flush", "dev", "eth0",
                       "scope", "global")
        ann, bob = lab.node("ann", "h1").start(), lab.node("bob", "h2").start()
        with case("link-local IPv6 alone"):
            pair(ann, bob)
            talk(ann, bob, "link-local")


def no_multicast():
    with Lab().up("lan", 2) as lab:
        lab.netlab("lanmode", "lan", "nomcast")
        ann = lab.node("ann", "h1").start()
        bob = lab.node("bob", "h2").start()
        with case("without multicast nobody is found: exit 6"):
            code = ann.ok("invite").lines[0]
            bob.fails(NOBODY, "add", code, timeout=60)
            equal(bob.json("contacts"), [])
        with case("with --peer they are"):
            bob.stop()
            bob.start("--peer", "192.168.50.11")
            until(lambda: bob.contact("ann"), "the code is tried again")
            until(lambda: ann.contact("bob"), "at both ends")
            talk(ann, bob, "peer")
        with case("a remembered address is enough afterwards"):
            bob.stop()
            bob.start()
            talk(bob, ann, "remembered")
            ann.kill()
            ann.start()
            delivered(ann, "bob", "by the other one, too", timeout=90)


def isolated():
    with Lab().up("lan", 2) as lab:
        ann, bob = lab.node("ann", "h1").start(), lab.node("bob", "h2").start()
        with case("they pair before the Wi-Fi isolates them"):
            pair(ann, bob)
            talk(ann, bob, "before")
        with case("client isolation: nothing arrives, and nobody says that it did"):
            lab.netlab("lanmode", "lan", "isolate")
            for i in range(5):
                ann.ok("send", "bob", f"isolated {i}")
            result = ann.run("send", "bob", "isolated 5", "--wait", "delivered", "--timeout",
                             "3s")
            check(result.code in (NOBODY, TIMEOUT), result)
            states = [m["state"] for m in ann.export("bob")[-6:]]
            check(set(states) <= {"queued", "sent"}, states)
            check(not [t for t in bob.texts("ann") if t.startswith("isolated")])
            ann.alive()
        with case("restarted in isolation both know their history and wait"):
            for node in (ann, bob):
                node.kill()
                node.start()
            check("isolated 5" in ann.texts("bob"))
            check(not online(ann, "bob") and not online(bob, "ann"))
            ann.fails(NOBODY, "send", "bob", "isolated 6", "--wait", "delivered", "--timeout",
                      "1s")
        with case("the isolation ends: everything arrives once, in order"):
            lab.netlab("lanmode", "lan", "flood")
            until(lambda: "isolated 6" in bob.texts("ann"), "arrives", timeout=90)
            exactly_once(bob, "ann", [f"isolated {i}" for i in range(7)])
            talk(ann, bob, "after")


def no_network():
    with Lab().up("lan", 2) as lab:
        lab.netlab("exec", "h1", "ip", "link", "set", "eth0", "down")
        lab.netlab("exec", "h1", "ip", "link", "set", "lo", "down")
        ann, bob = lab.node("ann", "h1").start(), lab.node("bob", "h2").start()
        with case("a node without any network starts and answers"):
            ann.alive()
            ann.ok("id")
            code = ann.ok("invite").lines[0]
            equal(ann.run("add", code).code in (ERROR, 2), True)
        with case("the network comes, and they meet"):
            lab.netlab("exec", "h1", "ip", "link", "set", "lo", "up")
            lab.netlab("exec", "h1", "ip", "link", "set", "eth0", "up")
            until(lambda: bob.run("add", code).code == 0, "they pair", timeout=90)
            talk(ann, bob, "at last")


def main():
    namespaces("a LAN of namespaces", "ip", "nft")
    for part in (flood_lan, snoop, ipv6_only, no_multicast, isolated, no_network):
        part()
    finish()


main()
