"""What the end-to-end tests share: nodes in temporary homes, commands with a time limit,
the local API, a laboratory of network namespaces, and TAP lines.

A test is a script: it makes a Lab, starts nodes, and states what must hold in cases:

    with Lab() as lab:
        ann, bob = lab.node("ann").start(), lab.node("bob").start()
        with case("two pair"):
            pair(ann, bob)
    finish()

A case that fails prints `not ok`, and the script goes on with the next. Nothing is
waited for by sleeping: a condition is asked for again until it holds or its time is up
(until), or an event is awaited (Events.wait). Everything that was started is ended when
the Lab is left, however that happens; nobody else's process is touched.

LINNET names the program. Outside namespaces everything stays on `lo`.
"""
import atexit
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

import zmq

HERE = os.path.dirname(os.path.abspath(__file__))
LINNET = os.path.abspath(os.environ.get("LINNET") or os.path.join(HERE, "../../build/linnet"))
NETLAB = os.path.join(HERE, "netlab")
INSIDE = "LINNET_E2E_INSIDE"  # set once we are in namespaces of our own
COMMAND_S = 40  # for one command
WAIT_S = 30  # for a condition
SLOW = float(os.environ.get("LINNET_E2E_SLOW", "1"))  # stretches both

DONE, ERROR, USAGE, NO_NODE, UNKNOWN, IDENTITY, NOBODY, REFUSED = range(8)
TIMEOUT = 10

_results = []
_labs = []


# ---- cases ----


class Skip(Exception):
    """What a case needs is not there."""


@contextlib.contextmanager
def case(name):
    start = time.monotonic()
    running = [n for lab in _labs for n in lab.nodes if n.process is not None]
    try:
        yield
    except Skip as e:
        _results.append(True)
        print(f"ok {name} # SKIP {e}", flush=True)
        return
    except Exception as e:  # pylint: disable=broad-except
        _results.append(False)
        print(f"not ok {name}", flush=True)
        lines = traceback.format_exc() if not isinstance(e, AssertionError) else ""
        at = traceback.extract_tb(e.__traceback__)
        where = " < ".join(f"{os.path.basename(f.filename)}:{f.lineno}" for f in reversed(at))
        for line in (lines.splitlines() or []) + [f"{e}", where]:
            for part in str(line).splitlines():
                print(f"# {part}", flush=True)
        for lab in _labs:
            lab.show_logs()
            lab.revive(running)
        return
    _results.append(True)
    print(f"ok {name} # {time.monotonic() - start:.1f} s", flush=True)


def skip_all(name, reason):
    """The whole script is skipped, visibly."""
    print(f"ok {name} # SKIP {reason}", flush=True)
    sys.exit(0)


def finish():
    bad = _results.count(False)
    print(f"1..{len(_results)}", flush=True)
    sys.exit(1 if bad or not _results else 0)


def check(condition, *what):
    if not condition:
        raise AssertionError(" ".join(str(w) for w in what) or "does not hold")


def equal(got, wanted, *what):
    if got != wanted:
        raise AssertionError(f"{' '.join(str(w) for w in what)}: {got!r}, not {wanted!r}")


def until(condition, *what, timeout=WAIT_S, every=0.05):
    """Asks again until condition() is true; returns what it returned."""
    end = time.monotonic() + timeout * SLOW
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout} s: {' '.join(map(str, what))}")
        time.sleep(every)


# ---- processes ----


class Result:
    def __init__(self, args, code, out, err):
        self.args, self.code, self.raw, self.err = args, code, out, err
        self.out = out.decode("utf-8", "replace")

    @property
    def lines(self):
        return self.out.splitlines()

    @property
    def json(self):
        """The JSON Lines of standard output."""
        return [json.loads(line) for line in self.lines if line.strip()]

    def __str__(self):
        return f"`{' '.join(map(str, self.args))}` ended with {self.code}: {self.out!r} {self.err!r}"


