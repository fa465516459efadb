"""pyftpdlib's server: `pyftpdlib_server.py PORT ROOT explicit|plain CERTIFICATE USERNAME PASSWORD [FIRST LAST]`."""

import sys

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler, TLS_FTPHandler
from pyftpdlib.servers import FTPServer

port, root, way, certificate, username, password, *data_ports = sys.argv[1:]

handler = FTPHandler if way == "plain" else TLS_FTPHandler
handler.authorizer = DummyAuthorizer()
handler.authorizer.add_user(username, password, root, perm="elradfmwMT")
handler.auth_failed_timeout = 0
if data_ports:
    handler.passive_ports = range(int(data_ports[0]), int(data_ports[1]) + 1)
if way != "plain":
    handler.certfile = certificate
    handler.tls_control_required = handler.tls_data_required = True
FTPServer(("127.0.0.1", int(port)), handler).serve_forever()
