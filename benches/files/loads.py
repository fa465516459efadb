"""What is done, by Sidekey for an app and by the program that people use without it."""

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import measure
from partners import PASSWORD, WORKERS

LONGEST_SECONDS = 300
SMALL_SECONDS = 10
# curl 7.88 waits for 0.2 s at least before the data of each file: all would take it minutes.
CURL_FTPS_FILES = 1000
# Per CPU second of the client, and per second.
CPU, RATE = "MB per CPU second", "files a second"


@dataclass(frozen=True)
class Load:
    name: str
    title: str
    # Whom Sidekey stands beside.
    beside: str
    # What is compared: more is better.
    unit: str
    # Each takes the partners, and comes to a figure.
    ours: callable
    theirs: callable
    # What Sidekey's figure shall be, of the other's.
    wanted: float | None
    # What of memory it may have at its highest; and above that before.
    most_mib: float = 64
    most_above_mib: float | None = None

    def round(self, partners, binary, number):
        """One run of each; the order is reversed each time, so that whatever else the machine does meets both."""
        def ours():
            return {"ours": self.by_sidekey(partners, binary)}

        def theirs():
            return {"theirs": self.theirs(partners)} if self.theirs else {}

        first, second = (ours, theirs) if number % 2 == 0 else (theirs, ours)
        return first() | second()

    def by_sidekey(self, partners, binary):
        """By one that has done nothing else, so that its peak of memory is of this."""
        with partners.scene():
            process = partners.start_sidekey(binary)
            before = status(process.pid, "VmRSS")
            cpu = measure.cpu_seconds([process.pid])
            figure = self.ours(partners, lambda: measure.cpu_seconds([process.pid]) - cpu)
            peak = status(process.pid, "VmHWM")
            return {"figure": figure, "peak_mib": peak, "above_mib": peak - before}


