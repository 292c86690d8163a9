"""Commands that follow a node, `recv -f` and `events`, whose lines are kept."""
import json
import signal
import subprocess
import threading

from harness import SLOW, WAIT_S, check, delivered, until


class Follower:
    """`linnet ... recv -f` or `events` whose lines are kept."""

    def __init__(self, node, *args, json_lines=True, start="--no-start"):
        self.node = node
        self.process = node.popen(*([start] if start else []), *(["--json"] if json_lines else []),
                                  *args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE)
        self.lines, self.said, self.json_lines = [], [], json_lines
        self.changed = threading.Condition()
        self.threads = [threading.Thread(target=self.read, args=pipe, daemon=True) for pipe in
                        ((self.process.stdout, self.lines), (self.process.stderr, self.said))]
        for thread in self.threads:
            thread.start()

    def read(self, pipe, lines):
        for line in pipe:
            with self.changed:
                text = line.decode().rstrip("\n")
                lines.append(json.loads(text) if lines is self.lines and self.json_lines
                             else text)
                self.changed.notify_all()

    def wait(self, condition, *what, timeout=WAIT_S):
        """Until condition(lines) is true."""
        with self.changed:
            check(self.changed.wait_for(lambda: condition(self.lines), timeout * SLOW), *what,
                  "not within", timeout, "s:", self.lines[-3:], self.said[-3:])

    def texts(self):
        return [m["text"] for m in self.lines if m.get("kind") == "text"]

    def hears(self, words, timeout=WAIT_S):
        with self.changed:
            check(self.changed.wait_for(lambda: any(words in s for s in self.said),
                                        timeout * SLOW), "did not say", words, self.said)

    def end(self):
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(WAIT_S * SLOW)
        for thread in self.threads:
            thread.join()
        self.node.lab.children.remove(self.process)
        return code


def follows(follower, sender, to):
    """Waits until the follower is there: what is said now reaches it."""
    n = 0

    def there():
        nonlocal n
        n += 1
        delivered(sender, to, f"are you there? {n}")
        with follower.changed:
            return follower.changed.wait_for(lambda: follower.lines, 0.2)

    until(there, "it follows")
