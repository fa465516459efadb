"""A TLS server of pyOpenSSL's, as many are written with it: `tls_server.py HOW VERSION CERTIFICATE KEY CA`.

It answers each request by how many connections it has shaken hands on, and whether that one resumed a session.

HOW is one of
  no-context   wants a client certificate and names no session context: OpenSSL refuses each session that is offered
  renegotiate  asks for another handshake once a request is there, and ends the connection where that is refused
  insist       does the same, and waits for that handshake whatever comes
  silent       closes the connection without an alert after the handshake, as some do with certificates they don't like
  leaves       answers the first request on a connection, and closes it so at the second
"""

import json
import socket
import sys
import threading
import time

from OpenSSL import SSL

how, version, certificate, key, ca = sys.argv[1:]

context = SSL.Context(SSL.TLS_SERVER_METHOD)
exact = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}[version]
context.set_min_proto_version(exact)
context.set_max_proto_version(exact)
context.use_certificate_chain_file(certificate)
context.use_privatekey_file(key)
context.load_verify_locations(ca)
if how in ("no-context", "silent", "leaves"):
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *seen: True)

handshakes = 0


def request(connection):
    """Reads one head; None: the connection ended."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = connection.recv(4096)
        if not piece:
            return None
        head += piece
    return head


def serve(raw):
    global handshakes
    connection = SSL.Connection(context, raw)
    connection.set_accept_state()
    try:
        connection.do_handshake()
        handshakes += 1
        number = handshakes
        answered = 0
        while request(connection):
            if how == "silent" or (how == "leaves" and answered):
                raw.shutdown(socket.SHUT_WR)
                return
            if how in ("renegotiate", "insist"):
                connection.renegotiate()
                connection.do_handshake()
                while how == "insist":
                    try:
                        connection.recv(4096)
                    except SSL.WantReadError:
                        time.sleep(0.01)
            body = json.dumps({"handshakes": number}).encode()
            close = b"" if how == "leaves" else b"Connection: close\r\n"
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%b\r\n" % (len(body), close) + body)
            answered += 1
            if close:
                connection.shutdown()
                return
    except SSL.Error:
        if how == "insist":
            sys.stdin.read()
    finally:
        raw.close()


listener = socket.create_server(("127.0.0.1", 0))


def accept():
    while True:
        raw, _ = listener.accept()
        threading.Thread(target=serve, args=(raw,), daemon=True).start()


threading.Thread(target=accept, daemon=True).start()
print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
sys.stdin.read()
