"""A figure of few bytes, in few colours: the eye sees next to no difference."""

import itertools
import struct
import zlib

import numpy as np
from matplotlib import image

MOST = 60_000       # bytes of a picture
COLOURS = 256       # a palette's


def small(path):
    """A PNG file's bytes, at most MOST: as it is, in fewer colours, then in fewer pixels."""
    content, pixels = path.read_bytes(), image.imread(path)[..., :3]
    steps = ((k, bits) for k in itertools.count(1) for bits in (5, 4, 3))
    while len(content) > MOST:
        k, bits = next(steps)
        H, W = (n // k for n in pixels.shape[:2])
        x = pixels[:H * k, :W * k].reshape(H, k, W, k, 3).mean((1, 3))  # k x k pixels to one
        content = _png(*in_few_colours(x, bits))
    return content


def in_few_colours(x, bits):
    """(H, W, 3) in [0, 1] -> indices (H, W), palette (256, 3): the commonest colours of x, of
    so many bits of red, green and blue each. Any other one becomes the nearest of those."""
    top = (1 << bits) - 1
    red, green, blue = np.rint(top * x).astype(np.int32).transpose(2, 0, 1)
    codes = red << 2 * bits | green << bits | blue
    counts = np.bincount(codes.ravel(), minlength=1 << 3 * bits)
    present = np.flatnonzero(counts)
    often = present[np.argsort(-counts[present], kind="stable")[:COLOURS]]
    a, b = (np.stack([codes >> 2 * bits, codes >> bits & top, codes & top], axis=1)
            for codes in (present, often))
    nearest = np.zeros(len(counts), np.uint8)
    nearest[present] = ((b * b).sum(axis=1) - 2 * a @ b.T).argmin(axis=1)  # |a - b|^2 - |a|^2
    return nearest[codes], (b * 255 // top).astype(np.uint8)


def _png(indices, palette):
    H, W = indices.shape
    lines = np.pad(indices, ((0, 0), (1, 0))).tobytes()     # 0: the line is not filtered
    content = b"\x89PNG\r\n\x1a\n"
    for kind, chunk in ((b"IHDR", struct.pack(">IIBBBBB", W, H, 8, 3, 0, 0, 0)),
                        (b"PLTE", palette.tobytes()), (b"IDAT", zlib.compress(lines, 9)),
                        (b"IEND", b"")):
        content += (struct.pack(">I", len(chunk)) + kind + chunk
                    + struct.pack(">I", zlib.crc32(kind + chunk)))
    return content
