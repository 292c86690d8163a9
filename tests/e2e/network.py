"""A secret network: who has its name and secret is found and paired with by itself, on one
LAN and through a router; who has not gets nothing."""
import os
import time

from harness import (ERROR, IDENTITY, USAGE, Lab, case, check, delivered, equal, finish,
                     namespaces, until)

OFFICE = "The Office"
SECRET = "correct horse battery staple"
MINUTE = 60


def secret_file(lab, name, text=SECRET + "\n", mode=0o600):
    path = os.path.join(lab.dir, name)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    os.chmod(path, mode)
    return path


def join(node, *options, network=OFFICE, secret=SECRET):
    """Starts a node in the network; the secret comes over a descriptor."""
    read, write = os.pipe()
    os.write(write, secret.encode() + b"\n")
    os.close(write)
    try:
        return node.start("--network", network, "--network-secret-fd", read, *options,
                          pass_fds=(read,))
    finally:
        os.close(read)


def know(node):
    return {c["name"] for c in node.json("contacts")}


def all_know(nodes, timeout=MINUTE):
    names = {n.name for n in nodes}
    for n in nodes:
        until(lambda n=n: know(n) == names - {n.name}, f"{n.name} knows all", timeout=timeout)


def one_lan():
    with Lab().up("lan", 6) as lab:
        nodes = [lab.node(f"n{i}", f"h{i}") for i in range(1, 6)]
        other = lab.node("other", "h6")
        with case("five pair by themselves, without a question"):
            for n in nodes:
                join(n)
            all_know(nodes)
        first, last = nodes[0], nodes[-1]
        with case("each is shown as unverified, with the network it came through"):
            for c in first.json("contacts"):
                equal((c["verified"], c["conflict"], c["network"]), (False, False, OFFICE))
            check(all(line.split("\t")[3:7:3] == ["unverified", OFFICE]
                      for line in first.ok("contacts").lines), first.ok("contacts").out)
        with case("the network is in status and in what the node says"):
            equal(first.json("status")[0]["network"], {"name": OFFICE, "contacts": 4})
            check(OFFICE in first.ok("status").out)
            check(f"network: {OFFICE}" in first.said())
        with case("they talk"):
            delivered(first, last.name, "good morning")
            delivered(last, first.name, "good morning to you")
        with case("another secret, or another name, gets nobody and shows nothing"):
            join(other, secret=SECRET + "!")
            until(lambda: other.json("status")[0]["network"]["contacts"] == 0, "in its own")
            other.stop()
            join(other, network="The office")
            newest = first.status["newest"]
            # a whole round of its beacons, as many as those who were found had needed
            all_know(nodes)
            latest = lab.node("latest", "h6")
            join(latest)
            until(lambda: "latest" in know(first), "somebody else is found meanwhile")
            equal(know(other), set())
            check("other" not in know(first), know(first))
            check(all(e.get("name") != "other" for e in first.told(newest)))
            latest.stop()
            other.stop()
        with case("who was removed does not come back by itself, also after restarts"):
            first.ok("contact", "remove", last.name)
            last.stop()
            join(last)
            nodes[1].stop()
            join(nodes[1])
            until(lambda: first.contact(nodes[1].name)["online"], "a round of beacons")
            equal(first.contact(last.name), None)
        with case("an invite brings them back, as any other contact"):
            equal(last.ok("add", first.ok("invite").lines[0]).lines, [first.name])
            until(lambda: first.contact(last.name), "they are back")
            delivered(first, last.name, "sorry")


def restarts():
    with Lab().up("lan", 3) as lab:
        ann, bob, cat = (lab.node(n, f"h{i + 1}") for i, n in enumerate(("ann", "bob", "cat")))
        path = secret_file(lab, "secret")
        with case("name and secret from the configuration"):
            for n in (ann, bob):
                n.ok("config", "set", "network", OFFICE)
                n.ok("config", "set", "network-secret-file", path)
                n.start()
            all_know([ann, bob])
            equal(ann.ok("config", "get", "network").out.strip(), OFFICE)
        with case("a restart is quick, the key is not made again, contacts stay"):
            bob.kill()
            start = time.monotonic()
            bob.start()
            check(time.monotonic() - start < 10, "it took", time.monotonic() - start)
            delivered(ann, "bob", "back again")
        with case("verified stays verified when they meet again"):
            ann.ok("verify", "bob", "--yes")
            bob.kill()
            bob.start()
            delivered(bob, "ann", "me again")
            check(ann.contact("bob")["verified"])
        with case("another secret: new ones are not found, contacts stay"):
            ann.stop()
            secret_file(lab, "secret", "another secret of the office\n")
            ann.start()
            secret_file(lab, "secret2")
            cat.ok("config", "set", "network", OFFICE)
            cat.ok("config", "set", "network-secret-file", os.path.join(lab.dir, "secret2"))
            cat.start()
            until(lambda: "bob" in know(cat), "cat is of bob's network")
            delivered(ann, "bob", "still here")
            equal(know(ann), {"bob"})
            equal(know(cat), {"bob"})
        with case("a node that leaves says so once, and keeps its contacts"):
            ann.stop()
            ann.ok("config", "set", "network", "")
            before = len(ann.said(None))
            ann.start()
            said = ann.said(None)[before:]
            check(f'not in the network "{OFFICE}" any more' in said, said)
            equal(ann.json("status")[0]["network"], None)
            left = [e for e in ann.told() if e.get("what") == "network_left"]
            equal([(e["network"], e["contacts"]) for e in left], [(OFFICE, 1)])
            delivered(ann, "bob", "only for the network")
            equal(ann.contact("bob")["network"], OFFICE)
            ann.stop()
            before = len(ann.said(None))
            ann.start()
            check("any more" not in ann.said(None)[before:], "it is said twice")


