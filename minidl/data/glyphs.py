r"""The embedded data set: digits 0-9 or letters A-J, drawn from matplotlib's own fonts, 28x28.

It replaces MNIST (`digits`) and Fashion-MNIST (`letters`) where neither files nor a network
are available. Of each glyph we keep the signed distance d(q): pixels from the point q to the
outline, positive inside. The image at the pixel p, where (0, 0) is the middle of the image, is

    I(p) = clip(g clip(1/2 + (d(q) + t(p)) / e) (1 + n(p))),    q = A (p - s) + u(p)
    A    = [1/a 0; 0 1/b] [1 k; 0 1] R(phi),                    clip(v) = min(max(v, 0), 1)

    phi   rotation, -20 to 20 degrees          g   brightness, 0.8 to 1.2
    a, b  width and height, 0.7 to 1           e   width of the edge, 0.7 to 1.5 pixels
    k     slant, -0.2 to 0.4                   s   shift, -1 to 1 pixel along x and y
    u     elastic warp: 5x5 vectors of -2 to 2 pixels along x and y, bicubic in between
    t     pen, bolder if positive: (1.5 - max d) / 2, and 0.1 to 0.8, and -0.6 to 0.6 pixels
          that vary over the image as u does; the first term draws bold and light together
    n     roughness, N(0, 0.05) per pixel; on ink only: the background is 0 as in MNIST

Ranges are uniform. Before A is applied, the middle of the image is a glyph's centre of mass.
The glyph is as large as possible within 20x20 pixels, and no point is further than 11.5 pixels
from the centre of mass.

The test fonts, and other weights or slants of them, do not occur in training. They are the
four Times-like faces of STIX, and the sans and the typewriter of Computer Modern. The training
fonts are the twelve faces of DejaVu, and the romans and the italic of Computer Modern. Both
splits have sans, serif, fixed width, italic and bold. Left out: cmsy10, cmex10 (symbols in
these places), cmmi10 (old-style figures: its 1 is a small I), STIXSiz*, STIXNonUni* and
*Display (they lack the characters). Checked in tests/test_glyphs.py.
"""
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

CHARACTERS = {"digits": "0123456789", "letters": "ABCDEFGHIJ"}
FONTS = {
    "train": [f"DejaVu{face}" for face in (
        "Sans", "Sans-Bold", "Sans-Oblique", "Sans-BoldOblique", "SansMono", "SansMono-Bold",
        "SansMono-Oblique", "SansMono-BoldOblique", "Serif", "Serif-Bold", "Serif-Italic",
        "Serif-BoldItalic")] + ["cmr10", "cmb10", "cmti10"],
    "test": [f"STIXGeneral{face}" for face in ("", "Bol", "Italic", "BolIta")]
    + ["cmss10", "cmtt10"],
}
CHUNK = 1000      # images that share a generator
SIZE = 28         # pixels on a side of an image
REACH = 15        # d is tabulated on [-REACH, REACH]^2 every STEP pixels: R x R numbers
STEP = 0.5


def outline(font, character):
    """The S straight pieces of a glyph's outline, (S, 2 ends, xy) in pixels, y down."""
    file = Path(matplotlib.get_data_path(), "fonts", "ttf", f"{font}.ttf")
    rings = TextPath((0, 0), character, 40, FontProperties(fname=file)).to_polygons()
    start, end = (np.concatenate([ring[cut] for ring in rings]) * [1, -1]
                  for cut in (slice(-1), slice(1, None)))
    area = start[:, 0] * end[:, 1] - start[:, 1] * end[:, 0]    # holes run the other way
    centre = ((start + end) * area[:, None]).sum(axis=0) / (3 * area.sum())
    side, radius = np.ptp(start, axis=0).max(), np.linalg.norm(start - centre, axis=1).max()
    pieces = np.stack([start, end], axis=1) - centre
    return (pieces * min(20 / side, 11.5 / radius)).astype(np.float32)


