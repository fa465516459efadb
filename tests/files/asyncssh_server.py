"""AsyncSSH's SFTP server: `asyncssh_server.py PORT HOST_KEY AUTHORIZED USERNAME PASSWORD`."""

import asyncio
import sys

import asyncssh

port, host_key, authorized, username, password = sys.argv[1:]


class Server(asyncssh.SSHServer):
    def password_auth_supported(self):
        return True

    def validate_password(self, *given):
        return given == (username, password)


async def main():
    await asyncssh.create_server(Server, "127.0.0.1", int(port), server_host_keys=[host_key], sftp_factory=True,
                                 authorized_client_keys=authorized)
    await asyncio.Event().wait()


asyncio.run(main())
