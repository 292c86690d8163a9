"""Of two who find each other through the DHT one is behind address translation and takes no
connection from outside: from an invite alone, whichever side that is, and again after the other
has moved. All in network namespaces."""
from harness import NOBODY, Lab, case, check, finish, invite, namespaces, until
from meet import published, serve, talk

FOUND_S = 120  # a knock waits until dialling has had its time, then for who polls


def add(node, code, name):
    """The inviter may be found after `add` has returned."""
    result = node.run("add", code)
    check(result.code in (0, NOBODY), result)
    until(lambda: node.contact(name), f"{node.name} has met {name}", timeout=FOUND_S)


def main():
    with Lab().up("homes", "rest", "sym") as lab:
        first = serve(lab, "pub1")
        options = ["--scope", "internet", "--bootstrap", first]
        ann, bob, cy = (lab.node(name, host, options=options).start()
                        for name, host in (("ann", "pub2"), ("bob", "rest-a1"), ("cy", "sym-a1")))
        for node in (ann, bob, cy):
            published(node)
        with case("an inviter behind translation is met by who is not"):
            add(ann, invite(bob), "bob")
            talk(ann, bob, "hello")
        with case("an inviter who is not is met by who is behind translation"):
            add(cy, invite(ann), "ann")
            talk(cy, ann, "hello")
        with case("who is not comes back elsewhere, and meets both again"):
            ann.stop()
            lab.netlab("readdress", "pub2")
            ann.start()
            talk(ann, bob, "here again", FOUND_S)
            talk(ann, cy, "here again", FOUND_S)


namespaces("e2e_meet_nat", "ip", "nft")
main()
finish()
