"""What the benches stand on: a folder, certificates, an nginx, ports and processes, all of them gone when it closes."""

import contextlib
import datetime
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


class Bed(contextlib.ExitStack):
    """`name` is what a bench calls itself when it has to give up."""

    def __init__(self, name, start_seconds=20, stop_seconds=10):
        super().__init__()
        self.name, self.start_seconds, self.stop_seconds = name, start_seconds, stop_seconds
        # What stops the processes that are started: the bed itself, or a scene of it.
        self.stops = self
        self.folder = Path(self.enter_context(tempfile.TemporaryDirectory(prefix=f"sidekey-{name}-")))
        # nginx drops root: its workers have to read what is in here.
        self.folder.chmod(0o755)
        self.make_certificates()

    def make_certificates(self):
        """An authority, a certificate for the service, one for the clients."""
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
        """Starts a process, waits until its port is open, and stops it when the bed or the scene closes."""
        log = self.folder / f"{name}.output"
        with log.open("wb") as output:
            process = subprocess.Popen(command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                       env=os.environ | (environment or {}))
        self.stops.callback(stop, process, self.stop_seconds)
        until = time.monotonic() + self.start_seconds
        while not is_open(port):
            if process.poll() is not None or time.monotonic() > until:
                sys.exit(f"{self.name}: {name} does not start:\n{log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.02)
        return process

    def nginx(self, name, servers, workers=1, connections=16384, load_module=None):
        """Writes a config with these servers; returns the command that runs it."""
        user = "user root;" if os.geteuid() == 0 else ""
        module = f"load_module {load_module};" if load_module else ""
        temporary = "".join(f"{kind}_temp_path {self.folder}/{name}.{kind};\n"
                            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        config = self.write(f"{name}.conf", f"""
            {module}
            {user}
            daemon off;
            worker_processes {workers};
            pid {self.folder}/{name}.pid;
            error_log {self.folder}/{name}.log warn;
            events {{ worker_connections {connections}; }}
            http {{
                access_log off;
                # Who calls keeps its connections for as long as it likes.
                keepalive_requests 1000000000;
                keepalive_timeout 600s;
                map_hash_bucket_size 2048;
                {temporary}
                {servers}
            }}""")
        return ["nginx", "-c", config, "-p", self.folder, "-e", config.with_suffix(".log")]


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in sockets]


def is_open(port):
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def stop(process, seconds):
    """Lets it end by itself; it may have something to write."""
    process.terminate()
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def occasion():
    """When, and on which machine."""
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return {
        "taken": datetime.date.today().isoformat(),
        "machine": f"{os.cpu_count()} CPUs ({model[1] if model else platform.machine()}), {memory:.0f} GiB, "
                   "Linux " + re.match(r"[\d.]*\d", platform.release())[0],
    }


def build():
    """A release build, the plain one."""
    subprocess.run(["cargo", "build", "--release", "--locked", "--quiet"], cwd=ROOT, check=True)
    return TARGET / "release" / "sidekey"


def install(tools):
    """Installs, on Debian, the package of each program or file that is missing."""
    missing = [package for tool, package in tools.items() if not shutil.which(tool) and not Path(tool).exists()]
    if not missing:
        return
    root = [] if os.geteuid() == 0 else ["sudo"]
    with no_service_starts(root):
        for command in (["update"], ["install", "--yes", "--no-install-recommends", *missing]):
            apt = [*root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", *command]
            done = subprocess.run(apt, capture_output=True, text=True)
            if done.returncode != 0:
                sys.exit(f"can't be installed: {' '.join(missing)}\n{done.stdout}{done.stderr}")


@contextlib.contextmanager
def no_service_starts(root):
    """Debian starts a server that it installs; this file says no to that."""
    policy = Path("/usr/sbin/policy-rc.d")
    if policy.exists():
        yield
        return
    with tempfile.NamedTemporaryFile("w") as no:
        no.write("#!/bin/sh\nexit 101\n")
        no.flush()
        subprocess.run([*root, "install", "-m", "755", no.name, policy], check=True)
    try:
        yield
    finally:
        subprocess.run([*root, "rm", policy], check=True)
