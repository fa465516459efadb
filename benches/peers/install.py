"""Finds or installs what takes part, and says what it was and on which machine."""

import datetime
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

import haproxy
import nginx
import sidekey

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
PEERS = ("nginx", "haproxy", "sidekey", "sidekey-oauth", "sidekey-pgo")
# Program (or file) and the package of Debian that has it.
TOOLS = {
    "openssl": "openssl", "wrk": "wrk", "strace": "strace", "nginx": "nginx-light", "haproxy": "haproxy",
    nginx.ECHO: "libnginx-mod-http-echo",
}


def peers(arguments):
    """By name: what knows how to configure each."""
    install_packages()
    kinds = {}
    for name in arguments.peers:
        if name == "sidekey-pgo" and not arguments.pgo_binary:
            continue
        kinds[name] = kind(name, arguments)
    return kinds


def kind(name, arguments):
    match name:
        case "nginx":
            return nginx
        case "haproxy":
            return haproxy
        case "sidekey-pgo":
            return sidekey.Sidekey(arguments.pgo_binary.resolve())
        case "sidekey" | "sidekey-oauth":
            arguments.binary = (arguments.binary or sidekey.build()).resolve()
            return sidekey.Sidekey(arguments.binary, oauth=name == "sidekey-oauth")


def install_packages():
    missing = [package for program, package in TOOLS.items() if not shutil.which(program) and not Path(program).exists()]
    if not missing:
        return
    root = [] if os.geteuid() == 0 else ["sudo"]
    # Debian starts a service that it installs, unless this file says no.
    policy = Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:
        subprocess.run([*root, "install", "-m", "755", "/bin/false", policy], check=True)
    try:
        subprocess.run([*root, "apt-get", "update", "-qq"], check=True)
        subprocess.run([*root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-qq", "--yes",
                        "--no-install-recommends", *missing], check=True)
    finally:
        if ours:
            subprocess.run([*root, "rm", policy], check=True)


def circumstances(kinds):
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return {
        "taken": datetime.date.today().isoformat(),
        "machine": f"{os.cpu_count()} CPUs ({model[1] if model else platform.machine()}), {memory:.0f} GiB, "
                   f"Linux {platform.release()}",
        "versions": {name: version(kind.version()) for name, kind in kinds.items()},
    }


def version(command):
    """The first line of what the program says of itself, without what follows the number."""
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    line = (said.stdout + said.stderr).strip().splitlines()[0]
    return re.sub(r"^.*?(\d+\.\d+(\.\d+)?).*$", r"\1", line)
