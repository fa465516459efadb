#!/usr/bin/env bash
# nghttp2 1.52.0: a server with a small window resets an upload that stayed within what was allowed.
#
# nghttpd with --window-bits=10 takes 1,023 bytes a stream at a time, but only from the acknowledgement of its SETTINGS on (RFC 9113
# §6.5.3); until then a client may send 65,535. Both uploads below send 40,000 bytes first, then the acknowledgement, and then
# nothing. If that comes 0.3 s later, the server opens the window for all it has read. If it comes with the last of the bytes,
# the stream is reset with FLOW_CONTROL_ERROR, right behind the server's own WINDOW_UPDATE: that was queued when the lower limit
# began to count, and what is not in it exceeds that. §6.9.3 allows a server to do so. Over loopback curl 7.88 meets it with
# `curl --data-binary @1MB` now and then, on the first request of a connection only. So a client does well to hold back an
# upload that does not fit the first window until it has read the server's SETTINGS.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
command -v nghttpd >/dev/null || apt-get install --yes --no-install-recommends nghttp2-server=1.52.0-1+deb12u3 >/dev/null
folder=$(mktemp -d)
trap 'kill $server 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
nghttpd --version
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
nghttpd --address=127.0.0.1 --no-tls --echo-upload --window-bits=10 "$port" &
server=$!
for _ in $(seq 100); do (echo >/dev/tcp/127.0.0.1/"$port") 2>/dev/null && break || sleep 0.1; done

cat >upload.py <<'PYTHON'
import socket
import sys
import time

DATA, HEADERS, RST_STREAM, SETTINGS, WINDOW_UPDATE = 0, 1, 3, 4, 8


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def frames(connection):
    with connection.makefile("rb") as stream:
        while head := stream.read(9):
            yield head[3], int.from_bytes(head[5:9], "big"), stream.read(int.from_bytes(head[:3], "big"))


def upload(pause):
    connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=10)
    came = frames(connection)
    assert next(came)[0] == SETTINGS
    post = b"\x83\x86\x04\x03/up\x41\x09localhost"
    body = b"".join(frame(DATA, 0, 1, bytes(size)) for size in (16_384, 16_384, 7_232))
    start = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0) + frame(HEADERS, 4, 1, post) + body
    acknowledgement = frame(SETTINGS, 1, 0)
    if pause:
        connection.sendall(start)
        time.sleep(pause)
        connection.sendall(acknowledgement)
    else:
        connection.sendall(start + acknowledgement)
    opened = 0
    for kind, stream, payload in came:
        number = int.from_bytes(payload[:4], "big")
        if kind == RST_STREAM:
            return f"the stream's window opened by {opened}, then reset with error {number}"
        opened += number if (kind, stream) == (WINDOW_UPDATE, 1) else 0
        if opened == 40_000:
            return f"the stream's window opened by {opened}"


print("acknowledged later:", upload(0.3))
print("acknowledged at once:", upload(0))
PYTHON
python3 upload.py "$port" | tee told
cmp told - <<'EXPECTED'
acknowledged later: the stream's window opened by 40000
acknowledged at once: the stream's window opened by 32768, then reset with error 3
EXPECTED
