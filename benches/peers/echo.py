"""Both ends of the gRPC load, run by the Python that has grpcio: `echo.py service …` and `echo.py client …`.

Messages are bytes as they are: what is compared does not look into them.
"""

import http.server
import json
import sys
import threading
import time
from concurrent import futures
from pathlib import Path

import grpc

METHOD = "/v1/echo"


class Echo(grpc.GenericRpcHandler):
    def __init__(self, token):
        self.wanted, self.messages = ("authorization", f"Bearer {token}"), 0

    def service(self, call):
        if call.method != METHOD or self.wanted not in [tuple(field) for field in call.invocation_metadata]:
            # Answered UNIMPLEMENTED.
            return None
        return grpc.stream_stream_rpc_method_handler(self.echo)

    def echo(self, messages, _context):
        for message in messages:
            self.messages += 1
            yield message


def serve(folder, port, status_port, token):
    folder, echo = Path(folder), Echo(token)
    credentials = grpc.ssl_server_credentials(
        [((folder / "service.key").read_bytes(), (folder / "service.pem").read_bytes())],
        root_certificates=(folder / "ca.pem").read_bytes(), require_client_auth=True)
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8), handlers=[echo])
    server.add_secure_port(f"127.0.0.1:{port}", credentials)
    server.start()

    class Status(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps({"messages": echo.messages}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Says nothing."""

    http.server.ThreadingHTTPServer(("127.0.0.1", int(status_port)), Status).serve_forever()


def call(port, path, seconds, size, ahead):
    message, ends = b"x" * int(size), time.monotonic() + float(seconds)
    # So many are on their way at once, and so each peer has as many to find at a time.
    room = threading.Semaphore(int(ahead))

    def messages():
        while time.monotonic() < ends and room.acquire(timeout=10):
            yield message

    began, count = time.monotonic(), 0
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        for echoed in channel.stream_stream(path)(messages(), timeout=float(seconds) + 20):
            if echoed != message:
                sys.exit("another message came back than was sent")
            count += 1
            room.release()
    micros = round((time.monotonic() - began) * 1e6)
    print(json.dumps({"requests": count, "size": count * len(message), "micros": micros, "errors": 0,
                      "p50": 0, "p99": 0}))


if __name__ == "__main__":
    {"service": serve, "client": call}[sys.argv[1]](*sys.argv[2:])
