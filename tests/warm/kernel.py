"""Stands for a forked kernel where Jupyter expects the process it has started.

It hands the server its folder, variables, path and open files, passes signals on, and
ends with the kernel; when it is killed, the kernel goes with it.
"""

import json
import os
import signal
import socket
import sys


def main() -> None:
    """Run as Jupyter runs `ipykernel_launcher`, with the same words."""
    given = {
        "folder": os.getcwd(),
        "variables": dict(os.environ),
        "path": sys.path[1:],
        "words": sys.argv,
    }
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        server.connect(os.environ["COURSE_WARM"])
        socket.send_fds(server, [json.dumps(given).encode()], [0, 1, 2])
        kernel = int(server.recv(64))
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: os.kill(kernel, number))
        server.recv(1)


if __name__ == "__main__":
    main()
