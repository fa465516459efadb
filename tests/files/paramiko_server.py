"""Paramiko's SFTP server, on the files of a folder: `paramiko_server.py PORT ROOT HOST_KEY AUTHORIZED USERNAME PASSWORD`.

Paramiko has the protocol alone, and takes names as UTF-8; what is done with files is written here.
"""

import os
import socket
import sys
import threading

import paramiko
from paramiko import SFTPAttributes, SFTPHandle, SFTPServer, SFTPServerInterface

port, root, host_key, authorized, username, password = sys.argv[1:]
host_key = paramiko.Ed25519Key(filename=host_key)
known = open(authorized).read().split(" ")[1]


class Doors(paramiko.ServerInterface):
    def get_allowed_auths(self, _):
        return "publickey,password"

    def check_auth_password(self, *given):
        return paramiko.AUTH_SUCCESSFUL if given == (username, password) else paramiko.AUTH_FAILED

    def check_auth_publickey(self, name, key):
        return paramiko.AUTH_SUCCESSFUL if (name, key.get_base64()) == (username, known) else paramiko.AUTH_FAILED

    def check_channel_request(self, kind, _):
        return paramiko.OPEN_SUCCEEDED if kind == "session" else paramiko.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED


def told(act):
    """What the system says of a failure is told as a status."""
    def acting(*arguments):
        try:
            return act(*arguments)
        except OSError as error:
            return SFTPServer.convert_errno(error.errno)
    return acting


class Files(SFTPServerInterface):
    def real(self, path):
        return root + self.canonicalize(path)

    @told
    def list_folder(self, path):
        entries = []
        for name in os.listdir(self.real(path)):
            entry = SFTPAttributes.from_stat(os.lstat(os.path.join(self.real(path), name)))
            entry.filename = name
            entries.append(entry)
        return entries

    @told
    def stat(self, path):
        return SFTPAttributes.from_stat(os.stat(self.real(path)))

    @told
    def lstat(self, path):
        return SFTPAttributes.from_stat(os.lstat(self.real(path)))

    @told
    def open(self, path, flags, attributes):
        mode = getattr(attributes, "st_mode", None) or 0o644
        number = os.open(self.real(path), flags | os.O_CLOEXEC, mode)
        handle = SFTPHandle(flags)
        opened = os.fdopen(number, "r+b" if flags & os.O_RDWR else "wb" if flags & os.O_WRONLY else "rb")
        handle.readfile = handle.writefile = opened
        handle.filename = self.real(path)
        handle.stat = told(lambda: SFTPAttributes.from_stat(os.fstat(opened.fileno())))
        return handle

    @told
    def remove(self, path):
        os.remove(self.real(path))
        return paramiko.SFTP_OK

    @told
    def rename(self, old, new):
        if os.path.lexists(self.real(new)):
            return paramiko.SFTP_FAILURE
        os.rename(self.real(old), self.real(new))
        return paramiko.SFTP_OK

    @told
    def posix_rename(self, old, new):
        os.replace(self.real(old), self.real(new))
        return paramiko.SFTP_OK

    @told
    def mkdir(self, path, _):
        os.mkdir(self.real(path))
        return paramiko.SFTP_OK

    @told
    def rmdir(self, path):
        os.rmdir(self.real(path))
        return paramiko.SFTP_OK


def serve(connection):
    transport = paramiko.Transport(connection)
    transport.add_server_key(host_key)
    transport.set_subsystem_handler("sftp", SFTPServer, Files)
    try:
        transport.start_server(server=Doors())
        transport.join()
    except (paramiko.SSHException, EOFError):
        transport.close()


listener = socket.create_server(("127.0.0.1", int(port)))
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