def status(pid, name):
    """In MiB; a field of `/proc/PID/status`."""
    return int(re.search(rf"^{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.M)[1]) / 1024


def ask(partners, *arguments):
    """An app's request by curl; the number of bytes that came."""
    done = subprocess.run(["curl", "-sSf", "-o", "/dev/null", "-w", "%{size_download}", *map(str, arguments)],
                          cwd=partners.folder, capture_output=True, text=True, timeout=LONGEST_SECONDS)
    if done.returncode != 0:
        sys.exit(f"files: curl {' '.join(map(str, arguments))}: {done.stderr}{partners.read('sidekey.output')[-2000:]}")
    return int(done.stdout)


def expect(what, found, wanted):
    if found != wanted:
        sys.exit(f"files: {what} has {found:,} of {wanted:,} bytes")


def get(service):
    def ours(partners, cpu):
        expect("what came", ask(partners, partners.url(service, "/big")), partners.bytes)
        return partners.bytes / 1e6 / cpu()

    return ours


def put(service):
    def ours(partners, cpu):
        ask(partners, "-T", partners.root / "big", partners.url(service, "/put"))
        spent = cpu()
        return put_figure(partners, spent)

    return ours


def transform(service, name):
    def ours(partners, cpu):
        # Without `Expect` the answer may begin before the body has ended.
        came = ask(partners, "-X", "POST", "-H", "Expect:", "-T", partners.folder / name, partners.url(service))
        if came < partners.bytes:
            expect("what came", came, partners.bytes)
        return partners.bytes / 1e6 / cpu()

    return ours


def put_figure(partners, spent):
    expect("what was put", (partners.root / "put").stat().st_size, partners.bytes)
    if subprocess.run(["cmp", "-s", "big", "put"], cwd=partners.root, timeout=LONGEST_SECONDS).returncode != 0:
        sys.exit("files: what was put is not what was sent")
    partners.remove("put")
    return partners.bytes / 1e6 / spent


def spent_by(partners, command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL):
    """CPU seconds of a program and of those that it waits for: `sftp` has an `ssh`."""
    with open(partners.folder / "program.errors", "w+") as errors:
        process = subprocess.Popen([str(part) for part in command], cwd=partners.folder, stdin=stdin, stdout=stdout,
                                   stderr=errors)
        until = time.monotonic() + LONGEST_SECONDS
        while True:
            ended, how, usage = os.wait4(process.pid, os.WNOHANG)
            if ended:
                break
            if time.monotonic() > until:
                process.kill()
            time.sleep(0.01)
        process.returncode = os.waitstatus_to_exitcode(how)
        if process.returncode != 0:
            errors.seek(0)
            sys.exit(f"files: {command[0]} fails: {errors.read()[-2000:]}")
    return usage.ru_utime + usage.ru_stime


def sftp(partners, commands):
    batch = partners.write("batch", commands)
    return spent_by(partners, [
        "sftp", "-q", "-b", batch, "-i", "key", "-o", "UserKnownHostsFile=known_hosts", "-o", "IdentitiesOnly=yes",
        "-P", partners.ssh_port, f"{partners.username}@127.0.0.1"])


def sftp_get(partners):
    return partners.bytes / 1e6 / sftp(partners, f"get {partners.root}/big /dev/null\n")


def sftp_put(partners):
    return put_figure(partners, sftp(partners, f"put {partners.root}/big {partners.root}/put\n"))


def curl_ftps(partners, *arguments):
    return spent_by(partners, ["curl", "-sSf", *FTP_LOGIN, *arguments])


def curl_get(partners):
    return partners.bytes / 1e6 / curl_ftps(partners, f"{by_ftps(partners)}/big", "-o", "/dev/null")


def curl_put(partners):
    source = partners.root / "big"
    return put_figure(partners, curl_ftps(partners, "-T", source, f"{by_ftps(partners)}/put"))


def gpg(name, *arguments):
    """From a pipe to a pipe, as Sidekey gets the bytes from one side and gives them to the other."""
    def theirs(partners):
        with (
            subprocess.Popen(["cat", name], cwd=partners.folder, stdout=subprocess.PIPE) as feed,
            subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as drain,
        ):
            command = ["gpg", "--homedir", "gpg", "--batch", "--quiet", *arguments]
            return partners.bytes / 1e6 / spent_by(partners, command, feed.stdout, drain.stdin)

    return theirs


def small(service):
    """wrk asks for one after the other over 32 connections: it takes the least of the machine's time for that."""
    def ours(partners, _cpu):
        script = partners.write("small.lua", f"""
            local requests, turn = {{}}, 0
            function init()
                for number = 0, {partners.files - 1} do
                    requests[number + 1] = wrk.format(nil, string.format("/{service}/small/statement-%06d.csv", number))
                end
            end
            function request()
                turn = turn % #requests + 1
                return requests[turn]
            end
            function done(summary)
                local e = summary.errors
                io.write(string.format("\\n%d %d %d %d\\n", summary.requests, summary.bytes, summary.duration,
                    e.connect + e.read + e.write + e.status + e.timeout))
            end
            """)
        done = subprocess.run(
            ["wrk", "--threads", "1", "--connections", str(WORKERS), "--duration", f"{SMALL_SECONDS}s", "--timeout", "30s",
             "--script", script, partners.url(service)], capture_output=True, text=True, timeout=LONGEST_SECONDS)
        if done.returncode != 0:
            sys.exit(f"files: wrk fails: {done.stdout}{done.stderr}")
        requests, size, micros, errors = map(int, done.stdout.splitlines()[-1].split())
        if errors or size < requests * 1024:
            sys.exit(f"files: {errors} of {requests} answers were wrong: {partners.read('sidekey.output')[-2000:]}")
        return requests / micros * 1e6

    return ours


def small_by_curls(address, *login, most=None):
    """As many curls as Sidekey has app connections, each with its part of the files and a connection that it keeps."""
    def theirs(partners):
        commands, count = [], min(partners.files, most or partners.files)
        for worker in range(WORKERS):
            mine = range(worker, count, WORKERS)
            lines = "".join(f'url = "{address(partners)}/small/statement-{number:06}.csv"\noutput = "/dev/null"\n'
                            for number in mine)
            commands.append(["curl", "-sSf", "--max-time", str(LONGEST_SECONDS), *login, "-K",
                             partners.write(f"curl-{worker}", lines)])
        began = time.monotonic()
        curls = [subprocess.Popen(command, cwd=partners.folder, stderr=subprocess.DEVNULL) for command in commands]
        failed = [curl.wait() for curl in curls]
        took = time.monotonic() - began
        if any(failed):
            sys.exit(f"files: a curl fails: {failed}")
        return count / took

    return theirs


def by_sftp(partners):
    return f"sftp://{partners.username}@127.0.0.1:{partners.ssh_port}{partners.root}"


def by_ftps(partners):
    # Without the second slash it would be below the folder in which a login begins.
    return f"ftp://127.0.0.1:{partners.ftp_port}/{partners.root}"


def listing(service):
    """How much memory it takes is all that is asked."""
    def ours(partners, cpu):
        came = ask(partners, partners.url(service, "/many/"))
        if came < partners.names * 20:
            expect("the listing", came, partners.names * 20)
        return partners.names / cpu()

    return ours


GPG_ENCRYPT = ["--compress-level", "0", "--trust-model", "always", "--recipient", "own@example.org", "--encrypt"]
FTP_LOGIN = ["--ssl-reqd", "--cacert", "ftp.pem", "--user", f"ftp:{PASSWORD}"]
SSH_KEY = ["--key", "key", "--pubkey", "key.pub", "--insecure"]
LOADS = [
    Load("sftp-get", "GET by SFTP", "sftp", CPU, get("sftp"), sftp_get, 0.9),
    Load("sftp-put", "PUT by SFTP", "sftp", CPU, put("sftp"), sftp_put, 0.9),
    Load("ftps-get", "GET by FTPS", "curl", CPU, get("ftps"), curl_get, 0.9),
    Load("ftps-put", "PUT by FTPS", "curl", CPU, put("ftps"), curl_put, 0.9),
    Load("encrypt", "encrypting", "gpg", CPU, transform("seal", "root/big"), gpg("root/big", *GPG_ENCRYPT), 1.5),
    Load("decrypt", "decrypting", "gpg", CPU, transform("open", "sealed"), gpg("sealed", "--decrypt"), 1.5),
    Load("small-sftp", "GET of small files by SFTP, 32 connections", "curl", RATE, small("sftp"),
         small_by_curls(by_sftp, *SSH_KEY), 1.5),
    Load("small-ftps", "GET of small files by FTPS, 32 connections", "curl", RATE, small("ftps"),
         small_by_curls(by_ftps, *FTP_LOGIN, most=CURL_FTPS_FILES), 1.5),
    Load("list-sftp", "a long listing by SFTP", "", "names per CPU second", listing("sftp"), None, None,
         most_above_mib=16),
    Load("list-ftps", "a long listing by FTPS", "", "names per CPU second", listing("ftps"), None, None,
         most_above_mib=16),
]
