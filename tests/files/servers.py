"""One file server as others write it: `servers.py FOLDER KIND PORT [FIRST LAST]`, the ports that FTP offers for data.

FOLDER has `tls/files.pem` and `tls/files.key` and becomes the server's own: what it serves is in `FOLDER/KIND/root`, the key
that it lets in is `FOLDER/KIND/acme`. Says on one line of JSON, once it listens, what a client has to know: `root`,
`base` (where in the server's paths that is), `username`, `password`, `host_key` (SHA256:...), its `version`, and `pid`. Stops it when
its standard input ends.
"""

import getpass
import json
import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "client"))

import programs  # noqa: E402

folder, kind, port, data_ports = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4:]
tls, own = folder / "tls", folder / kind
root = own / "root"
root.mkdir(parents=True)
os.chdir(own)

# What can not be installed beside another FTP server of Debian's is unpacked there.
unpacked = HERE.parent / ".bed/debian/usr"
USERNAME, PASSWORD = "acme", "secret-of-acme"


def write(name, text, mode=0o600):
    path = own / name
    path.write_text(text)
    path.chmod(mode)
    return path


def run(*command, text=None):
    done = subprocess.run([str(part) for part in command], input=text, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def ssh_key(name, *options):
    run("ssh-keygen", "-q", *options, "-N", "", "-C", "", "-f", own / name)
    return own / name


def fingerprint(public):
    return run("ssh-keygen", "-lf", public).split(" ")[1]


def let_in():
    """The key of who is let in, as OpenSSH lists it."""
    key = ssh_key("acme", "-t", "ed25519")
    return write("authorized", key.with_suffix(".pub").read_text())


def users(hashed):
    """As in /etc/passwd, for the files to be ours."""
    return f"{USERNAME}:{hashed}:{os.getuid()}:{os.getgid()}::{root}:/bin/sh\n"


def openssh(way):
    """By key alone: a password would have to be one of this machine's. May do without a part of the protocol."""
    without = {"norename": " -P posix-rename,rename", "noreplace": " -P posix-rename", "readonly": " -R"}.get(way, "")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    kinds = ("ed25519", "ecdsa", "rsa") if way == "keys" else ("ed25519",)
    hosts = [ssh_key(f"host-{each}", "-t", each) for each in kinds]
    config = write("sshd.conf", f"""
Port {port}
ListenAddress 127.0.0.1
{chr(10).join(f"HostKey {host}" for host in hosts)}
AuthorizedKeysFile {let_in()}
PidFile none
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
Subsystem sftp internal-sftp{without}
""")
    return ["/usr/sbin/sshd", "-D", "-e", "-f", config], {
        "base": str(root), "username": getpass.getuser(), "password": "",
        "host_key": " ".join(fingerprint(f"{host}.pub") for host in hosts), "version": ["/usr/sbin/sshd", "-V"],
    }


def asyncssh(_):
    host = ssh_key("host", "-t", "ed25519")
    return [sys.executable, HERE / "asyncssh_server.py", port, host, let_in(), USERNAME, PASSWORD], {
        "base": str(root), "host_key": fingerprint(f"{host}.pub"), "version": python_version("asyncssh"),
    }


def paramiko(_):
    host = ssh_key("host", "-t", "ed25519")
    return [sys.executable, HERE / "paramiko_server.py", port, root, host, let_in(), USERNAME, PASSWORD], {
        "base": "", "host_key": fingerprint(f"{host}.pub"), "version": python_version("paramiko"),
    }


def dropbear(_):
    """It knows the users of this machine alone: it gets a list of its own, in the place where it looks for that."""
    host = own / "host"
    run("dropbearkey", "-t", "rsa", "-s", "2048", "-f", host)
    public = next(line for line in run("dropbearkey", "-y", "-f", host).splitlines() if line.startswith("ssh-"))
    (own / ".ssh").mkdir(mode=0o700)
    let_in().rename(own / ".ssh/authorized_keys")
    hashed = run("openssl", "passwd", "-6", PASSWORD)
    list_ = write("passwd", users(hashed).replace(f":{root}:", f":{own}:"), 0o644)
    server = f"mount --bind {list_} /etc/passwd && exec dropbear -F -E -r {host} -p 127.0.0.1:{port} -P {own}/pid"
    return ["unshare", "--mount", *as_root(), "sh", "-c", server], {
        "base": str(root), "host_key": fingerprint(write("host.pub", public)), "version": ["dropbear", "-V"],
    }


def proftpd(way):
    sftp = ""
    if way == "sftp":
        host = ssh_key("host", "-t", "rsa", "-b", "2048", "-m", "PEM")
        (own / "keys").mkdir()
        write(f"keys/{USERNAME}", run("ssh-keygen", "-e", "-f", let_in()) + "\n")
        sftp = f"""
LoadModule mod_sftp.c
SFTPEngine on
SFTPHostKey {host}
SFTPLog {own}/sftp.log
SFTPAuthorizedUserKeys file:{own}/keys/%u
SFTPAuthMethods publickey password
"""
    encrypted = "" if way in ("plain", "sftp") else f"""
TLSEngine on
TLSLog {own}/tls.log
TLSProtocol TLSv1.2 TLSv1.3
TLSRSACertificateFile {tls}/files.pem
TLSRSACertificateKeyFile {tls}/files.key
TLSRequired on
{"TLSOptions UseImplicitSSL" if way == "implicit" else ""}
"""
    group = run("id", "-gn")
    config = write("proftpd.conf", f"""
ServerType standalone
DefaultAddress 127.0.0.1
SocketBindTight on
Port {port}
User {getpass.getuser()}
Group {group}
RootLogin on
RequireValidShell off
UseIPv6 off
UseReverseDNS off
AuthPAM off
AuthOrder mod_auth_file.c
AuthUserFile {write("users", users(run("openssl", "passwd", "-6", PASSWORD)))}
PidFile {own}/pid
ScoreboardFile {own}/score
SystemLog {own}/log
DelayTable none
WtmpLog off
TransferLog none
AllowOverwrite on
AllowStoreRestart on
ModulePath /usr/lib/proftpd
<IfModule mod_delay.c>
DelayEngine off
</IfModule>
{"PassivePorts " + " ".join(data_ports) if data_ports else ""}
LoadModule mod_tls.c
{encrypted}{sftp}{"<Limit WRITE>" + chr(10) + "DenyAll" + chr(10) + "</Limit>" if way == "readonly" else ""}
""")
    return ["proftpd", "-n", "-c", config], {
        "base": str(root), "host_key": fingerprint(f"{host}.pub") if sftp else "", "version": ["proftpd", "--version"],
    }


def vsftpd(way):
    """Lets guests in, who here have a password: other users would have to be this machine's."""
    encrypted = yes(way != "plain")
    (own / "empty").mkdir()
    config = write("vsftpd.conf", f"""
listen=YES
background=NO
run_as_launching_user=YES
listen_address=127.0.0.1
listen_port={port}
anonymous_enable=YES
local_enable=NO
ftp_username={getpass.getuser()}
anon_root={root}
secure_email_list_enable=YES
email_password_file={write("passwords", PASSWORD + chr(10))}
write_enable={yes(way != "readonly")}
anon_upload_enable=YES
anon_mkdir_write_enable={yes(way != "readonly")}
anon_other_write_enable={yes(way != "readonly")}
anon_world_readable_only=NO
anon_umask=022
allow_writeable_chroot=YES
seccomp_sandbox=NO
xferlog_enable=NO
ssl_enable={encrypted}
implicit_ssl={yes(way == "implicit")}
allow_anon_ssl=YES
force_anon_logins_ssl={encrypted}
force_anon_data_ssl={encrypted}
rsa_cert_file={tls}/files.pem
rsa_private_key_file={tls}/files.key
ssl_tlsv1=YES
require_cert={yes(way == "demands")}
secure_chroot_dir={own}/empty
pasv_min_port={data_ports[0] if data_ports else 0}
pasv_max_port={data_ports[1] if data_ports else 0}
""")
    program = unpacked / "sbin/vsftpd"
    return [program, config], {
        # It says its version on what should be its standard input.
        "base": str(root), "username": "ftp", "version": ["sh", "-c", f"exec {program} -v 0>&1"],
    }


def pureftpd(way):
    """Takes no user whose number is 0."""
    run("chown", "-R", "nobody", root)
    both = write("both.pem", (tls / "files.pem").read_text() + (tls / "files.key").read_text())
    run(unpacked / "bin/pure-pw", "useradd", USERNAME, "-u", "nobody", "-g", "nogroup", "-d", root, "-f", own / "users", "-F",
        own / "users.pdb", "-m", text=f"{PASSWORD}\n{PASSWORD}\n")
    encryption = ["-Y", "0"] if way == "plain" else ["-Y", "3", "-2", both]
    program = unpacked / "sbin/pure-ftpd"
    return [program, "-S", f"127.0.0.1,{port}", "-u", "1", "-E", "-H", "-l", f"puredb:{own}/users.pdb", *encryption,
            *(["-p", ":".join(data_ports)] if data_ports else [])], {
        "base": "", "version": [program, "--help"],
    }


def pyftpdlib(way):
    both = write("both.pem", (tls / "files.pem").read_text() + (tls / "files.key").read_text())
    return [sys.executable, HERE / "pyftpdlib_server.py", port, root, way, both, USERNAME, PASSWORD, *data_ports], {
        "base": "", "version": python_version("pyftpdlib"),
    }


def as_root():
    """For what only root may do: root of a namespace may, and is ourselves outside."""
    return [] if os.getuid() == 0 else ["--user", "--map-root-user"]


def yes(it_is):
    return "YES" if it_is else "NO"


def python_version(package):
    return [sys.executable, "-c", f"from importlib.metadata import version; print(version({package!r}))"]


def version(command):
    said = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    found = re.search(r"v?(\d{1,4}\.\d+(\.\d+)*\w*)", said.stdout + said.stderr)
    return found[1] if found else ""


name, _, way = kind.partition("-")
start = {server.__name__: server for server in
         (openssh, asyncssh, paramiko, dropbear, proftpd, vsftpd, pureftpd, pyftpdlib)}[name]
command, told = start(way or "explicit")
told = {"username": USERNAME, "password": PASSWORD, "host_key": "", "root": str(root)} | told
if way == "full":
    # Of a megabyte, for it alone: from here nothing of it is seen.
    mounting = f'mount -t tmpfs -o size=1m,mode=777 none {root} && exec "$@"'
    command = ["unshare", "--mount", *as_root(), "sh", "-c", mounting, "sh", *command]
log = open(own / "output", "w")
process = programs.start([str(part) for part in command], log)
try:
    programs.until_listening(port, process)
    print(json.dumps(told | {"version": version(told["version"]), "pid": str(process.pid)}), flush=True)
    sys.stdin.read()
finally:
    programs.stop([process])
