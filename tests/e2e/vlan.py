"""Two LANs joined by a router that passes no multicast: --peer, addresses in codes, and
addresses remembered over restarts."""
from harness import (NOBODY, Lab, case, check, delivered, equal, finish, namespaces, until)


def talk(a, b, label):
    delivered(a, b.name, f"{label}, there", timeout=60)
    delivered(b, a.name, f"{label}, and back", timeout=60)


def both(a, b):
    until(lambda: a.contact(b.name) and b.contact(a.name), "both know each other")


def by_address():
    with Lab().up("vlan", 2, 2) as lab:
        ann, bob = lab.node("ann", "a1").start(), lab.node("bob", "b1").start()
        with case("a code without an address finds nobody beyond the router"):
            code = ann.ok("invite").lines[0]
            bob.fails(NOBODY, "add", code, timeout=60)
        with case("a code with an address does"):
            at = f"192.168.61.11:{ann.status['port']}"
            code = ann.ok("invite", "--addr", at).lines[0]
            check(len(code) <= 140, len(code))
            equal(bob.ok("add", code).lines, ["ann"])
            both(ann, bob)
            talk(ann, bob, "by address")
        with case("the address is remembered over restarts of either"):
            for node, other in ((bob, ann), (ann, bob)):
                node.stop()
                node.start()
                talk(node, other, f"{node.name} restarted")
            for node in (ann, bob):
                node.kill()
            for node in (ann, bob):
                node.start()
            talk(ann, bob, "both restarted")
        with case("a host that moves to the other LAN is found there by multicast"):
            lab.netlab("move", "a1", "lan-b")
            delivered(ann, "bob", "moved in next door", timeout=120)
            delivered(bob, "ann", "welcome", timeout=120)
    with Lab().up("vlan", 1, 1) as lab:
        ann, bob = lab.node("ann", "a1").start(), lab.node("bob", "b1").start()
        with case("an address of IPv6 in the code"):
            at = f"[fd00:61::11]:{ann.status['port']}"
            equal(bob.ok("add", ann.ok("invite", "--addr", at).lines[0]).lines, ["ann"])
            both(ann, bob)
            talk(ann, bob, "six")


def by_peer():
    with Lab().up("vlan", 1, 1) as lab:
        ann = lab.node("ann", "a1").start()
        bob = lab.node("bob", "b1").start("--peer", "192.168.61.11")
        with case("--peer reaches across the router"):
            equal(bob.ok("add", ann.ok("invite").lines[0]).lines, ["ann"])
            both(ann, bob)
            talk(ann, bob, "peer")
        with case("whichever of the two has the peer configured"):
            bob.stop()
            bob.start()
            ann.kill()
            ann.start("--peer", f"192.168.62.11:{bob.status['port']}")
            talk(ann, bob, "the other one's peer")
        with case("a peer that is not there harms nothing"):
            ann.stop()
            ann.start("--peer", "192.168.62.200", "--peer", "192.168.99.1:1")
            talk(ann, bob, "in spite of it")


def main():
    namespaces("two LANs of namespaces", "ip", "nft")
    by_address()
    by_peer()
    finish()


main()
