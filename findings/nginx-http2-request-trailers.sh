#!/usr/bin/env bash
# nginx 1.22.1: a request with trailers over HTTP/2 ends the connection, and with it every other request there.
#
# RFC 9113 §8.1 lets a request end with a block of trailers. nginx takes that block for the head of a new request with an old
# number ("client sent HEADERS frame with incorrect identifier") and answers GOAWAY with PROTOCOL_ERROR. What shares the
# connection is lost: below, an upload that is half sent. A block without a field in it does the same. So a client or proxy
# that multiplexes should end a stream without trailers where there are none to send.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
command -v nginx >/dev/null || apt-get install --yes --no-install-recommends nginx-light >/dev/null
folder=$(mktemp -d)
trap 'kill $server 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check h2==4.4.1
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >nginx.conf <<CONF
daemon off; master_process off; pid nginx.pid; error_log nginx.log info; events { }
http {
    access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server { listen unix:$folder/behind.sock; return 200 ok; }
    server { listen 127.0.0.1:$port http2; location / { proxy_pass http://unix:$folder/behind.sock:/; } }
}
CONF
nginx -e nginx.log -p "$folder" -c nginx.conf &
server=$!
for _ in $(seq 100); do (echo >/dev/tcp/127.0.0.1/"$port") 2>/dev/null && break || sleep 0.1; done

cat >ask.py <<'PYTHON'
import socket
import sys

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, ResponseReceived

HEAD = [(":method", "POST"), (":scheme", "http"), (":authority", "localhost"), (":path", "/")]


def ask(end):
    """Sends half an upload, and another one that ends so; then the other half, once that is answered or refused."""
    client = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 10)
    connection = H2Connection(H2Configuration(client_side=True))
    connection.initiate_connection()
    connection.send_headers(1, HEAD)
    connection.send_data(1, b"half")
    connection.send_headers(3, HEAD)
    connection.send_data(3, b"whole", end_stream=end == "no trailers")
    if end != "no trailers":
        connection.send_headers(3, [("x-sum", "1")], end_stream=True)
    client.sendall(connection.data_to_send())
    seen, answered = [], set()
    while answered != {1, 3}:
        received = client.recv(65536)
        if not received:
            break
        for event in connection.receive_data(received):
            if isinstance(event, ResponseReceived):
                answered.add(event.stream_id)
                seen.append(f"{event.stream_id}: {dict(event.headers)[b':status'].decode()}")
                if event.stream_id == 3:
                    connection.send_data(1, b"more", end_stream=True)
            if isinstance(event, ConnectionTerminated):
                seen.append(f"GOAWAY {event.error_code.name}")
        client.sendall(connection.data_to_send())
    print(f"{end}: {', '.join(seen)}")


ask("no trailers")
ask("trailers")
PYTHON
python/bin/python ask.py "$port" | tee seen.txt
cat >expected.txt <<'TEXT'
no trailers: 3: 200, 1: 200
trailers: GOAWAY PROTOCOL_ERROR
TEXT
diff expected.txt seen.txt && echo 'as described'
