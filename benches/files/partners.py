"""Who is on the other side: OpenSSH's server, vsftpd, and somebody with an OpenPGP key; and Sidekey before them."""

import getpass
import os
import re
import subprocess
from pathlib import Path

import bed

VSFTPD = bed.TARGET / "files" / "debian"
TOOLS = {"openssl": "openssl", "curl": "curl", "gpg": "gnupg", "wrk": "wrk", "sftp": "openssh-client",
         "/usr/sbin/sshd": "openssh-server", "strip": "binutils"}
PASSWORD = "not so secret"
WORKERS = 32


def install():
    bed.install(TOOLS)
    program = VSFTPD / "usr/sbin/vsftpd"
    if not program.exists():
        # Installed, it would push out whichever FTP server is there.
        VSFTPD.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", "vsftpd"], cwd=VSFTPD, check=True, capture_output=True, timeout=120)
        subprocess.run(["dpkg-deb", "-x", next(VSFTPD.glob("vsftpd_*.deb")), VSFTPD], check=True)


def versions(sidekey):
    """vsftpd says its own on what should be its standard input."""
    said = {
        "Sidekey": [sidekey, "--version"], "OpenSSH": ["ssh", "-V"], "curl": ["curl", "--version"],
        "gpg": ["gpg", "--version"], "vsftpd": ["sh", "-c", f"exec {VSFTPD}/usr/sbin/vsftpd -v 0>&1"],
    }
    return {name: first_number(command) for name, command in said.items()}


def first_number(command):
    said = subprocess.run(command, capture_output=True, text=True, timeout=20)
    return re.search(r"\d+\.\d+(\.\d+)?", said.stdout + said.stderr)[0]


class Partners(bed.Bed):
    """Both servers show the same folder: `big`, `small/`, `many/`; and what is put there."""

    def __init__(self, arguments):
        super().__init__("files")
        self.mib, self.files, self.names = arguments.mib, arguments.files, arguments.names
        self.bytes = self.mib * 2**20
        self.root = self.folder / "root"
        self.root.mkdir()
        self.fill()
        self.ssh_port, self.ftp_port, self.sidekey_port = bed.free_ports(3)
        self.start_sshd()
        self.start_vsftpd()
        self.make_keys()

    def fill(self):
        with open("/dev/urandom", "rb") as random, open(self.root / "big", "wb") as big:
            for _ in range(self.mib):
                big.write(random.read(2**20))
        for name, count, size in (("small", self.files, 1024), ("many", self.names, 0)):
            (self.root / name).mkdir()
            for number in range(count):
                (self.root / name / f"statement-{number:06}.csv").write_bytes(b"x" * size)

    def start_sshd(self):
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        for name in ("host", "key"):
            self.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", name)
        self.write("known_hosts", f"[127.0.0.1]:{self.ssh_port} {self.read('host.pub')}")
        self.username = getpass.getuser()
        # The crowd of curls comes at once.
        config = self.write("sshd.conf", f"""
            Port {self.ssh_port}
            ListenAddress 127.0.0.1
            HostKey {self.folder}/host
            AuthorizedKeysFile {self.folder}/key.pub
            PidFile none
            StrictModes no
            UsePAM no
            PermitRootLogin yes
            PasswordAuthentication no
            MaxStartups {WORKERS * 4}
            Subsystem sftp internal-sftp
            """)
        self.start("sshd", ["/usr/sbin/sshd", "-D", "-e", "-f", config], self.ssh_port)

    def start_vsftpd(self):
        """Guests are let in, who here have a password: other users would have to be this machine's."""
        # It shows no key but RSA's in TLS 1.2.
        self.openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ftp.key", "-out", "ftp.pem", "-days", "2",
                     "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
        (self.folder / "empty").mkdir()
        config = self.write("vsftpd.conf", "\n".join([
            "listen=YES", "background=NO", "run_as_launching_user=YES", "listen_address=127.0.0.1",
            f"listen_port={self.ftp_port}", "anonymous_enable=YES", "local_enable=NO", f"ftp_username={self.username}",
            f"anon_root={self.root}", "secure_email_list_enable=YES",
            f"email_password_file={self.write('passwords', PASSWORD + chr(10))}", "write_enable=YES",
            "anon_upload_enable=YES", "anon_other_write_enable=YES", "anon_world_readable_only=NO", "anon_umask=022",
            "allow_writeable_chroot=YES", "seccomp_sandbox=NO", "xferlog_enable=NO", "ssl_enable=YES",
            "allow_anon_ssl=YES", "force_anon_logins_ssl=YES", "force_anon_data_ssl=YES",
            f"rsa_cert_file={self.folder}/ftp.pem", f"rsa_private_key_file={self.folder}/ftp.key", "ssl_tlsv1=YES",
            f"secure_chroot_dir={self.folder}/empty", ""]))
        self.start("vsftpd", [VSFTPD / "usr/sbin/vsftpd", config], self.ftp_port)

    def make_keys(self):
        """gpg's, and a message that it has made."""
        home = self.folder / "gpg"
        home.mkdir(mode=0o700)
        # Its agent outlives it.
        self.callback(subprocess.run, ["gpgconf", "--homedir", home, "--kill", "all"], timeout=20)
        self.gpg("--passphrase", "", "--quick-gen-key", "own@example.org", "future-default", "default", "0")
        self.gpg("--armor", "--output", "own.asc", "--export")
        self.gpg("--armor", "--output", "own.key", "--export-secret-keys")
        (self.folder / "own.key").chmod(0o600)
        self.gpg("--compress-level", "0", "--trust-model", "always", "--recipient", "own@example.org", "--output", "sealed",
                 "--encrypt", self.root / "big")

    def gpg(self, *arguments):
        self.run("gpg", "--homedir", self.folder / "gpg", "--batch", "--yes", "--quiet", *arguments)

    def run(self, *command):
        subprocess.run(command, cwd=self.folder, check=True, capture_output=True, timeout=300)

    def start_sidekey(self, binary):
        fingerprint = subprocess.run(["ssh-keygen", "-lf", "host.pub"], cwd=self.folder, check=True, capture_output=True,
                                     text=True).stdout.split()[1]
        config = self.write("sidekey.yaml", f"""
listen: 127.0.0.1:{self.sidekey_port}
admin: off
log: {{ level: warn, access: off }}
services:
  sftp:
    url: sftp://127.0.0.1:{self.ssh_port}{self.root}
    auth: {{ type: sftp, username: {self.username}, private_key: key, host_key: "{fingerprint}" }}
  ftps:
    url: ftp://localhost:{self.ftp_port}{self.root}
    auth: {{ type: ftp, username: ftp, password: {{ file: password }} }}
    tls: {{ ca: ftp.pem }}
  seal: {{ url: "openpgp:", auth: {{ type: gpg_encrypt, recipients: own.asc }} }}
  open: {{ url: "openpgp:", auth: {{ type: gpg_decrypt, private_key: own.key }} }}
""")
        self.write("password", PASSWORD).chmod(0o600)
        return self.start("sidekey", [binary, "run", "--config", config], self.sidekey_port)

    def url(self, service, path=""):
        return f"http://127.0.0.1:{self.sidekey_port}/{service}{path}"

    def remove(self, name):
        (self.root / name).unlink(missing_ok=True)

