"""gRPC: one bidirectional stream through each peer, whose service sends back every message that it gets.

Both ends are grpcio, in processes of their own (`echo`). They take more CPU than what is between them, which is all that counts.
"""

import json
import subprocess
import urllib.request
from pathlib import Path

import wrk
from bed import free_ports

ECHO = Path(__file__).with_name("echo.py")
BYTES = 100
# On their way at once. Were it as many as the stream takes, who is slow would find many at a time, and each would be cheap.
AHEAD = 16
# It can't be told to end early.
OPENING_SECONDS = 1


class EchoService:
    """Takes the place of the service: who lacks the certificate, the token or the path gets no stream."""

    def __init__(self, lab, python):
        self.tls_port, self.status_port = free_ports(2)
        command = [python, ECHO, "service", lab.folder, str(self.tls_port), str(self.status_port), lab.token]
        self.process = lab.start("echo", command, self.status_port)

    def port(self, _task):
        return self.tls_port

    def so_far(self):
        """How many messages it has had, and connections accepted: grpcio does not tell of these, and there is one."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.status_port}/", timeout=60) as answer:
            return json.load(answer)["messages"], 0


class Running:
    """A client that sends whenever fewer messages than that are on their way."""

    def __init__(self, lab, load, peer, seconds):
        self.seconds = seconds
        command = [lab.python, ECHO, "client", str(peer.port), peer.path("echo"), str(seconds), str(BYTES),
                   str(AHEAD)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def finish(self):
        try:
            output, said = self.process.communicate(timeout=self.seconds + 30)
        finally:
            self.process.kill()
        if self.process.returncode != 0:
            # A stream that breaks off is the peer's doing.
            details = [line.strip() for line in said.splitlines() if "details = " in line] or said.splitlines()[-1:]
            return wrk.Answers(1, 0, 1, 1, 0, 0, said=details[0] if details else "")
        return wrk.Answers(**json.loads(output))
