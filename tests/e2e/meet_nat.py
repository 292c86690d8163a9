"""Of two who find each other through the DHT one is behind address translation and takes no
connection from outside: from an invite alone, whichever side that is, and again after the other
has moved. All in network namespaces."""
import json
import subprocess

from harness import (LINNET, NOBODY, WAIT_S, Lab, case, check, delivered, finish, invite, namespaces,
                     until)

FOUND_S = 120  # a knock waits until dialling has had its time, then for who polls


def address(lab, host):
    links = json.loads(lab.netlab("hosts", "-j"))["hosts"][host]["links"]
    return links[0]["addrs"][0].partition("/")[0]


def serve(lab, host):
    """A bare node of the DHT there; its address."""
    process = subprocess.Popen(
        ["ip", "netns", "exec", lab.netlab("ns", host).strip(), LINNET, "--json", "dht", "serve",
         "--listen", f"{address(lab, host)}:0"],
        env=lab.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    lab.children.append(process)
    return json.loads(process.stdout.readline())["address"]


def published(node):
    until(lambda: node.json("status")[0]["dht"]["published"], f"{node.name} has left word")


def talk(a, b, what, timeout=WAIT_S):
    delivered(a, b.name, f"{what}, there", timeout)
    delivered(b, a.name, f"{what}, and back", timeout)


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
