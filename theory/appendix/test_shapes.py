r"""How large is a tensor, what does it see, how many parameters does it take?

Result. On one axis with n inputs, kernel k, stride s, padding p and dilation d, a convolution
has m = floor((n + 2p - d(k-1) - 1) / s) + 1 outputs. A transposed convolution of m inputs has
(m-1) s - 2p + d(k-1) + 1 + output_padding.

(1) Window i reads the positions i s, ..., i s + d(k-1) of the padded input 0, ..., n + 2p - 1.
    It fits while i s + d(k-1) <= n + 2p - 1, which gives m, if the first one fits (Murphy
    14.10, 14.12, 14.25). Pooling is the same with s = k.
(2) The floor forgets r = (n + 2p - d(k-1) - 1) mod s. The inputs with the same m are
    (m-1) s - 2p + d(k-1) + 1 + r for r = 0, ..., s-1: s neighbours, less those below 1. A
    transposed convolution leads back to one of them, and output_padding is the choice of r.
(3) "same" at s = 1 takes d(k-1) zeros for m = n. Half of them stand on each side only if
    d(k-1) is even: k odd or d even. Otherwise torch puts one more on the right, and
    numpy.convolve puts its kernel one step elsewhere.
(4) The receptive field. Neighbours in layer l are J_l = s_1 ... s_l inputs apart, and a kernel
    of layer l spans (k_l - 1) d_l steps of J_{l-1} inputs. So each output of L layers sees
    1 + sum_l (k_l - 1) d_l J_{l-1} inputs, output o from o J_L - sum_l p_l J_{l-1} on. This
    uses that weights are positive, so that no two paths cancel, and that the span is inside
    the input.
(5) A span may have holes: k = 3, d = 2 reads every second input. With k = 2 and d = 1, 2, 4,
    ... each input is reached by one path, the binary digits of its distance, so L layers see
    2^L: 16 for L = 4 and 1024 for L = 10 in WaveNet.
(6) Assignment 8, exercise 2. "same" keeps and pooling halves: 28, 14, 7 and floor(7/2) = 3.
    Row and column 6 of the 7x7 map are never read. The mirror with k = 3, s = 2 needs by (2)
    no padding for 3 to 7, and padding = 1, output_padding = 1 for 7 to 14 and 14 to 28.
(7) Parameters with C channels to O: O (C k^2 + 1) for both kinds of convolution, m (n + 1) for
    a fully connected layer, h (d + h + 2) for torch's recurrent layer, which has two biases.

Check. (1) to (3) for all n <= 8, k <= 4, s <= 3, p <= 3, d <= 3, those that must raise too.
(4) on exact supports, but of stacks that were drawn: evidence. (5) to (7) are finite.
"""

import itertools
import random
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from kit import D, claim, eye, holds, ints, jacobian, refuted, same, vector
from torch import nn

from minidl import conv
from minidl.conv import output_size, transposed_size
from minidl.fields import receptive_field
from minidl.lab.layers import parameter_count

GRID = list(itertools.product(range(1, 9), range(1, 5), (1, 2, 3), (0, 1, 2, 3), (1, 2, 3)))


def or_none(f, *arguments):
    """f(*arguments), None where it refuses them."""
    try:
        return f(*arguments)
    except (ValueError, RuntimeError):
        return None


def size_by(layer):
    """The length that a convolution layer really gives, as a function of (n, k, s, p, d)."""
    def size(n, k, *geometry):
        x, w = torch.empty(1, 1, n, dtype=D), torch.empty(1, 1, k, dtype=D)
        return layer(x, w, None, *geometry).numel()  # one example, one channel
    return size


def transposed_size_by(layer):
    """The length of a transposed convolution, as a function of (m, k, s, p, extra, d)."""
    def size(m, k, s, p, extra, d):
        y, w = torch.empty(1, 1, m, dtype=D), torch.empty(1, 1, k, dtype=D)
        return layer(y, w, None, s, p, extra, 1, d).numel()
    return size


def ones_stack(conv1d, x, layers):
    """Layers (k, s, p, d) with all weights 1 on x (B, n): (B, m)."""
    for k, s, p, d in layers:
        x = conv1d(x[:, None], torch.ones(1, 1, k, dtype=D), None, s, p, d)[:, 0]
    return x


