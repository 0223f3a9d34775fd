"""Refuses every network address but this computer's own.

Python imports a file of this name by itself at the start of every process that has
this folder on PYTHONPATH; `utils/launcher/suite.py` and `tests/conftest.py` put it
there where a network namespace is not allowed. An audit hook sees the calls of every
library that goes through Python's sockets, and cannot be removed again.
"""

import ipaddress
import sys

LOCAL_NAMES = ("localhost", "", None)


def is_local(host) -> bool:
    """Whether a host is this computer; names that need a look-up are not."""
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if host in LOCAL_NAMES:
        return True
    try:
        address = ipaddress.ip_address(str(host).partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def refuse(event, arguments):
    """Audit hook: raise OSError before anything leaves the computer."""
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        # Unix sockets have a plain path; IPv4 and IPv6 have (host, port, ...).
        host = address[0] if isinstance(address, tuple) else None
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    else:
        return
    if not is_local(host):
        raise OSError(f"the tests run without a network, and {host!r} is outside")


sys.addaudithook(refuse)
