"""Pingora: the least proxy that can be written with it, `benches/pingora`."""

import subprocess
from pathlib import Path

from task import Unsupported

PACKAGE = Path(__file__).resolve().parents[1] / "pingora"


def build(target):
    subprocess.run(["cargo", "build", "--release", "--locked", "--quiet", "--target-dir", target], cwd=PACKAGE,
                   check=True)
    return target / "release" / "pingora-peer"


class Pingora:
    def __init__(self, binary):
        self.binary = binary

    def configure(self, lab, task, port, service, _tokens):
        if task.routes > 1:
            raise Unsupported("a library: routes would be our own code")
        if task.incoming != "1.1":
            raise Unsupported("made without HTTP/2 from apps here")
        if task.upstream == "resumed":
            # It makes a TLS configuration anew, and with it an empty store of sessions, for every handshake.
            raise Unsupported("never resumes with a client certificate")
        settings = {
            "threads": task.workers, "listen": f"127.0.0.1:{port}", "service": f"127.0.0.1:{service.port(task)}",
            "authority": f"localhost:{service.port(task)}", "protocol": task.protocol,
            "pool": task.pool, "token": lab.token, "ca": f"{lab.folder}/ca.pem",
            "certificate": f"{lab.folder}/client.der", "key": f"{lab.folder}/client.key.der",
        }
        config = lab.write(f"pingora-{port}.settings", "".join(f"{name}={value}\n" for name, value in settings.items()))
        return [self.binary, config], {}

    def version(self):
        """The crate's, from the lock file."""
        return ["cargo", "tree", "--manifest-path", PACKAGE / "Cargo.toml", "--locked", "--depth", "1", "--package",
                "pingora", "--prefix", "none"]
