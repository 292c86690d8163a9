"""Nodes of whom none can enter the DHT at first: no network, nobody at the address to begin from, a
wrong entry in the hosts file, a name service that does not answer. All in network namespaces."""
import os
import pty
import subprocess

from harness import (COMMAND_S, LINNET, Lab, case, check, delivered, finish, namespaces, pair, until)
from meet import address

LATE_S = 100  # names are looked up every minute, and addresses asked
PORT = 6881   # in a namespace of its own


def etc(lab, name, text):
    """A file of the hosts' /etc. The inode stays: it is mounted in running processes."""
    with open(f"/run/netlab/{lab.env['NETLAB_ID']}/etc/{name}", "w", encoding="ascii") as f:
        f.write(text)


def terminal(node, *args):
    """What the command shows on a terminal."""
    master, slave = pty.openpty()
    process = node.popen("--no-start", *args, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    text = b""
    try:
        while True:
            text += os.read(master, 65536)
    except OSError:
        pass
    os.close(master)
    process.wait(COMMAND_S)
    node.lab.children.remove(process)
    return text.decode()


def dht(node):
    return next(line for line in node.ok("status").lines if line.startswith("dht"))


def serve(lab, host):
    lab.children.append(subprocess.Popen(
        ["ip", "netns", "exec", lab.netlab("ns", host).strip(), LINNET, "dht", "serve", "--listen",
         f"{address(lab, host)}:{PORT}"],
        env=lab.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL))


def main():
    with Lab().up("churny", "4") as lab:
        first, wrong = address(lab, "n1"), address(lab, "n4")
        etc(lab, "hosts", f"{wrong} boot\n")
        etc(lab, "resolv.conf", f"nameserver {wrong}\noptions timeout:10 attempts:3\n")
        lab.netlab("cut", "n4")
        lab.netlab("unplug", "n2")
        ann = lab.node("ann", "n2", options=["--scope", "internet", "--bootstrap", f"{first}:{PORT}"])
        bob = lab.node("bob", "n3", options=["--scope", "internet", "--bootstrap", f"boot:{PORT}",
                                             "--bootstrap", f"nowhere.example:{PORT}"])
        with case("who cannot begin says so, and does not stand still"):
            for node in (ann.start(), bob.start()):
                check("nobody answers" in dht(node), dht(node))
            bob.stop()  # while names are looked up
            bob.start()
        with case("they begin when they can"):
            serve(lab, "n1")
            etc(lab, "hosts", f"{first} boot\n")
            lab.netlab("heal")
            for node in (ann, bob):
                until(lambda n=node: "contacts find this node" in dht(n),
                      f"{node.name} has left word", timeout=LATE_S)
            pair(ann, bob)
            delivered(ann, "bob", "hello")
        with case("why a contact is not reached is said"):
            bob.stop()
            until(lambda: "nobody answers there" in terminal(ann, "contacts"),
                  "where he was is known", timeout=LATE_S)


if __name__ == "__main__":
    namespaces("e2e_meet_late", "ip", "nft")
    main()
    finish()
