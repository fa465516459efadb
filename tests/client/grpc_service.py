"""A gRPC service of bytes: what it is called by is what it does."""

import json
import sys
import threading
from concurrent import futures

import grpc

CANCELLED = threading.Event()


def metadata(context):
    return {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}


def unary(request, context):
    context.send_initial_metadata((("x-first", "1"),))
    context.set_trailing_metadata((("x-last", "2"), ("x-last-bin", b"\x00\xff")))
    left = context.time_remaining()
    return json.dumps({"metadata": metadata(context), "length": len(request), "left": left}).encode()


def down(request, context):
    for number in range(int(request)):
        yield b"%d" % number
    context.set_trailing_metadata((("x-last", "2"),))


def up(requests, context):
    return b"%d" % sum(len(request) for request in requests)


def both(requests, context):
    for request in requests:
        yield request + b"!"


def fail(request, context):
    code = next(code for code in grpc.StatusCode if code.value[0] == int(request))
    context.abort(code, f"no: {code.name} ü")


def hang(request, context):
    ended = threading.Event()
    context.add_callback(lambda: (CANCELLED.set(), ended.set()))
    ended.wait(60)
    return b""


def was_cancelled(request, context):
    result = b"yes" if CANCELLED.wait(20) else b"no"
    CANCELLED.clear()
    return result


class Calls(grpc.GenericRpcHandler):
    KINDS = {
        "Unary": (grpc.unary_unary_rpc_method_handler, unary),
        "Down": (grpc.unary_stream_rpc_method_handler, down),
        "Up": (grpc.stream_unary_rpc_method_handler, up),
        "Both": (grpc.stream_stream_rpc_method_handler, both),
        "Fail": (grpc.unary_unary_rpc_method_handler, fail),
        "Hang": (grpc.unary_unary_rpc_method_handler, hang),
        "WasCancelled": (grpc.unary_unary_rpc_method_handler, was_cancelled),
    }

    def service(self, details):
        make, handler = self.KINDS.get(details.method.rsplit("/", 1)[1], (None, None))
        return make and make(handler)


server = grpc.server(futures.ThreadPoolExecutor(16), options=[("grpc.max_receive_message_length", -1)])
server.add_generic_rpc_handlers((Calls(),))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(json.dumps({"calls": port}), flush=True)
sys.stdin.read()
server.stop(0)
