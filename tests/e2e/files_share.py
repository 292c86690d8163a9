"""What tests of files share: contents that can be told apart, transfers as both ends see
them, and moments in the middle of one."""
import contextlib
import hashlib
import json
import os
import random
import subprocess

from harness import COMMAND_S, SLOW, WAIT_S, check, equal, pair, until

LEAF = 1 << 20  # bytes that are verified as one
SLOW_RATE = 2 * LEAF
ENDED = {"done", "declined", "stopped", "cancelled", "changed", "broken", "lost"}


def make(path, size, seed=None, mode=0o644):
    """A file of random bytes; another one for each path."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    data = random.Random(f"{seed or path}").randbytes(size)
    with open(path, "wb") as f:
        f.write(data)
    os.chmod(path, mode)
    return path


def contents(path):
    with open(path, "rb") as f:
        return f.read()


def digest(path):
    return hashlib.sha256(contents(path)).hexdigest()


def same(a, b):
    equal(os.path.getsize(a), os.path.getsize(b), "size of", a)
    equal(digest(a), digest(b), "contents of", a)


def tree(path):
    """What is in a folder: relative path to contents, or None for a folder; an x in front
    of what may be executed."""
    out = {}
    for folder, folders, files in os.walk(path):
        at = os.path.relpath(folder, path)
        for name in folders + files:
            full = os.path.join(folder, name)
            check(not os.path.islink(full), "a symbolic link:", full)
            key = os.path.normpath(os.path.join(at, name))
            if os.path.isdir(full):
                out[key] = None
            else:
                out[("x " if os.access(full, os.X_OK) else "") + key] = digest(full)
    return out


def downloads(node):
    """A download folder of the node's own."""
    path = os.path.join(node.lab.dir, f"downloads-{node.name}{len(node.lab.nodes)}")
    node.ok("config", "set", "downloads", path)
    return path


def listed(path):
    return sorted(os.listdir(path)) if os.path.isdir(path) else []


def parts(path):
    return [n for n in listed(path) if n.endswith(".part")]


def kept(node, tid, author=None):
    """What the home holds of a transfer, that author (None: the node itself) has offered."""
    name = tid
    if author is not None:
        root = bytes.fromhex(author.api.call("id")["root"])
        name = hashlib.blake2b(root + bytes.fromhex(tid), digest_size=16).hexdigest()
    return [n for n in listed(os.path.join(node.home, "files")) if n.startswith(name)]


def no_parts(p):
    """Waits until bob has no part any more; else tells what is left, and of what."""
    try:
        until(lambda: not parts(p.down), "no part is left")
    except AssertionError as e:
        kept = listed(os.path.join(p.bob.home, "files"))
        raise AssertionError(f"{e}: {parts(p.down)}; kept {kept}; {transfers(p.bob)}") from e


# ---- transfers ----


def offer(node, to, *paths, **more):
    """Offers through the API: ids of the transfers, which are the same at both ends."""
    got = node.api.call("send", to=to, files=list(paths), **more)["messages"]
    mine = [m for m in got if m["kind"] == "file"]
    equal(len(mine), len(paths), "messages")
    return [transfer(node, n=m["file"]["n"])["id"] for m in mine]


def transfers(node):
    return node.api.call("transfers")["transfers"]


def transfer(node, tid=None, n=None):
    """As the node has it; None: it does not know it."""
    if n is not None:
        return node.api.call("transfers.show", n=n)
    found = next((t for t in transfers(node) if t["id"] == tid), None)
    if found is None:  # one that ended before the node's start
        every = node.api.call("transfers", all=True)["transfers"]
        found = next((t for t in every if t["id"] == tid), None)
    return found


def number(node, tid):
    """Waits until the node knows it."""
    return until(lambda: transfer(node, tid), f"{node.name} hears of {tid}")["n"]


