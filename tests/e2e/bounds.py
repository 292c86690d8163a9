"""What a node may use, whatever comes."""
import contextlib
import os

from harness import check

GROWTH = 64 << 20  # bytes that the node's memory may grow by, whatever comes
SANITIZED = 4  # times as much with AddressSanitizer, whose heap gives little back


def rss(node):
    with open(f"/proc/{node.process.pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) << 10 for line in f if line.startswith("VmRSS"))


def fds(node):
    return len(os.listdir(f"/proc/{node.process.pid}/fd"))


@contextlib.contextmanager
def bounded(node):
    """The node's memory grows by less than GROWTH meanwhile, and it lives."""
    before = rss(node)
    yield
    node.alive()
    after = rss(node)
    print(f"# memory of {node.name}: {before >> 10} KiB before, {after >> 10} after", flush=True)
    with open(f"/proc/{node.process.pid}/maps", encoding="utf-8") as f:
        most = GROWTH * (SANITIZED if "libasan" in f.read() else 1)
    check(after - before < most, "memory grew by", after - before)


def cpu(node):
    """Seconds of processor that the node has used."""
    with open(f"/proc/{node.process.pid}/stat", encoding="ascii") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
