"""An app that makes gRPC calls through Sidekey: grpc_app.py PORT CASE. Says what is wrong, or that nothing is."""

import json
import sys
import time

import grpc

PORT, CASE = sys.argv[1:]
OPTIONS = [("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", -1)]


def channel(service):
    return grpc.insecure_channel(f"{service}.localhost:{PORT}", options=OPTIONS)


CHANNEL = channel("calls")


def failure(call, *arguments, **options):
    try:
        answer = call(*arguments, **options)
    except grpc.RpcError as error:
        return error
    raise AssertionError(f"it was answered: {answer}")


def unary():
    call = CHANNEL.unary_unary("/test.Calls/Unary")
    sent = (("authorization", "Bearer apps-own"), ("x-app", "a"), ("x-app-bin", b"\x01\xfe"))
    for length in (0, 1, 100_000):
        answer, done = call.with_call(b"x" * length, timeout=30, metadata=sent)
        seen = json.loads(answer)
        assert seen["length"] == length, seen
        assert seen["metadata"]["authorization"] == "Bearer services-own", seen
        assert seen["metadata"]["x-app"] == "a", seen
        assert 0 < seen["left"] < 31, seen
        assert ("x-first", "1") in done.initial_metadata(), done.initial_metadata()
        assert dict(done.trailing_metadata()) == {"x-last": "2", "x-last-bin": b"\x00\xff"}, done.trailing_metadata()


def down():
    call = CHANNEL.unary_stream("/test.Calls/Down")
    for count in (0, 1, 5_000):
        messages = call(b"%d" % count, timeout=60)
        assert [int(message) for message in messages] == list(range(count))
        assert ("x-last", "2") in messages.trailing_metadata(), messages.trailing_metadata()


def up():
    call = CHANNEL.stream_unary("/test.Calls/Up")
    assert call(iter([b"x" * 1_000] * 1_000), timeout=60) == b"1000000"
    assert call(iter([]), timeout=60) == b"0"


def both():
    answered = []

    def messages():
        # None before the one before it was answered.
        for number in range(200):
            while len(answered) < number:
                time.sleep(0.0005)
            yield b"%d" % number

    for answer in CHANNEL.stream_stream("/test.Calls/Both")(messages(), timeout=60):
        answered.append(answer)
    assert answered == [b"%d!" % number for number in range(200)], answered


def statuses():
    call = CHANNEL.unary_unary("/test.Calls/Fail")
    for code in grpc.StatusCode:
        if code is not grpc.StatusCode.OK:
            error = failure(call, b"%d" % code.value[0], timeout=30)
            assert (error.code(), error.details()) == (code, f"no: {code.name} ü"), error
    error = failure(CHANNEL.unary_unary("/test.Calls/Nothing"), b"", timeout=30)
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED, error


def was_cancelled():
    return CHANNEL.unary_unary("/test.Calls/WasCancelled")(b"", timeout=30) == b"yes"


def deadline():
    began = time.monotonic()
    error = failure(CHANNEL.unary_unary("/test.Calls/Hang"), b"", timeout=1)
    assert error.code() in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE), error
    assert time.monotonic() - began < 10
    assert was_cancelled()


def cancel():
    call = CHANNEL.unary_unary("/test.Calls/Hang").future(b"")
    time.sleep(0.2)
    call.cancel()
    assert was_cancelled()


def own():
    table = (
        ("dead", grpc.StatusCode.UNAVAILABLE, "connection_refused: "),
        ("forbidden", grpc.StatusCode.PERMISSION_DENIED, "forbidden: "),
    )
    for service, code, detail in table:
        error = failure(channel(service).unary_unary("/test.Calls/Unary"), b"x", timeout=30)
        assert error.code() is code and error.details().startswith(detail), error


def large():
    call = CHANNEL.stream_stream("/test.Calls/Both")
    messages = [bytes([number]) * (3 << 20) for number in range(8)]
    for number, answer in enumerate(call(iter(messages), timeout=60)):
        assert answer == messages[number] + b"!", number
    assert number == 7


globals()[CASE]()
print("as it should be")
