"""What all peers talk to: the service, an nginx that answers 200 only if all was done right, and a token endpoint."""

import http.server
import json
import threading
import urllib.request

import nginx
from bed import free_ports

# What every peer can be made to use: the service takes nothing else. The key exchange is the one that all offer first.
CIPHER = "TLS_AES_128_GCM_SHA256"
GROUP = "X25519"

KIB = 1024
SIZES = {"orders": KIB, "64k": 64 * KIB, "1m": KIB * KIB}
PAUSE_SECONDS = 2
# Four thousand and more of each peer that takes part at once.
MOST_CONNECTIONS = 19_000


class Service:
    def __init__(self, lab):
        kinds = ("1.1", "kept"), ("1.1", "resumed"), ("1.1", "full"), ("2", "kept")
        self.status_port, *ports = free_ports(1 + len(kinds))
        self.ports, self.questions = dict(zip(kinds, ports)), 0
        for name, size in SIZES.items():
            lab.write(f"{name}.txt", "x" * (size - 1) + "\n")
        command = lab.nginx("service", self.servers(lab), connections=MOST_CONNECTIONS, load_module=nginx.ECHO)
        self.process = lab.start("service", command, self.ports["1.1", "kept"])

    def port(self, task):
        return self.ports[task.protocol, task.upstream]

    def so_far(self):
        """How many requests it has had, and connections accepted, but for those of these questions."""
        self.questions += 1
        # Thousands of handshakes may come before it.
        with urllib.request.urlopen(f"http://127.0.0.1:{self.status_port}/", timeout=60) as answer:
            # In the third line, with those that it did not close at once.
            accepted, _, requests = map(int, answer.read().splitlines()[2].split())
        return requests - self.questions, accepted - self.questions

    def servers(self, lab):
        authorized = f"""
            map $http_authorization $authorized {{ "Bearer {lab.token}" 1; default 0; }}
            open_file_cache max=16;
            server {{ listen 127.0.0.1:{self.status_port}; stub_status; }}"""
        return authorized + "".join(self.server(lab, port, *kind) for kind, port in self.ports.items())

    def server(self, lab, port, protocol, upstream):
        """Anything but 200 goes to who lacks the certificate, the token or the stripped path."""
        # Whether connections are kept is said here, and so in the same way to all.
        keepalive = "600s" if upstream == "kept" else "0"
        tickets = "off" if upstream == "full" else "on"
        small = (lab.read("orders.txt")).replace("\n", r"\n")
        return f"""
            server {{
                listen 127.0.0.1:{port} ssl{" http2" if protocol == "2" else ""} backlog=4096;
                ssl_certificate {lab.folder}/service.pem;
                ssl_certificate_key {lab.folder}/service.key;
                ssl_protocols TLSv1.3;
                ssl_conf_command Ciphersuites {CIPHER};
                ssl_ecdh_curve {GROUP};
                ssl_session_tickets {tickets};
                keepalive_timeout {keepalive};
                ssl_client_certificate {lab.folder}/ca.pem;
                ssl_verify_client on;
                default_type text/plain;
                root {lab.folder};
                location / {{ return 403; }}
                location = /v1/orders {{
                    if ($authorized = 0) {{ return 403; }}
                    return 200 "{small}";
                }}
                location = /v1/64k {{ if ($authorized = 0) {{ return 403; }} try_files /64k.txt =404; }}
                location = /v1/1m {{ if ($authorized = 0) {{ return 403; }} try_files /1m.txt =404; }}
                location = /v1/upload {{
                    if ($authorized = 0) {{ return 403; }}
                    client_max_body_size 2m;
                    client_body_buffer_size 2m;
                    echo_read_request_body;
                    echo_duplicate 1 $request_length;
                }}
                location = /v1/slow {{
                    if ($authorized = 0) {{ return 403; }}
                    echo_sleep {PAUSE_SECONDS};
                    echo slow;
                }}
                location = /v1/seen {{
                    if ($authorized = 0) {{ return 403; }}
                    return 200 "$ssl_protocol $ssl_cipher $server_protocol $ssl_curve $ssl_session_reused";
                }}
            }}"""


class TokenEndpoint:
    """Client credentials in, the bench's token out, good for a day: no peer asks again while it is measured."""

    def __init__(self, lab):
        answer = json.dumps({"access_token": lab.token, "token_type": "Bearer", "expires_in": 86400}).encode()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                """Says nothing."""

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = server.server_port
        threading.Thread(target=server.serve_forever, daemon=True).start()
        lab.callback(server.shutdown)