def signed_distance(pieces):
    """(S, 2, 2) -> (R, R): distance of each grid point to the outline, positive inside."""
    axis = np.arange(-REACH, REACH + STEP, STEP, dtype=np.float32)
    x, y = np.tile(axis, len(axis))[:, None], np.repeat(axis, len(axis))[:, None]
    (ax, ay), (bx, by) = pieces[:, 0].T, pieces[:, 1].T
    dx, dy = bx - ax, by - ay
    along = ((x - ax) * dx + (y - ay) * dy) / np.maximum(dx**2 + dy**2, 1e-12)
    along = along.clip(0, 1)    # (R*R, S): where on each piece its nearest point lies
    square = (x - ax - along * dx) ** 2 + (y - ay - along * dy) ** 2
    # inside, a ray to the right crosses the outline more often in one direction
    left = (ax - x) * dy > (ay - y) * dx
    up, down = (ay <= y) & (by > y) & left, (ay > y) & (by <= y) & ~left
    inside, distance = up.sum(axis=1) != down.sum(axis=1), np.sqrt(square.min(axis=1))
    return np.where(inside, distance, -distance).reshape(len(axis), len(axis))


@cache
def table(kind, split):
    """The signed distances of all glyphs, (fonts, 10, R, R)."""
    return torch.from_numpy(np.stack([
        [signed_distance(outline(font, character)) for character in CHARACTERS[kind]]
        for font in FONTS[split]]))


def draw(d, generator):
    """One image of each glyph, by the equations above: (B, R, R) -> (B, 28, 28) in [0, 1]."""
    def uniform(low, high, *shape):
        random = torch.rand(len(d), *shape, generator=generator, dtype=d.dtype)
        return low + (high - low) * random

    a, b, k, phi = uniform(0.7, 1), uniform(0.7, 1), uniform(-0.2, 0.4), uniform(-20, 20)
    cos, sin = torch.deg2rad(phi).cos(), torch.deg2rad(phi).sin()
    A = torch.stack([(cos + k * sin) / a, (k * cos - sin) / a, sin / b, cos / b], dim=1)
    A = A.reshape(-1, 1, 1, 2, 2)
    axis = torch.arange(SIZE, dtype=d.dtype) - (SIZE - 1) / 2
    p = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1)    # (28, 28, xy)
    smooth = F.interpolate(uniform(-1, 1, 3, 5, 5), (SIZE, SIZE),
                           mode="bicubic", align_corners=True)    # (B, 3, 28, 28)
    u, wobble = 2 * smooth[:, :2].permute(0, 2, 3, 1), 0.6 * smooth[:, 2]
    q = (A * (p - uniform(-1, 1, 1, 1, 2)).unsqueeze(3)).sum(dim=4) + u    # (B, 28, 28, xy)
    d_q = F.grid_sample(d.unsqueeze(1), q / REACH, padding_mode="border",
                        align_corners=True).squeeze(1)
    t = (1.5 - d.amax((1, 2))[:, None, None]) / 2 + uniform(0.1, 0.8, 1, 1) + wobble
    ink = (0.5 + (d_q + t) / uniform(0.7, 1.5, 1, 1)).clamp(0, 1)
    n = 0.05 * torch.randn(ink.shape, generator=generator, dtype=d.dtype)
    return (uniform(0.8, 1.2, 1, 1) * ink * (1 + n)).clamp(0, 1)


def chunk(kind, split, index):
    """Images CHUNK * index and on: x (CHUNK, 28, 28), y (CHUNK,), each class equally often."""
    key = [0, list(CHARACTERS).index(kind), list(FONTS).index(split), index]
    generator = torch.Generator().manual_seed(
        int(np.random.SeedSequence(key).generate_state(1)[0]))
    y = torch.randperm(CHUNK, generator=generator) % 10
    font = torch.randint(len(FONTS[split]), (CHUNK,), generator=generator)
    x = draw(table(kind, split)[font, y], generator)
    return (255 * x).round().byte().numpy(), y.byte().numpy()


@cache
def generate(kind, split, n):
    """x (n, 28, 28), y (n,), uint8 numpy: the first n of an endless list, the same each time.

    Torch's global generator is neither read nor changed.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)    # many small steps: threads gain little, and lose on a busy CPU
    try:
        chunks = [chunk(kind, split, index) for index in range(-(-n // CHUNK))]
    finally:
        torch.set_num_threads(threads)
    return tuple(np.concatenate(parts)[:n] for parts in zip(*chunks, strict=True))
