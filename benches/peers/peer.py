"""One peer at work: its process, what is asked of it, and whether its answers are right."""

import contextlib
import socket
import sys
import time

import measure
import service as services
from bed import free_ports

TOKEN_SECONDS = 10


class Peer:
    def __init__(self, name, kind, task, lab, service, tokens, asked=True):
        self.name, self.task, [self.port] = name, task, free_ports(1)
        command, environment = kind.configure(lab, task, self.port, service, tokens)
        self.process = lab.start(f"{name}-{self.port}", command, self.port, environment)
        if asked:
            self.check()

    def url(self, name):
        return f"http://127.0.0.1:{self.port}{self.path(name)}"

    def path(self, name):
        return f"{self.task.prefix()}/{name}"

    def paths(self, name):
        """That under every route."""
        return [f"{prefix}/{name}" for prefix, _ in self.task.prefixes()]

    def pids(self):
        return measure.tree(self.process.pid)

    def cpu_seconds(self):
        return measure.cpu_seconds(self.pids())

    def pss_kib(self):
        return measure.pss_kib(self.pids())

    def check(self):
        """Every route by hand: the service answers only if all was done right, and says what the handshake was."""
        self.await_token()
        with self.connect() as connection:
            for path in self.paths("orders"):
                ask(connection, self.request(path))
        _, body = self.answer("seen")
        *seen, resumed = body.decode().split()
        wanted = ["TLSv1.3", services.CIPHER, "HTTP/2.0" if self.task.protocol == "2" else "HTTP/1.1", services.GROUP]
        if seen != wanted:
            sys.exit(f"peers: {self.name} has {seen} with the service, not {wanted}")
        if self.task.upstream != "kept" and (resumed == "r") != (self.task.upstream == "resumed"):
            sys.exit(f"peers: {self.name} does not make its handshakes as asked: {self.task.upstream}")

    def await_token(self):
        """Envoy's first may still be on its way, and a request without one fails."""
        until = time.monotonic() + TOKEN_SECONDS
        while time.monotonic() < until:
            with contextlib.suppress(WrongAnswer):
                return self.answer("orders")
            time.sleep(0.05)
        sys.exit(f"peers: {self.name} gives a wrong answer: {self.process.args}")

    def answer(self, name, **request):
        """The head and body of one answer, on a connection of its own."""
        with self.connect() as connection:
            return ask(connection, self.request(self.path(name), **request))

    def request(self, path, upload=0, close=False):
        """As wrk would write it."""
        method = "POST" if upload else "GET"
        fields = f"Host: 127.0.0.1:{self.port}\r\n"
        fields += f"Content-Length: {upload}\r\n" if upload else ""
        fields += "Connection: close\r\n" if close else ""
        return f"{method} {path} HTTP/1.1\r\n{fields}\r\n".encode() + b"x" * upload

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)


class WrongAnswer(Exception):
    """Not a 200, or not a whole one."""


def ask(connection, request):
    connection.sendall(request)
    return read(connection)


def read(connection):
    """The head and body of an answer; chunks are counted into the body as they are."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += more(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise WrongAnswer(head.split(b"\r\n")[0].decode("latin-1"))
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
    parts, size = [body], len(body)
    length = int(fields.get(b"content-length", -1))
    while size < length or (length < 0 and not parts[-1].endswith(b"0\r\n\r\n")):
        parts.append(more(connection))
        size += len(parts[-1])
    return head + b"\r\n\r\n", b"".join(parts)


def more(connection):
    data = connection.recv(65536)
    if not data:
        raise WrongAnswer("the connection ended before the answer did")
    return data
