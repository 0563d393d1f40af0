"""minidl/conv.py against torch, plain loops and differences; and the checker of the last."""

import itertools
import math
import re
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from minidl.conv import (
    conv1d,
    conv2d,
    conv_transpose1d,
    conv_transpose2d,
    convolve_loops,
    correlate_loops,
    correlate_loops_2d,
    output_size,
    transposed_size,
)
from minidl.gradcheck import check_gradient

# Integers in float64: every product and partial sum is exact, so "equal" means every bit.
pytestmark = pytest.mark.numeric


def ints(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-9, 10, shape, generator=generator).double()


def agree(ours, torchs, *arguments):
    """Both raise, or both give the same tensor, which is returned."""
    try:
        expected = torchs(*arguments)
    except RuntimeError:
        with pytest.raises(ValueError, match=r"^found .*, expected "):
            ours(*arguments)
        return None
    found = ours(*arguments)
    assert found.shape == expected.shape and torch.equal(found, expected), (
        f"\n{[a if not torch.is_tensor(a) else tuple(a.shape) for a in arguments]}"
        f"\nfound    {found.tolist()}\nexpected {expected.tolist()}")
    return found


def test_conv1d_is_torch_on_every_small_size():
    results = []
    for n, k, s, p, d, groups in itertools.product(
            range(1, 7), (1, 2, 3), (1, 2, 3), (0, 1, 2), (1, 2), (1, 2)):
        x, w, b = ints(2, 4, n, seed=n), ints(6, 4 // groups, k, seed=k + 9), ints(6, seed=20)
        y = agree(conv1d, F.conv1d, x, w, b, s, p, d, groups)
        assert y is None or y.shape == (2, 6, output_size(n, k, s, p, d))
        results.append(y is None)
    assert any(results) and not all(results)  # both kinds were met


def test_the_layers_are_torchs_with_different_numbers_on_the_two_axes():
    x, x2, results = ints(2, 4, 5, 6), ints(2, 6, 3, 4), []
    pairs = (1, (1, 2), (2, 1), (3, 2))
    for kernel, s, p, d, groups in itertools.product(
            ((1, 1), (2, 3), (3, 2)), pairs, (0, (0, 1), (2, 0), (3, 1)), pairs, (1, 2)):
        w, b = ints(6, 4 // groups, *kernel, seed=1), ints(6, seed=2)
        results.append(agree(conv2d, F.conv2d, x, w, b, s, p, d, groups))
        for extra in (0, 1, (1, 0), (0, 2)):
            arguments = x2, w, b[:4], s, p, extra, groups, d
            results.append(agree(conv_transpose2d, F.conv_transpose2d, *arguments))
    refused = [y is None for y in results]
    assert any(refused) and not all(refused)


@pytest.mark.parametrize(("ours", "torchs"), [
    (conv2d, F.conv2d), (conv_transpose2d, F.conv_transpose2d)])
@pytest.mark.parametrize(("size", "kernel"), [((9, 8), (7, 6)), ((9, 9), (6, 6))])
def test_convolutions_with_wide_kernels_many_channels_and_groups_are_torchs(
        ours, torchs, size, kernel):
    """Integers, so every bit: the layer, and its gradients by x, w and b."""
    x, w, b = ints(2, 10, *size), ints(10, 2, *kernel, seed=1), ints(10, seed=2)
    found = []
    for layer in (ours, torchs):
        leaves = [v.clone().requires_grad_() for v in (x, w, b)]
        y = layer(*leaves, stride=(3, 2), padding=(3, 2), groups=5)
        found.append([y, *torch.autograd.grad(y, leaves, ints(*y.shape, seed=3))])
    for a, b in zip(*found, strict=True):
        assert torch.equal(a, b)


def test_conv2d_is_the_plain_loops():
    """The oracle that shares no code with torch: the defining sum, read aloud."""
    x, w = ints(5, 7, seed=1), ints(2, 3, seed=2)
    for settings in itertools.product(((1, 1), (2, 3)), ((0, 0), (1, 2)), ((1, 1), (2, 1))):
        y = conv2d(x[None, None], w[None, None], None, *settings)[0, 0]
        assert y.tolist() == correlate_loops_2d(x.tolist(), w.tolist(), *settings)
    y = conv2d(x[None, None], w[None, None])[0, 0]
    assert y.tolist() == correlate_loops_2d(x.tolist(), w.tolist())


def test_the_loops_are_numpy_and_take_integers_of_any_size():
    x, h = [1000**(3 * i) + i for i in range(60)], [-3, 10**30, 7, *range(20)]
    X, H, H_dilated = (np.array(v, dtype=object) for v in (x, h, [0] * 45))
    X_padded, H_dilated[::2] = np.array([0, *x, 0]), h
    assert convolve_loops(x, h) == convolve_loops(h, x) == np.convolve(X, H).tolist()
    assert correlate_loops(x, h) == np.correlate(X, H).tolist()
    assert correlate_loops(x, h, 2, 1) == np.correlate(X_padded, H).tolist()[::2]
    assert correlate_loops(x, h, dilation=2) == np.correlate(X, H_dilated).tolist()


LAYERS = [  # a layer, the shapes of its x, w and b, its settings
    (conv1d, (2, 4, 5), (6, 2, 3), (6,), {"stride": 2, "padding": 1, "groups": 2}),
    (conv2d, (1, 2, 3, 4), (3, 2, 2, 3), (3,), {}),
    (conv2d, (2, 2, 3, 4), (4, 1, 2, 3), (4,),
     {"stride": (1, 2), "padding": (1, 0), "dilation": (2, 1), "groups": 2}),
    (conv_transpose1d, (2, 4, 3), (4, 1, 2), (2,),
     {"stride": 2, "padding": 1, "output_padding": 1, "groups": 2}),
    (conv_transpose2d, (1, 3, 2, 3), (3, 2, 1, 2), (2,), {}),
    (conv_transpose2d, (2, 2, 2, 3), (2, 2, 3, 2), (4,),  # output_padding >= stride
     {"padding": (1, 0), "output_padding": (0, 1), "groups": 2, "dilation": (1, 2)})]


def layers():
    for layer, x, w, b, settings in LAYERS:
        yield partial(layer, **settings), (ints(*x), ints(*w, seed=1), ints(*b, seed=2))


def gradient_of(f, g):
    """The gradient of L = sum g f(...) by all inputs, in one vector, itself differentiable."""
    def gradient(*inputs):
        parts = torch.autograd.grad((f(*inputs) * g).sum(), inputs, create_graph=True)
        return torch.cat([part.flatten() for part in parts])
    return gradient


def test_gradients_of_both_orders_are_difference_quotients():
    """The layers are linear in each input: steps of 1 are exact, to first and second order."""
    for f, inputs in layers():
        check_gradient(f, *inputs, step=1.0, tolerance=0)
        g = ints(*f(*inputs).shape, seed=4)
        check_gradient(gradient_of(f, g), *inputs, step=1.0, tolerance=0)


class Cube(torch.autograd.Function):
    """x^3, whose derivatives of first and second order are multiplied by given errors."""

    @staticmethod
    def forward(ctx, x, first, second):
        ctx.save_for_backward(x)
        ctx.errors = first, second
        return x**3

    @staticmethod
    def backward(ctx, g):
        x, = ctx.saved_tensors
        first, second = ctx.errors
        # its value is 3 x^2, its derivative is 6 x times `second`
        square = second * x**2 + ((1 - second) * x**2).detach()
        return 3 * first * square * g, None, None


X = torch.tensor([[0.5, -1.25, 2.0], [1.5, -0.75, 3.0]], dtype=torch.float64)


def test_the_checker_accepts_right_derivatives():
    def cube(x):
        return Cube.apply(x, 1, 1)
    check_gradient(cube, X)
    check_gradient(gradient_of(cube, X), X)
    check_gradient(lambda x, y: x.sin() @ y.exp().T, X, X[:1] / 3)
    check_gradient(cube, X.T)  # not contiguous
    check_gradient(lambda x: x + 1e6, X)  # the quotient is off by the rounding of 1e6


@pytest.mark.parametrize("error", [1.0005, 0.9995, 0, -1])
def test_the_checker_refuses_a_derivative_wrong_by_a_twentieth_of_a_percent(error):
    """... of first or second order, and says both sides: at x = 0.5 that of x^3 is 0.75."""
    with pytest.raises(AssertionError) as caught:
        check_gradient(lambda y, x: y.sum() + Cube.apply(x, error, 1).sum(), X, X)
    sides = re.match(r"d f\[0\] / d input1\[0\] is (\S+) by autograd and (\S+) by differences:"
                     r".*; 6 of 6 are off", str(caught.value))
    # the differences are off by h^2 = 1e-10 and by rounding, 2^-53 * 55 / h
    assert [float(side) for side in sides.groups()] == pytest.approx([0.75 * error, 0.75],
                                                                     abs=1e-8)

    def cube(x):
        return Cube.apply(x, 1, error)
    check_gradient(cube, X)  # the first derivative is right
    with pytest.raises(AssertionError, match=r"d f\[0\] / d input0\[0\]"):
        check_gradient(gradient_of(cube, X), X)


def test_the_checker_refuses_nan_and_detached_results():
    with pytest.raises(AssertionError, match="is nan by autograd"):
        check_gradient(lambda x: Cube.apply(x, float("nan"), 1), X)
    with pytest.raises(AssertionError, match=r"is 0\.0 by autograd"):
        check_gradient(lambda x: x.detach() ** 3, X)
    with pytest.raises(ValueError, match=r"torch\.float32"):
        check_gradient(torch.sin, X.float())


class Linear(torch.autograd.Function):
    """A x, with A + error as its derivative."""

    @staticmethod
    def forward(ctx, x, A, error):
        ctx.save_for_backward(A + error)
        return A @ x

    @staticmethod
    def backward(ctx, g):
        A, = ctx.saved_tensors
        return A.T @ g, None, None


@pytest.mark.parametrize("size", [(1, 3), (4, 4), (60, 2)])
@pytest.mark.parametrize("error", [1e-3, math.inf])
def test_the_checker_finds_one_wrong_derivative_in_every_place(size, error):
    """By the second and third input, of the first and last outputs, by each number."""
    A, x = ints(*size) + 10, ints(size[1], seed=1)

    def f(first, *inputs):
        return first + sum(map(Linear.apply, inputs, [A, A], errors))

    outputs = {0, size[0] // 2, size[0] - 1}
    for number, i, j in itertools.product(range(2), outputs, range(size[1])):
        errors = torch.zeros(2, *size, dtype=torch.float64)
        errors[number, i, j] = error
        where = rf"d f\[{i}\] / d input{number + 1}\[{j}\]"
        with pytest.raises(AssertionError, match=where if error < 1 else "autograd"):
            check_gradient(f, ints(size[0]), x, x)
    errors = torch.zeros(2, *size, dtype=torch.float64)
    check_gradient(f, ints(size[0]), x, x)


def small(*shape, seed=0):
    """-1, 0, 1 in float32: sums of up to 256 products are exact even in bfloat16."""
    return (ints(*shape, seed=seed) % 3 - 1).float().requires_grad_()


@pytest.mark.parametrize(("ours", "torchs"), [
    (conv2d, F.conv2d), (conv_transpose2d, F.conv_transpose2d)])
def test_autocast_and_torch_func_take_the_layers_as_they_take_torchs(ours, torchs):
    inputs = small(2, 4, 3, 4), small(4, 4, 2, 3, seed=1), small(4, seed=2)
    found = []
    for layer in (ours, torchs):
        with torch.autocast("cpu", torch.bfloat16):
            y = layer(*inputs)
            assert y.dtype == torch.bfloat16
            assert layer(*(v.double() for v in inputs)).dtype == torch.float64  # never cast
        stacked = [torch.stack([v, -v]) for v in inputs]
        found.append([y, *torch.autograd.grad(y.sum(), inputs),
                      torch.func.vmap(layer)(*stacked),
                      *torch.func.jacrev(layer, argnums=(0, 1, 2))(*inputs)])
    for a, b in zip(*found, strict=True):
        assert a.dtype == b.dtype and torch.equal(a, b)


def test_numpys_integers_are_integers():
    x, w = ints(2, 4, 5, 6), ints(4, 2, 2, 3, seed=1)
    for layer, settings in ((conv2d, (2, 1, (1, 2), 2)), (conv_transpose2d, (2, 1, 1, 2, 1))):
        numpys = [tuple(map(np.int64, v)) if v == (1, 2) else np.int64(v) for v in settings]
        assert torch.equal(layer(x, w, None, *numpys), layer(x, w, None, *settings))


x, w, b = torch.ones(2, 4, 5), torch.ones(6, 2, 3), torch.ones(6)
x2, w2 = x[:, :, None], w[:, :, None]


@pytest.mark.parametrize(("found", "call"), [
    ("x (4, 5, 1), w (6, 2, 1, 3), expected 4", lambda: conv1d(x[0], w)),
    ("x (2, 4, 1, 5), w (6, 2, 3), expected 4", lambda: conv_transpose2d(x2, w)),
    ("4 channels, b of shape (6,), expected 2, (6,) and 1 groups", lambda: conv1d(x, w)),
    ("4 channels, b of shape (6,), expected 4, (2,)", lambda: conv_transpose1d(x, w[:4], b)),
    ("torch.float32, torch.float64 and torch.float32",
     lambda: conv1d(x, w.double(), b, groups=2)),
    ("groups=2.0", lambda: conv1d(x, w, groups=2.0)),
    ("stride=0", lambda: conv1d(x, w, stride=0, groups=2)),
    ("stride=(1, 2, 3)", lambda: conv2d(x2, w2, stride=(1, 2, 3), groups=2)),
    ("padding='same'", lambda: conv2d(x2, w2, padding="same", groups=2)),
    ("3 values with padding, expected at least the 5",
     lambda: output_size(1, 3, padding=1, dilation=2)),
    ("padding=2, which leaves 0", lambda: transposed_size(2, 3, padding=2))])
def test_what_does_not_fit_is_refused_by_its_name(found, call):
    with pytest.raises(ValueError, match="^found " + re.escape(found)):
        call()