class Events:
    """A subscription to a node's events."""

    def __init__(self, endpoint, topics):
        self.socket = zmq.Context.instance().socket(zmq.SUB)
        self.socket.linger = 0
        self.socket.connect(endpoint)
        for topic in {*topics, "welcome"}:
            self.socket.subscribe(topic)
        self.welcome = self.wait("welcome")

    def next(self, timeout):
        if not self.socket.poll(max(0, timeout) * 1000):
            return None, None
        topic, data = self.socket.recv_multipart()
        return topic.decode(), json.loads(data)

    def wait(self, topic, condition=lambda e: True, timeout=WAIT_S):
        """The next event of that topic that meets the condition; others are dropped."""
        end = time.monotonic() + timeout * SLOW
        while True:
            got, event = self.next(end - time.monotonic())
            if got is None:
                raise AssertionError(f"no such event within {timeout} s: {topic}")
            if got == topic and condition(event):
                return event

    def close(self):
        self.socket.close()


class ApiError(Exception):
    def __init__(self, error):
        super().__init__(f"{error.get('code')}: {error.get('message')}")
        self.code = error.get("code")


class Api:
    """A client of a node's requests."""

    def __init__(self, endpoint):
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.connect(endpoint)
        self.last = 0

    def send(self, method, **params):
        self.last += 1
        self.socket.send_json({"id": self.last, "method": method, "params": params})
        return self.last

    def answer(self, timeout=WAIT_S):
        if not self.socket.poll(timeout * SLOW * 1000):
            raise AssertionError("no answer from the API")
        return self.socket.recv_json()

    def call(self, method, **params):
        wanted = self.send(method, **params)
        while True:
            answer = self.answer()
            if answer["id"] == wanted:
                break
        if "error" in answer:
            raise ApiError(answer["error"])
        return answer["result"]

    def close(self):
        self.socket.close()


