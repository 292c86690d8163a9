"""An office on one LAN, each node a process in a network namespace of its own: all pair
through a secret network, hold links only as far as they need them, and still reach one
another at once.

  office.py [NODES [IDLE_S]]    20 nodes and 30 s; `LINNET=build-bench/linnet office.py 200 300`
                                is the benchmark (docs/BENCHMARKS.md)"""
import os
import sys
import time

from harness import SLOW, Lab, case, check, finish, namespaces, until

NODES = int(sys.argv[1]) if len(sys.argv) > 1 else 20
IDLE_S = int(sys.argv[2]) if len(sys.argv) > 2 else 30
PAIRED_S = 60           # after the last start
LINKS_FREE = 16         # PEER_LINKS_FREE
SETTLE_S = 120          # links that nobody uses have ended
SENT, RECEIVED = 300, 1000  # bytes a second
MEMORY_MIB = 24
SAMPLE = 10
with open(os.environ["LINNET"], "rb") as program:
    PLAIN = b"__asan_init" not in program.read()  # no sanitizers: figures count
PROMPT_S = 1.0 if PLAIN else 3.0
LEFT_S = 2.0 if PLAIN else 10.0
TRAFFIC_S = 120         # of a shorter measurement a link's keepalive may be a large part


def join(node):
    read, write = os.pipe()
    os.write(write, b"correct horse battery staple\n")
    os.close(write)
    try:
        node.spawn("--network", "The Office", "--network-secret-fd", read, pass_fds=(read,))
    finally:
        os.close(read)


def contacts(node):
    return node.api.call("contacts")["contacts"]


def links(node):
    return node.api.call("status")["links"]


def counted(node):
    """What the kernel counts of the node: bytes received and sent, CPU seconds, voluntary
    context switches, resident MiB."""
    pid = node.process.pid
    received = sent = switches = rss = 0
    with open(f"/proc/{pid}/net/dev", encoding="ascii") as f:
        for line in f.readlines()[2:]:
            name, _, rest = line.partition(":")
            if name.strip() != "lo":
                received += int(rest.split()[0])
                sent += int(rest.split()[8])
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        ticks = f.read().rpartition(")")[2].split()
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status", encoding="ascii") as f:
            for line in f:
                if line.startswith("voluntary_ctxt"):
                    switches += int(line.split()[1])
                if line.startswith("VmRSS") and task == str(pid):
                    rss = int(line.split()[1]) / 1024
    cpu = (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")
    return received, sent, cpu, switches, rss


def row(what, values, limit=""):
    print(f"# {what:34} {sum(values) / len(values):10.3f} {max(values):10.3f} {limit:>8}",
          flush=True)


def idle(nodes):
    before = [counted(n) for n in nodes]
    began = time.monotonic()
    time.sleep(IDLE_S)  # the measurement itself
    after = [counted(n) for n in nodes]
    seconds = time.monotonic() - began
    rates = [[(y - x) / seconds for x, y in zip(a[:4], b[:4])] for a, b in zip(before, after)]
    received, sent, cpu, switches = (list(v) for v in zip(*rates))
    memory = [a[4] for a in after]
    print(f"# {len(nodes)} nodes, idle for {seconds:.0f} s{'':17} mean      worst    limit")
    row("sent, B/s", sent, SENT)
    row("received, B/s", received, RECEIVED)
    row("memory, MiB", memory, MEMORY_MIB)
    row("links", [links(n) for n in nodes], LINKS_FREE)
    row("CPU, %", [100 * c for c in cpu])
    row("wake-ups, 1/s", switches)
    if seconds >= TRAFFIC_S:
        check(max(sent) <= SENT, "sent", sent)
        check(max(received) <= RECEIVED, "received", received)
    check(not PLAIN or max(memory) <= MEMORY_MIB, "memory", memory)


def unlinked(node, nodes):
    """Somebody to whom there is no link, and who is there."""
    by_name = {n.name: n for n in nodes}
    for c in contacts(node):
        if c["online"] and not c["linked"]:
            return by_name[c["name"]]
    return None


def messages(nodes):
    took = []
    for a in nodes[::max(1, len(nodes) // SAMPLE)]:
        b = unlinked(a, nodes)
        check(b is not None, f"{a.name} is linked to everybody")
        began = time.monotonic()
        a.ok("send", b.name, "anybody there?", "--wait", "delivered", timeout=30)
        took.append(time.monotonic() - began)
    row("message without a link, s", took, PROMPT_S)
    check(max(took) <= PROMPT_S * SLOW, "too slow", took)


def good_bye(nodes):
    gone = nodes.pop()
    rest = [n for n in nodes if not any(c["name"] == gone.name and c["linked"]
                                        for c in contacts(n))]
    check(rest, f"everybody is linked to {gone.name}")
    gone.stop()
    for n in rest[:SAMPLE]:
        until(lambda n=n: not next(c for c in contacts(n) if c["name"] == gone.name)["online"],
              f"{n.name} sees that {gone.name} is gone", timeout=LEFT_S)


def office():
    with Lab().up("lan", NODES) as lab:
        nodes = [lab.node(f"n{i}", f"h{i}") for i in range(1, NODES + 1)]
        with case(f"{NODES} pair by themselves within a minute of the last start"):
            for n in nodes:
                join(n)
            for n in nodes:
                n.ready()
            began = time.monotonic()
            for n in nodes:
                until(lambda n=n: len(contacts(n)) == NODES - 1, f"{n.name} knows all",
                      timeout=PAIRED_S, every=0.5)
            row("all paired, after the last start, s", [time.monotonic() - began], PAIRED_S)
        with case("all see one another"):
            for n in nodes:
                until(lambda n=n: all(c["online"] for c in contacts(n)),
                      f"{n.name} sees all", timeout=90, every=0.5)
        with case("links that nobody needs end"):
            for n in nodes:
                until(lambda n=n: links(n) <= LINKS_FREE, f"{n.name} holds few links",
                      timeout=SETTLE_S, every=0.5)
        with case("an idle node costs little"):
            idle(nodes)
        with case("and all still see one another"):
            for n in nodes:
                check(all(c["online"] for c in contacts(n)), n.name, contacts(n))
        with case("a message to somebody without a link arrives at once"):
            messages(nodes)
        with case("who says good-bye is gone at once for those without a link"):
            good_bye(nodes)


if __name__ == "__main__":
    namespaces("office", "ip", "nft")
    office()
    finish()
