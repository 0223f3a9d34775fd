"""Token ids kept on disk, as cutting the standard library into tokens takes seconds.

Called by `corpus.py`. What is kept can always be made again: a file that is missing,
old or damaged is made anew, and a folder that cannot be written costs only the time.
"""

import contextlib
import hashlib
import io
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from utils.text.whole import write_whole

__all__ = ["FOLDER", "remembered"]

FOLDER = Path(__file__).parents[2] / ".cache"
DIGEST = 8  # the last numbers of a file are the SHA-256 of those before


def remembered(
    parts: Iterable[str], make: Callable[[], np.ndarray], folder: Path | None = None
) -> np.ndarray:
    """What `make` gives, an int32 array [n], from disk if it was made before.

    `parts` is all that the result depends on. `folder` is the course's `.cache` unless
    given.
    """
    name = hashlib.sha256()
    for part in parts:
        name.update(hashlib.sha256(part.encode("utf-8", "surrogatepass")).digest())
    file = (folder or FOLDER) / f"tokens-{name.hexdigest()[:32]}.npy"
    with contextlib.suppress(OSError, ValueError, EOFError):
        return _checked(np.load(file, allow_pickle=False))
    numbers = make()
    with contextlib.suppress(OSError):
        # In one step, as several notebooks may begin at once.
        write_whole(file, _as_bytes(numbers))
    return numbers


def _checked(stored: np.ndarray) -> np.ndarray:
    if stored.dtype == np.int32 and stored.ndim == 1:
        numbers, digest = stored[:-DIGEST], stored[-DIGEST:]
        if np.array_equal(digest, _digest(numbers)):
            return numbers
    raise ValueError("damaged")


def _digest(numbers: np.ndarray) -> np.ndarray:
    return np.frombuffer(hashlib.sha256(numbers.tobytes()).digest(), dtype=np.int32)


def _as_bytes(numbers: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.concatenate([numbers, _digest(numbers)]))
    return stream.getvalue()