class Node:
    """A home, and the node that runs there or not."""

    def __init__(self, lab, name, home, prefix, options):
        self.lab, self.name, self.home, self.prefix = lab, name, home, prefix
        self.options = list(options)
        self.process = None
        self.status = {}
        self._api = None
        self.log = os.path.join(lab.dir, f"{os.path.basename(home)}.log")

    # -- commands --

    def popen(self, *args, **more):
        cmd = [*self.prefix, LINNET, "--home", self.home,
               *(a if isinstance(a, bytes) else str(a) for a in args)]
        process = subprocess.Popen(cmd, env=self.lab.env, **more)
        self.lab.children.append(process)
        return process

    def run(self, *args, stdin=b"", timeout=COMMAND_S, **more):
        """Runs a command to its end; starts no node."""
        if isinstance(stdin, str):
            stdin = stdin.encode()
        process = self.popen("--no-start", *args, stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)
        try:
            out, err = process.communicate(stdin, timeout=timeout * SLOW)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise AssertionError(f"{args} did not end within {timeout} s") from None
        finally:
            self.lab.children.remove(process)
        return Result(args, process.returncode, out, err.decode("utf-8", "replace"))

    def ok(self, *args, **more):
        result = self.run(*args, **more)
        check(result.code == 0, result)
        return result

    def fails(self, code, *args, **more):
        """Ends with this code, says a sentence on stderr and nothing on stdout."""
        result = self.run(*args, **more)
        check(result.code == code, "expected", code, result)
        check(result.err.strip(), "no sentence", result)
        return result

    def json(self, *args, **more):
        return self.ok("--json", *args, **more).json

    # -- the node --

    def spawn(self, *options, **more):
        """The node in the foreground, not waited for."""
        scope = [] if "--scope" in self.options else ["--scope", "lan"]
        with open(self.log, "ab") as log:
            self.process = self.popen("daemon", *scope, "--name", self.name,
                                      *self.options, *options, stdin=subprocess.DEVNULL,
                                      stdout=log, stderr=log, **more)
        return self

    def ready(self):
        """Waits until the API answers."""

        def answers():
            check(self.process.poll() is None, f"{self.name}'s node has ended with",
                  self.process.returncode, self.said())
            result = self.run("--json", "status")
            return result.json[0] if result.code == 0 else None

        self.status = until(answers, f"{self.name}'s node answers")
        if self._api is not None:
            self._api.close()
        self._api = None
        return self

    def start(self, *options, **more):
        return self.spawn(*options, **more).ready()

    def refuses(self, *options, **more):
        """The node does not start, and says why: what it said."""
        before = len(self.said(None))
        self.spawn(*options, **more)
        code = self.ended()
        said = self.said(None)[before:]
        check(code > 0, f"{self.name}'s node ended with {code}:", said)
        check(said.strip(), "no sentence")
        return said

    def ended(self, timeout=WAIT_S):
        """Waits until the process is gone; its exit code."""
        try:
            code = self.process.wait(timeout * SLOW)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name}'s node does not end") from None
        self._forget()
        return code

    def _forget(self):
        self.lab.children.remove(self.process)
        self.process = None

    def kill(self):
        """kill -9."""
        self.process.kill()
        self.process.wait()
        self._forget()
        return self

    def stop(self):
        self.ok("stop")
        equal(self.ended(), 0, f"{self.name}'s node after stop")
        return self

    def alive(self):
        check(self.process.poll() is None, f"{self.name}'s node has ended")
        return self.ok("status")

    def said(self, most=3000):
        """What the node printed: the end of it, or all (None)."""
        try:
            with open(self.log, encoding="utf-8", errors="replace") as f:
                return f.read()[-most if most else 0:]
        except OSError:
            return ""

    # -- the API --

    @property
    def api(self):
        if self._api is None:
            self._api = Api(self.status["api"])
        return self._api

    def events(self, *topics):
        return Events(self.status["events"], topics)

    def told(self, n=0):
        """The durable events behind that number."""
        events = []
        while True:
            page = self.api.call("events.since", n=n)["events"]
            if not page:
                return events
            events += page
            n = page[-1]["n"]

    # -- what people do --

    def texts(self, name):
        """The texts of a conversation, as history shows them."""
        return [m["text"] for m in self.export(name)]

    def export(self, name):
        return [m for m in self.json("export", name) if m.get("kind") == "text"]

    def contact(self, name):
        return next((c for c in self.json("contacts") if c["name"] == name), None)


# ---- the laboratory ----


