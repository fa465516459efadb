"""Programs that a script starts, and that end when it does."""

import ctypes
import signal
import socket
import subprocess
import sys
import time

libc = ctypes.CDLL(None, use_errno=True)


def start(command, log):
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=end_with_us)


def end_with_us():
    """A test that ends kills this script, which has no time then to stop what it has started (prctl(2), PR_SET_PDEATHSIG)."""
    if libc.prctl(1, signal.SIGTERM):
        raise OSError(ctypes.get_errno(), "prctl")


def until_listening(port, process):
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            listens = True
        except OSError:
            listens = False
        # One that ended has not listened: somebody else has the port.
        if process.poll() is not None:
            sys.exit(f"{process.args} ended")
        if listens:
            return
        time.sleep(0.01)


def stop(processes):
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait()
