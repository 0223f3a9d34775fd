"""What can go wrong on a learner's machine, as one sentence each.

Standard library only: the launcher uses it before anything is installed.
"""

__all__ = ["Problem", "sentence_for"]

# What operating systems, pip and venv write, and the sentence it stands for. The order
# matters: a missing network makes pip also say "no matching distribution".
SENTENCES = (
    (
        ("no space left on device", "errno 28", "not enough space on the disk"),
        "The disk is full; free about 3 GB and start again, the environment is then "
        "repaired.",
    ),
    (
        ("read-only file system", "errno 30", "permission denied", "access is denied"),
        "This folder cannot be written to; copy the course to a folder of your own "
        "and start there.",
    ),
    (
        (
            "no module named venv",
            "no module named 'venv'",
            "no module named ensurepip",
            "no module named 'ensurepip'",
            "ensurepip is not available",
            "ensurepip is disabled",
        ),
        "This Python lacks its venv or ensurepip module; install it (on Debian or "
        "Ubuntu: sudo apt install python3-venv) and start again.",
    ),
    (
        (
            "connection broken",
            "failed to establish a new connection",
            "name resolution",
            "getaddrinfo failed",
            "max retries exceeded",
            "network is unreachable",
            "connection refused",
            "proxyerror",
            "read timed out",
            "readtimeouterror",
            "incompleteread",
        ),
        "The packages could not be downloaded: there is no network or the package "
        "index does not answer; connect and start again.",
    ),
    (
        ("no matching distribution found", "requires a different python"),
        "A package has no build for this Python or this kind of computer; Linux, "
        "Windows and Macs with Apple chips have them, older Intel Macs do not.",
    ),
)


class Problem(Exception):
    """Something a learner can put right; its text is one sentence that says how."""


def sentence_for(text: str) -> str | None:
    """The sentence for what a program or an OSError said, or None if unknown."""
    lowered = text.lower()
    for signs, sentence in SENTENCES:
        if any(sign in lowered for sign in signs):
            return sentence
    return None
