"""Brings up `lo` in a new network namespace, then becomes the given program.

Called by `utils/launcher/suite.py` as `unshare -rn python loopback.py PROGRAM...`.
The `ip` tool is not on every machine, so this asks the kernel itself.
"""

import fcntl
import os
import socket
import struct
import sys

SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1


def bring_up(name: bytes = b"lo") -> None:
    """Set the flag "up" of a network interface; OSError where that is not allowed."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        request = struct.pack("16sH14x", name, 0)
        answer = fcntl.ioctl(handle, SIOCGIFFLAGS, request)
        flags = struct.unpack("16sH14x", answer)[1]
        fcntl.ioctl(handle, SIOCSIFFLAGS, struct.pack("16sH14x", name, flags | IFF_UP))


if __name__ == "__main__":
    bring_up()
    os.execv(sys.argv[1], sys.argv[1:])
