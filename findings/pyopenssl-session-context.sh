#!/usr/bin/env bash
# pyOpenSSL 26.4.0: a server that wants client certificates and names no session id context answers a client's first
# connection and fails its second one, although it handed out the session that the client offers.
#
# OpenSSL refuses to resume a session under verification where no context was set, and ends the handshake by the alert
# internal_error instead of falling back to a full one. It hands such sessions out all the same. Python's own ssl module
# sets a context by itself, so the same server on that has no such trouble. A client that keeps offering sessions gets one
# connection and then none; one that forgets a session with which a handshake failed, and shakes hands in full, gets all.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python3 -m pip install --quiet --disable-pip-version-check pyOpenSSL==26.4.0
key="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
openssl req -x509 $key -keyout ca.key -subj /CN=ca -out ca.pem 2>/dev/null
for name in server client; do
    openssl req -x509 $key -keyout $name.key -subj /CN=localhost -addext subjectAltName=DNS:localhost \
        -addext basicConstraints=CA:FALSE -CA ca.pem -CAkey ca.key -out $name.pem 2>/dev/null
done

cat > meet.py <<'PY'
"""Shakes hands three times with a server of each library, offering the session of the time before."""
import socket
import ssl
import threading

from OpenSSL import SSL


def pyopenssl(raw):
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.use_certificate_file("server.pem")
    context.use_privatekey_file("server.key")
    context.load_verify_locations("ca.pem")
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *seen: seen[-1])
    while True:
        connection = SSL.Connection(context, raw.accept()[0])
        connection.set_accept_state()
        try:
            connection.do_handshake()
            connection.shutdown()
        except SSL.Error:
            pass


def standard(raw):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain("server.pem", "server.key")
    context.load_verify_locations("ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    while True:
        try:
            context.wrap_socket(raw.accept()[0], server_side=True).close()
        except OSError:
            pass


def meet(serve):
    raw = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=serve, args=(raw,), daemon=True).start()
    context = ssl.create_default_context(cafile="ca.pem")
    context.load_cert_chain("client.pem", "client.key")
    session, seen = None, []
    for _ in range(3):
        tcp = socket.create_connection(raw.getsockname())
        try:
            with context.wrap_socket(tcp, server_hostname="localhost", session=session) as connection:
                seen.append("resumed" if connection.session_reused else "full")
                session = connection.session
        except ssl.SSLError as error:
            seen.append(error.reason.lower())
    return ", ".join(seen)


print("pyOpenSSL:", meet(pyopenssl))
print("ssl:", meet(standard))
PY
venv/bin/python3 meet.py | tee seen.txt
cat > expected.txt <<'TEXT'
pyOpenSSL: full, tlsv1_alert_internal_error, tlsv1_alert_internal_error
ssl: full, resumed, resumed
TEXT
diff expected.txt seen.txt && echo 'as described'