@claim(47, "exact")
def test_conv_output_size_formula():
    """(1) against counted windows: our formula, the lengths that our and torch's layers give;
    all refuse where no window fits. Refuted: ceil, no dilation, p for 2p."""
    def check(size):
        for n, k, s, p, d in GRID:
            windows = sum(i * s + d * (k - 1) <= n + 2 * p - 1 for i in range(n + 2 * p))
            found = or_none(size, n, k, s, p, d)
            holds(found == (windows or None), f"{(n, k, s, p, d)}: {found}, {windows} windows")

    def broken(formula):
        return lambda *case: formula(*case) if or_none(output_size, *case) else None

    for size in output_size, size_by(conv.conv1d), size_by(F.conv1d):
        check(size)
    refuted(check, broken(lambda n, k, s, p, d: -((n + 2*p - d*(k - 1) - 1) // -s) + 1),
            broken(lambda n, k, s, p, d: (n + 2 * p - k) // s + 1),
            broken(lambda n, k, s, p, d: (n + p - d * (k - 1) - 1) // s + 1))


@claim(48, "exact")
def test_transposed_output_size_and_output_padding_restore_the_size():
    """(2): the n that (1) takes to m, by search, are those of output_padding = 0 .. s-1, and
    each comes back by its r; max(s, d) is refused. Refuted: output_padding, 2p, d left out."""
    fibres = {}
    for n, rest in itertools.product(range(1, 40), sorted({case[1:] for case in GRID})):
        fibres.setdefault((or_none(output_size, n, *rest), *rest), []).append(n)

    def check(size):
        for m, k, s, p, d in GRID:
            fibre = fibres.get((m, k, s, p, d), [])  # empty where all of it is below 1
            sizes = [or_none(size, m, k, s, p, r, d) for r in range(s)]
            message = f"{(m, k, s, p, d)}: {sizes}, not {fibre}"
            holds([n for n in sizes if n] == fibre, message)
            holds(len(fibre) == s or fibre[:1] in ([], [1]), message)
            for n in fibre:
                r = (n + 2 * p - d * (k - 1) - 1) % s
                holds(size(m, k, s, p, r, d) == n, f"{(n, k, s, p, d)} does not come back")

    for size in (transposed_size, transposed_size_by(conv.conv_transpose1d),
                 transposed_size_by(F.conv_transpose1d)):
        check(size)
        for m, k, s, p, d in GRID:
            holds(or_none(size, m, k, s, p, max(s, d), d) is None, f"{(m, k, s, p, d)}")
    refuted(check, lambda m, k, s, p, r, d: transposed_size(m, k, s, p, 0, d),
            lambda m, k, s, p, r, d: transposed_size(m, k, s, 0, r, d),
            lambda m, k, s, p, r, d: transposed_size(m, k, s, p, r, 1))


@claim(49, "exact")
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
def test_same_padding_is_symmetric_only_for_odd_kernels():
    """(3): torch's "same" on all unit x and kernels 1, 2, ..; no p restores n where d(k-1) is
    odd. numpy's starts (k-1)//2 into the full convolution. Refuted: the extra zero on the
    left, d ignored."""
    def check(left):
        for n, k, d in itertools.product(range(4, 8), range(1, 5), (1, 2, 3)):
            x, w = eye(n)[:, None], torch.arange(1, k + 1, dtype=D)[None, None]
            total = d * (k - 1)
            padded = F.pad(x, (left(k, d), total - left(k, d)))
            by_torch = F.conv1d(x, w, dilation=d, padding="same")
            for layer in conv.conv1d, F.conv1d:
                same(layer(padded, w, None, 1, 0, d), by_torch)
            found = [p for p in range(9) if or_none(output_size, n, k, 1, p, d) == n]
            holds(found == ([] if total % 2 else [total // 2]), f"{(n, k, d)}: {found}")

    check(lambda k, d: d * (k - 1) // 2)
    refuted(check, lambda k, d: (d * (k - 1) + 1) // 2, lambda k, d: (k - 1) // 2)
    for k in range(1, 5):
        x, h = np.eye(7)[3], np.arange(1.0, k + 1)
        same(np.convolve(x, h, "same"), np.convolve(x, h)[(k - 1) // 2:][:7])


@claim(50, "integers")
def test_receptive_field_formula_equals_gradient_support():
    """(4) for 60 stacks of up to 4 layers, drawn once: the first and the last derivative that
    is not 0, of each output whose span is inside; by unit steps on ours, 20 by autograd on
    torch's too. Refuted: no jump, the layer's own jump, a start without padding or jump."""
    draw, n, stacks = random.Random(0).randint, 60, []
    while len(stacks) < 60:
        layers = [(draw(1, 4), draw(1, 3), draw(0, 2), draw(1, 2)) for _ in range(draw(1, 4))]
        J = or_none(ones_stack, conv.conv1d, eye(n), layers)
        if J is not None and J.shape[1] > 2:
            stacks.append((layers, J.T))

    def check(field):
        inside = 0
        for layers, J in stacks:
            size, jump, start = field(layers)
            for o, row in enumerate(J):
                first, last = start + o * jump, start + o * jump + size - 1
                if first >= 0 and last < n:
                    inside += 1
                    seen = row.nonzero()[[0, -1], 0].tolist()
                    holds(seen == [first, last], f"{layers}: {seen}, not {[first, last]}")
        holds(inside > 300, f"only {inside} outputs")

    for layers, J in stacks[:20]:
        same(jacobian(partial(ones_stack, F.conv1d, layers=layers), ints(1, n)), J)
    check(receptive_field)

    def broken(layers, grow, shift):
        size, jump, start = 1, 1, 0
        for k, s, p, d in layers:
            size, start = size + (k - 1) * d * grow(jump, s), start - p * shift(jump)
            jump *= s
        return size, jump, start

    refuted(check, lambda layers: broken(layers, lambda jump, s: 1, lambda jump: jump),
            lambda layers: broken(layers, lambda jump, s: jump * s, lambda jump: jump),
            lambda layers: broken(layers, lambda jump, s: jump, lambda jump: 0))


@claim(51, "exact")
def test_dilated_receptive_field_has_holes_and_wavenet_reaches_16_and_1024():
    """(5): with weights 1 the derivative counts paths. Doubling: one from each of 2^L inputs.
    Refuted: no dilation (binomial numbers of paths), a start at 2 (every second input), and
    tripling (holes)."""
    def paths(layers):
        x = torch.ones(1, receptive_field(layers)[0], dtype=D, requires_grad=True)
        return torch.autograd.grad(ones_stack(F.conv1d, x, layers).sum(), x)[0][0]

    def check(dilation):
        for L, size in (4, 16), (10, 1024):
            found = paths([(2, 1, 0, dilation(i)) for i in range(L)])
            same(found, torch.ones_like(found), constant=True)
            holds(len(found) == size, f"{L} layers see {len(found)}")

    check(lambda i: 2**i)
    refuted(check, lambda i: 1, lambda i: 2**(i + 1), lambda i: 3**i)
    same(paths([(3, 1, 0, 2)]), vector(1, 0, 1, 0, 1))
    same(paths([(2, 1, 0, 1)] * 4), vector(1, 4, 6, 4, 1))


def s4_encoder(pool):
    """Assignment, exercise 2: Conv2D(16), (32), (64), each 3x3, same, selu, then a pool."""
    return nn.Sequential(nn.Conv2d(1, 16, 3, padding="same"), nn.SELU(), pool,
                         nn.Conv2d(16, 32, 3, padding="same"), nn.SELU(), pool,
                         nn.Conv2d(32, 64, 3, padding="same"), nn.SELU(), pool)


def s4_decoder(paddings):
    """Its mirror; paddings: (padding, output_padding) of each transposed convolution."""
    first, second, third = paddings
    return nn.Sequential(nn.ConvTranspose2d(64, 32, 3, 2, *first), nn.SELU(),
                         nn.ConvTranspose2d(32, 16, 3, 2, *second), nn.SELU(),
                         nn.ConvTranspose2d(16, 1, 3, 2, *third))


@claim(52, "exact")
def test_s4_encoder_28_14_7_3_drops_the_last_row_and_decoder_restores_28():
    """(6): sizes by the formula and by running each layer; each pixel of the 7x7 map raised in
    turn, to see which are read; all paddings tried for those that restore a size. Refuted:
    pools with ceil or padding; the same paddings three times."""
    def shapes(model, x):  # (C, H, W) behind each layer
        return [tuple((x := layer(x)).shape[1:]) for layer in model]

    def check_encoder(pool):
        found = shapes(s4_encoder(pool), torch.zeros(1, 1, 28, 28))
        expected = []
        for C, n, m in (16, 28, 14), (32, 14, 7), (64, 7, 3):
            holds(output_size(n, 2, 2) == m)
            expected += [(C, n, n), (C, n, n), (C, m, m)]
        holds(found == expected, f"{found}")
        raised = 1.0 * torch.eye(49).reshape(49, 1, 7, 7)
        read = pool(raised).flatten(1).any(1).reshape(7, 7)
        same(read, torch.outer(torch.arange(7) < 6, torch.arange(7) < 6))

    check_encoder(nn.MaxPool2d(2))
    refuted(check_encoder, nn.MaxPool2d(2, ceil_mode=True), nn.MaxPool2d(3, 2, 1))

    def check_decoder(paddings):
        for m, n, padding in zip((3, 7, 14), (7, 14, 28), paddings, strict=True):
            restoring = [(p, q) for p, q in itertools.product(range(4), range(2))
                         if or_none(transposed_size, m, 3, 2, p, q) == n]
            holds(restoring == [padding], f"{m} -> {n} needs {restoring}")
        found = shapes(s4_decoder(paddings), torch.zeros(1, 64, 3, 3))
        holds(found == [(32, 7, 7)] * 2 + [(16, 14, 14)] * 2 + [(1, 28, 28)], f"{found}")

    check_decoder([(0, 0), (1, 1), (1, 1)])
    refuted(check_decoder, [(1, 1)] * 3, [(0, 0)] * 3)


@claim(53, "exact")
def test_parameter_counts_of_the_sheet_models():
    """(7) on the report's ConvVAE, the assignment's autoencoder, convolutional encoder and
    recurrent layer, and on torch's modules. Refuted: no biases, those of a transposed
    convolution per input channel, one bias in the recurrent layer."""
    code = 32 * output_size(28, 3)**2  # in_features=21632
    trunk = nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Flatten())
    heads = nn.ModuleList([nn.Linear(code, 20), nn.Linear(code, 20)])  # fc21, fc22
    decoder = nn.Sequential(nn.Linear(20, code), nn.ReLU(), nn.Unflatten(1, (32, 26, 26)),
                            nn.ConvTranspose2d(32, 1, 3))
    fc_autoencoder = nn.Sequential(
        nn.Linear(784, 100), nn.SELU(), nn.Linear(100, 30), nn.SELU(),
        nn.Linear(30, 100), nn.SELU(), nn.Linear(100, 784))
    models = [nn.ModuleList([trunk, heads, decoder]), fc_autoencoder,
              s4_encoder(nn.MaxPool2d(2)), nn.RNN(100, 256)]
    holds(decoder(heads[0](trunk(torch.zeros(1, 1, 28, 28)))).shape == (1, 1, 28, 28))

    def check(formulas):
        conv, transposed, fc, rnn = formulas
        by_formula = [conv(1, 32, 3) + 2 * fc(code, 20) + fc(20, code) + transposed(32, 1, 3),
                      fc(784, 100) + fc(100, 30) + fc(30, 100) + fc(100, 784),
                      conv(1, 16, 3) + conv(16, 32, 3) + conv(32, 64, 3), rnn(100, 256)]
        same(by_formula, [parameter_count(model) for model in models])
        same(by_formula, [1_320_201, 163_814, 23_296, 91_648])

    def conv_count(C, out, k):
        return out * (C * k**2 + 1)

    def fc_count(n, m):
        return m * (n + 1)

    def rnn_count(d, h):
        return h * (d + h + 2)

    check((conv_count, conv_count, fc_count, rnn_count))
    refuted(check, (lambda C, out, k: out * C * k**2, conv_count, fc_count, rnn_count),
            (conv_count, lambda C, out, k: C * (out * k**2 + 1), fc_count, rnn_count),
            (conv_count, conv_count, lambda n, m: m * n, rnn_count),
            (conv_count, conv_count, fc_count, lambda d, h: h * (d + h + 1)))