def reaches(node, tid, *states, timeout=WAIT_S):
    """Waits for a state; one that ends otherwise fails at once."""

    def there():
        t = transfer(node, tid)
        if t is not None and t["state"] in states:
            return t
        check(t is None or t["state"] not in ENDED, f"{node.name}: ended otherwise:", t)
        return None

    try:
        return until(there, f"{node.name}: {tid} is", *states, timeout=timeout)
    except AssertionError as e:
        raise AssertionError(f"{e}; {transfer(node, tid)}") from None


def verb(node, tid, what, **more):
    """accept, decline, pause, resume, cancel."""
    return node.api.call(f"transfers.{what}", n=number(node, tid), **more)


def done(a, b, tid, timeout=WAIT_S):
    """Both ends have it; b's view."""
    t = reaches(b, tid, "done", timeout=timeout)
    reaches(a, tid, "done", timeout=timeout)
    return t


def sent(a, b, path, timeout=WAIT_S, **more):
    """Offers, accepts, waits; b's view."""
    tid = offer(a, b.name, path, **more)[0]
    verb(b, tid, "accept")
    return done(a, b, tid, timeout)


def moving(node, tid, least, timeout=WAIT_S):
    """Waits until so many bytes are there, and it has not ended."""

    def there():
        t = transfer(node, tid)
        check(t is None or t["state"] not in ENDED, "it has ended already:", t)
        return t if t is not None and t["done"] >= least else None

    return until(there, f"{node.name}: {least} bytes", timeout=timeout, every=0.02)


def slow(node, rate):
    """Bytes a second, None: as fast as it goes."""
    node.api.call("transfers.limit", rate=rate or 0)


# ---- commands that run beside the test ----


class Command:
    """A command that is not waited for yet."""

    def __init__(self, node, *args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, **more):
        self.node, self.args = node, args
        self.process = node.popen("--no-start", *args, stdin=stdin, stdout=stdout,
                                  stderr=subprocess.PIPE, **more)
        self.out, self.err, self.code = b"", "", None

    def end(self, code=None, timeout=COMMAND_S, data=None):
        """Waits for its end, with this code."""
        try:
            out, err = self.process.communicate(data, timeout * SLOW)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, err = self.process.communicate()
            raise AssertionError(f"{self.args} does not end: {out!r} {err!r}") from None
        finally:
            self.node.lab.children.remove(self.process)
        self.code, self.out = self.process.returncode, out or b""
        self.err = err.decode("utf-8", "replace")
        if code is not None:
            equal(self.code, code, self.args, repr(self.out[-500:]), self.err)
        return self

    @property
    def lines(self):
        return self.out.decode().splitlines()

    @property
    def json(self):
        return [json.loads(line) for line in self.lines]


def newest(node, name, *states):
    """Waits for the newest transfer of that name in one of these states; its id."""

    def there():
        t = [t for t in transfers(node) if t["name"] == name]
        return t[-1] if t and t[-1]["state"] in states else None

    return until(there, f"{node.name}: {name} is", *states)["id"]


# ---- two nodes ----


class Pair:
    """Two nodes that know each other, a folder of sources, and where bob's files go."""

    def __init__(self, lab):
        self.lab = lab
        self.ann, self.bob = lab.node("ann").start(), lab.node("bob").start()
        pair(self.ann, self.bob)
        self.src = os.path.join(lab.dir, "src")
        os.mkdir(self.src)
        self.down = downloads(self.bob)

    def path(self, name):
        return os.path.join(self.src, name)

    def got(self, name):
        return os.path.join(self.down, name)

    def make(self, name, size, **more):
        return make(self.path(name), size, **more)

    @contextlib.contextmanager
    def slowly(self, rate=SLOW_RATE):
        slow(self.ann, rate)
        try:
            yield
        finally:
            slow(self.ann, None)

    def begun(self, name, size, least=2 * LEAF):
        """A transfer in the middle (the rate is limited): its id."""
        tid = offer(self.ann, "bob", self.make(name, size))[0]
        verb(self.bob, tid, "accept")
        moving(self.bob, tid, least)
        return tid