class Lab:
    """A temporary folder with homes; with `up`, networks of netlab."""

    def __init__(self):
        self.children, self.nodes, self.networks = [], [], False
        self.dir = tempfile.mkdtemp(prefix="linnet-e2e.")
        self.env = {k: v for k, v in os.environ.items()
                    if not k.startswith("XDG_") and k not in ("LINNET_HOME", "NO_COLOR")}
        self.env["HOME"] = self.dir
        # Not our pid, which is 1 in a process namespace.
        self.env["NETLAB_ID"] = self.dir.rpartition(".")[2]
        self.closed = False
        _labs.append(self)
        atexit.register(self.close)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.closed:
            return
        self.closed = True
        _labs.remove(self)
        for process in self.children:
            if process.poll() is None:
                process.kill()
        for process in self.children:
            process.wait()
        if self.networks:
            self.netlab("down")
        shutil.rmtree(self.dir, ignore_errors=True)

    def node(self, name, host=None, home=None, options=(), interfaces=None):
        """A home (not started). host: in a namespace of netlab, else on lo alone."""
        home = home or os.path.join(self.dir, f"{name}{len(self.nodes)}")
        prefix = []
        if host is not None:
            ns = self.netlab("ns", host).strip()
            prefix = ["ip", "netns", "exec", ns]
        node = Node(self, name, home, prefix, options)
        self.nodes.append(node)
        os.makedirs(home, mode=0o700, exist_ok=True)
        if interfaces is None and host is None:
            interfaces = "lo"
        if interfaces is not None and not os.path.exists(os.path.join(home, "config")):
            node.ok("config", "set", "interfaces", interfaces)
        return node

    def netlab(self, *args):
        run = subprocess.run([NETLAB, *map(str, args)], env=self.env, text=True,
                             stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
        check(run.returncode == 0, "netlab", *args, run.stderr, run.stdout)
        return run.stdout

    def up(self, *topology):
        self.networks = True
        self.netlab("up", *topology)
        return self

    def revive(self, running):
        """After a case that failed: what ran before it runs again, so that the next one
        does not fail for that alone."""
        for node in self.nodes:
            if node.process is not None and node.process.poll() is not None:
                node._forget()
            if node in running and node.process is None:
                with contextlib.suppress(AssertionError):
                    node.start()

    def show_logs(self):
        for node in self.nodes:
            for line in node.said().splitlines()[-15:]:
                print(f"# {node.name}: {line}", flush=True)


def namespaces(name, *tools):
    """Goes on in mount, network and process namespaces of its own, as root of a user
    namespace where we are not root. Skips the script where that is not permitted. What
    was mounted or started there ends with it."""
    for tool in ("unshare", "mount", *tools):
        if shutil.which(tool) is None:
            skip_all(name, f"{tool} is not installed")
    if os.environ.get(INSIDE):
        return
    flags = ["--mount", "--net", "--pid", "--fork", "--kill-child"]
    if os.geteuid() != 0:
        flags += ["--user", "--map-root-user"]
    # /etc/netns, too, so that nothing of netlab's stays behind when a test is killed.
    mounts = ("mount --make-rprivate / && mount -t proc proc /proc && "
              "mount -t tmpfs tmpfs /run && ip link set lo up && "
              "{ mkdir -p /etc/netns 2>&-; [ ! -d /etc/netns ] || "
              "mount -t tmpfs tmpfs /etc/netns; }")
    if "nft" in tools:  # netlab puts its hosts files there
        mounts += " && [ -d /etc/netns ]"
    if subprocess.run(["unshare", *flags, "sh", "-c", mounts], capture_output=True,
                      stdin=subprocess.DEVNULL, timeout=60).returncode != 0:
        skip_all(name, "namespaces are not permitted, or /etc/netns cannot be made")
    os.execvpe("unshare", ["unshare", *flags, "sh", "-c", mounts + ' && exec "$0" "$@"',
                           sys.executable, *sys.argv], {**os.environ, INSIDE: "1"})


def terminated(number, _frame):
    for lab in list(_labs):
        lab.close()
    os._exit(128 + number)


signal.signal(signal.SIGTERM, terminated)
signal.signal(signal.SIGINT, terminated)


# ---- what many tests need ----


def invite(node, *options):
    code = node.ok("invite", *options).lines
    equal(len(code), 1, "the code alone on stdout")
    return code[0]


def pair(a, b, timeout=WAIT_S):
    """b adds a by an invite."""
    code = invite(a)
    end = time.monotonic() + timeout * SLOW
    while True:
        result = b.run("add", code)
        if result.code == DONE:
            break
        check(result.code == NOBODY and time.monotonic() < end, result)
    equal(result.lines, [a.name], "what add prints")
    until(lambda: a.contact(b.name), f"{a.name} has {b.name}")


def delivered(a, to, text, timeout=WAIT_S):
    """Sends and waits for delivery."""
    return a.ok("send", to, text, "--wait", "delivered", "--timeout", f"{timeout}s",
                timeout=timeout + COMMAND_S)


def exactly_once(node, name, texts, *what):
    """The conversation holds these texts, each once, in this order (others between them
    do not matter)."""
    wanted = set(texts)
    got = [t for t in node.texts(name) if t in wanted]
    equal(got, list(texts), f"{node.name}'s history with {name}", *what)


def free_port():
    """A TCP port that nobody has, held until the socket is closed."""
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    return s, s.getsockname()[1]