def secrets():
    with Lab() as lab:
        ann = lab.node("ann")
        ann.ok("config", "set", "network", OFFICE)
        with case("a network without its secret does not start"):
            said = ann.refuses()
            check("wants its secret" in said, said)
        for mode in (0o640, 0o604, 0o666):
            with case(f"a secret file of mode {mode:o} is refused"):
                ann.ok("config", "set", "network-secret-file",
                       secret_file(lab, f"s{mode:o}", mode=mode))
                said = ann.refuses()
                check("can be read by others" in said and "chmod 600" in said, said)
                check(SECRET not in said)
        for what, text, sentence in (("short", "elevenbytes\n", "too short"),
                                     ("empty", "", "too short"),
                                     ("long", "x" * 2000, "too long")):
            with case(f"a secret that is {what} is refused"):
                ann.ok("config", "set", "network-secret-file", secret_file(lab, what, text))
                said = ann.refuses()
                check(sentence in said, said)
        with case("a file that is not there, a folder"):
            for path in (os.path.join(lab.dir, "nothing"), lab.dir):
                ann.ok("config", "set", "network-secret-file", path)
                ann.refuses()
        with case("options that do not fit together are misuse"):
            ann.ok("config", "set", "network", "")
            ann.ok("config", "set", "network-secret-file", "")
            equal(ann.run("daemon", "--network-secret-fd", "0", stdin=SECRET).code, USAGE)
            equal(ann.run("daemon", "--network-secret-fd", "x").code, USAGE)
            equal(ann.run("daemon", "--network", OFFICE).code, USAGE)
            equal(ann.run("daemon", "--network", "a\nb", "--network-secret-fd", "0",
                          stdin=SECRET).code, USAGE)
            equal(ann.run("daemon", "--network", OFFICE, "--network-secret-fd", "77").code,
                  ERROR)
        with case("two on one host, the end of the line and of the file alike"):
            a = lab.node("a").start("--network", OFFICE, "--network-secret-fd", "3", **fd3(SECRET))
            b = lab.node("b").start("--network", OFFICE, "--network-secret-fd", "3",
                                    **fd3(SECRET + "\r\nmore"))
            all_know([a, b])
        with case("the secret is in no file of the home"):
            for folder, _, files in os.walk(a.home):
                for path in (os.path.join(folder, name) for name in files):
                    if os.path.isfile(path):  # and no socket
                        with open(path, "rb") as f:
                            check(SECRET.encode() not in f.read(), path)


def fd3(text):
    read, write = os.pipe()
    os.write(write, text.encode())
    os.close(write)

    def place():
        os.dup2(read, 3)

    return {"preexec_fn": place, "close_fds": False}


def two_names():
    with Lab().up("lan", 3) as lab:
        ann, bob, imp = (lab.node(n, f"h{i + 1}") for i, n in enumerate(("ann", "bob", "bob")))
        with case("a second one under a known name marks both, and sending stops"):
            join(ann)
            join(bob)
            until(lambda: "bob" in know(ann), "the first")
            join(imp)
            until(lambda: "bob-2" in know(ann), "the second")
            for name in ("bob", "bob-2"):
                check(ann.contact(name)["conflict"], name)
                ann.fails(IDENTITY, "send", name, "which one are you?")


def two_lans():
    with Lab().up("vlan", 3, 3) as lab:
        here = [lab.node(f"a{i}", f"a{i}") for i in (1, 2, 3)]
        there = [lab.node(f"b{i}", f"b{i}") for i in (1, 2, 3)]
        with case("multicast does not pass the router: two islands"):
            for n in here + there:
                join(n)
            all_know(here)
            all_know(there)
        with case("one that has a peer there is enough: members tell each other"):
            here[0].stop()
            join(here[0], "--peer", "192.168.62.11")
            all_know(here + there, timeout=2 * MINUTE)
        with case("and they talk across"):
            delivered(here[2], there[2].name, "from the other floor", timeout=MINUTE)
            delivered(there[2], here[2].name, "hello up there", timeout=MINUTE)


def main():
    namespaces("networks of namespaces", "ip", "nft")
    one_lan()
    restarts()
    secrets()
    two_names()
    two_lans()
    finish()


main()
