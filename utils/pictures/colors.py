"""Colours along a scale, and small pictures made of them."""

import base64
import struct
import zlib

import numpy as np

__all__ = ["blend", "color_ramp", "png_data_uri", "rgb"]


def rgb(color: str) -> np.ndarray:
    return np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)], dtype=float)


def blend(scale: list[list], fraction: float) -> str:
    """The colour at `fraction` (0 to 1) of a plotly colour scale, as #RRGGBB."""
    stops = [position for position, _ in scale]
    colors = np.stack([rgb(color) for _, color in scale])
    fraction = min(max(fraction, 0.0), 1.0)
    mixed = [np.interp(fraction, stops, channel) for channel in colors.T]
    return "#" + "".join(f"{round(value):02X}" for value in mixed)


def color_ramp(scale: list[list], steps: int) -> list[str]:
    """`steps` colours evenly spaced along a plotly colour scale."""
    return [blend(scale, i / max(steps - 1, 1)) for i in range(steps)]


def _chunk(kind: bytes, data: bytes) -> bytes:
    check = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)


def png_data_uri(indices: np.ndarray, palette: list[str]) -> str:
    """A data URI of a PNG whose pixel [row, column] has colour palette[index]."""
    height, width = indices.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    colors = b"".join(bytes.fromhex(color[1:]) for color in palette)
    rows = b"".join(b"\0" + row.astype(np.uint8).tobytes() for row in indices)
    data = (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"PLTE", colors)
        + _chunk(b"IDAT", zlib.compress(rows, 9))
        + _chunk(b"IEND", b"")
    )
    return "data:image/png;base64," + base64.b64encode(data).decode()
