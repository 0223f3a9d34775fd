"""Files that are written whole or not at all.

`remembered.py`, checkpoints, snapshots and the learner's progress are written by it.
The launcher has lines of its own for this: it works before anything is installed.
"""

import os
import stat
import tempfile
from pathlib import Path

__all__ = ["write_whole"]


def write_whole(path: Path, content: bytes) -> None:
    """Write so that at any moment `path` holds either the old or the new content.

    The folder is made if it is missing. Only its owner can read the file; in a folder
    that hands its group on (setgid) the group can as well, for that is what such a
    folder is for. Raises OSError where it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(".new", prefix=path.name, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            if path.parent.stat().st_mode & stat.S_ISGID:
                os.chmod(temporary, 0o640)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
