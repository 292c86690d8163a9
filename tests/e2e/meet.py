"""People who share no network find each other through the DHT: public hosts, each with a network
of its own, no multicast between them, no address in the code, and one bare node to begin from. All
in network namespaces."""
import json
import subprocess
import time

from harness import (LINNET, NOBODY, WAIT_S, Lab, case, check, delivered, finish, invite, namespaces,
                     pair, until)

GONE_S = 150  # both notice that a link is over, look each other up, dial or knock; perhaps twice


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


def move(lab, *hosts):
    """New addresses for all of them while none hears of another."""
    lab.netlab("cut", ",".join(hosts))
    for host in hosts:
        before = address(lab, host)
        lab.netlab("readdress", host)
        check(address(lab, host) != before, "it has the old address")
    lab.netlab("heal")


def main():
    with Lab().up("churny", "4") as lab:
        options = ["--scope", "internet", "--bootstrap", serve(lab, "n1")]
        ann, bob, cy = (lab.node(name, host, options=options).start()
                        for name, host in (("ann", "n2"), ("bob", "n3"), ("cy", "n4")))
        for node in (ann, bob, cy):
            published(node)
        with case("an invite alone brings two together"):
            pair(ann, bob)
            talk(ann, bob, "hello")
        with case("both move at one moment, and find each other again"):
            start = time.monotonic()
            move(lab, "n2", "n3")
            talk(ann, bob, "moved", GONE_S)
            print(f"# after {time.monotonic() - start:.1f} s", flush=True)
        with case("an inviter who is away is found when they are back"):
            code = invite(ann)
            ann.stop()
            failed = cy.fails(NOBODY, "add", code)
            # Whether word of the code was left, and who still answers there after the moves,
            # is a matter of moments; that it says which it was, is not.
            check(any(said in failed.err for said in
                      ("nobody answers there", "Nothing in the DHT", "could not be asked")),
                  failed.err)
            ann.start()
            until(lambda: cy.contact("ann"), "they have met", timeout=GONE_S)
            talk(cy, ann, "hello")
        with case("one who starts anew finds who is there, and what waited arrives"):
            bob.stop()
            ann.ok("send", "bob", "while you were away")
            move(lab, "n2")
            bob.start()
            until(lambda: "while you were away" in bob.texts("ann"), "it arrives",
                  timeout=GONE_S)


if __name__ == "__main__":
    namespaces("e2e_meet", "ip", "nft")
    main()
    finish()
