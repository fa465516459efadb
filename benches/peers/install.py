"""Finds or installs what takes part, and says what it was and on which machine."""

import filecmp
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import bed
import haproxy
import nginx
import pingora
from caddy import Caddy
from envoy import Envoy
from sidekey import Sidekey

# By the name to choose it by: what the tables call it.
PEERS = {
    "nginx": "nginx",
    "haproxy": "HAProxy",
    "envoy": "Envoy",
    "envoy-oauth": "Envoy (OAuth)",
    "caddy": "Caddy",
    "pingora": "Pingora",
    "sidekey": "Sidekey",
    "sidekey-oauth": "Sidekey (OAuth)",
    "sidekey-pgo": "Sidekey (PGO)",
    "sidekey-before": "Sidekey (before)",
}
# Program or file, and the package of Debian that has it.
TOOLS = {"openssl": "openssl", "wrk": "wrk", "h2load": "nghttp2-client", "strace": "strace", "nginx": "nginx-light",
         nginx.ECHO: "libnginx-mod-http-echo"}
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
# Git ignores it, and `cargo clean` empties it.
FOLDER = bed.TARGET / "peers"


def peers(arguments):
    """By name, what configures each; whatever is missing has been installed or built."""
    bed.install(TOOLS)
    sidekeys = Sidekeys(arguments)
    return {name: peer(name, sidekeys) for name in arguments.peers}


def peer(name, sidekeys):
    match name:
        case "nginx":
            return nginx
        case "haproxy":
            bed.install({"haproxy": "haproxy"})
            return haproxy
        case "envoy" | "envoy-oauth":
            return Envoy(wheels("lib/*/site-packages/envoy/_bin/envoy"), oauth=name == "envoy-oauth")
        case "caddy":
            return Caddy(wheels("bin/caddy"))
        case "pingora":
            # For a library of compression that it is always built with.
            bed.install({"cmake": "cmake", "cc": "gcc"})
            return pingora.Pingora(pingora.build(FOLDER / "pingora"))
        case _:
            return sidekeys.peer(name)


class Sidekeys:
    """Builds the release once, and only if it takes part."""

    def __init__(self, arguments):
        self.binary = arguments.binary
        self.given = {"sidekey-pgo": arguments.pgo_binary, "sidekey-before": arguments.before}

    def peer(self, name):
        if name in self.given:
            return Sidekey(self.given[name].resolve())
        self.binary = (self.binary or bed.build()).resolve()
        return Sidekey(self.binary, oauth=name == "sidekey-oauth")


def wheels(pattern):
    """The file that was installed at `pattern`, by hash, in a Python environment of its own."""
    folder = FOLDER / "wheels"
    installed = folder / "installed.txt"
    if not (installed.exists() and filecmp.cmp(installed, REQUIREMENTS, shallow=False)):
        bed.install({"ensurepip": "python3-venv"} if not has_pip() else {})
        venv.create(folder, clear=True, with_pip=True)
        run(folder / "bin" / "python3", "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
            "--only-binary", ":all:", "--require-hashes", "--requirement", REQUIREMENTS)
        shutil.copy(REQUIREMENTS, installed)
    return next(folder.glob(pattern))


def python():
    """The Python that has grpcio."""
    return wheels("bin/python3")


def has_pip():
    return subprocess.run([sys.executable, "-c", "import ensurepip"], capture_output=True).returncode == 0


def run(*command):
    subprocess.run(command, check=True)


def circumstances(kinds):
    """When, where and with what."""
    return bed.occasion() | {"versions": {name: version(kind.version()) for name, kind in kinds.items()}}


def version(command):
    """The first number with dots in what the program says of itself."""
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    return re.search(r"\d+\.\d+\.\d+", said.stdout + said.stderr)[0]
