"""What the Python servers of this folder share: the clients that they know, and HTTPS in front of a WSGI application.

Each is started as `SERVER.py SETTINGS`, prints one line of JSON with its `port` and `version` once it answers, and ends
when its standard input does. SETTINGS is JSON:

  certificate, key, ca   files: its own certificate, and who signs those of clients
  secret, odd_secret     of clients; the odd one of `by-odd` and `by-post`
  jwks                   the public keys of the client `by-key`

Clients: `by-basic`, `by-odd`, `by-post` and, where the server can, `by-key` (private_key_jwt) and `by-certificate`
(tls_client_auth), all for client credentials with the scopes `read` and `write`; `for-bob` for bob's password,
`builder`. Tokens live ten minutes where the server lets that be said.
"""

import json
import ssl
import sys
import threading

from werkzeug.serving import make_server

settings = json.loads(sys.argv[1])
SCOPES = ["read", "write"]
LIFETIME = 600


def secret(client_id):
    return settings["odd_secret" if client_id in ("by-odd", "by-post") else "secret"]


def context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(settings["certificate"], settings["key"])
    context.load_verify_locations(settings["ca"])
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def serve(application, version):
    """`application` makes the WSGI application of an issuer's URL, once the port is known."""
    server = make_server("localhost", 0, lambda *request: server.application(*request), threaded=True, ssl_context=context())
    server.application = application(f"https://localhost:{server.port}")
    server.app = server.application
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"port": server.port, "version": version}), flush=True)
    sys.stdin.read()
    server.shutdown()
