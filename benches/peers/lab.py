"""The bench's own ground: a folder, certificates, ports and processes, all of them gone when it closes."""

import contextlib
import os
import resource
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

START_SECONDS = 20


class Lab(contextlib.ExitStack):
    def __init__(self):
        super().__init__()
        # What stops the processes that are started: the lab itself, or a scene of it.
        self.stops = self
        self.folder = Path(self.enter_context(tempfile.TemporaryDirectory(prefix="sidekey-peers-")))
        # nginx drops root: its workers have to read what is in here.
        self.folder.chmod(0o755)
        # 800 bytes, as long as a JWT with a handful of claims.
        self.token = secrets.token_hex(400)
        allow_many_files()
        self.make_certificates()

    def make_certificates(self):
        """An authority, a certificate for the service, one for the clients; the key again as DER and next to its chain."""
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        self.openssl("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2",
                     "-subj", "/CN=bench CA", "-addext", "basicConstraints=critical,CA:TRUE",
                     "-addext", "keyUsage=critical,keyCertSign")
        for name, use in (("service", "serverAuth"), ("client", "clientAuth")):
            self.write(f"{name}.ext", f"subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage={use}\n"
                                      "basicConstraints=CA:FALSE\n")
            self.openssl("req", *curve, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
            self.openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                         "-days", "2", "-extfile", f"{name}.ext", "-out", f"{name}.pem")
            # Read by whoever runs the peers; the folder is gone soon.
            (self.folder / f"{name}.key").chmod(0o644)
        self.openssl("x509", "-in", "client.pem", "-outform", "DER", "-out", "client.der")
        self.openssl("pkcs8", "-topk8", "-nocrypt", "-in", "client.key", "-outform", "DER", "-out", "client.key.der")
        self.write("client.both.pem", self.read("client.pem") + self.read("client.key"))

    def openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return path

    def read(self, name):
        return (self.folder / name).read_text()

    @contextlib.contextmanager
    def scene(self):
        """What is started within is stopped at its end."""
        try:
            with contextlib.ExitStack() as self.stops:
                yield
        finally:
            self.stops = self

    def start(self, name, command, port, environment=None):
        """Starts a process, waits until its port is open, and stops it when the lab or the scene closes."""
        log = self.folder / f"{name}.output"
        with log.open("wb") as output:
            process = subprocess.Popen(command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                       env=os.environ | (environment or {}))
        self.stops.callback(stop, process)
        until = time.monotonic() + START_SECONDS
        while not is_open(port):
            if process.poll() is not None or time.monotonic() > until:
                sys.exit(f"peers: {name} does not start:\n{log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.02)
        return process


def allow_many_files():
    """Thousands of connections here and in every process that is started, which inherits the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def is_open(port):
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def stop(process):
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
