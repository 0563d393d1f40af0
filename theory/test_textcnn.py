r"""Exercise 5: the 1-D CNN of Figure 15.14: its forward pass, sizes and parameter count.

Result. For one sentence of 11 words, windows of k = 2 and k = 4 words with C_2 = 4 and C_4 = 5
channels, and indices from 0, the network evaluates

    X = E[w]                                    (11, 6)              the embedded words
    Z^k[i,c] = b^k[c] + sum_{u<k} sum_{d<6} W^k[c,d,u] X[i+u,d]      with 0 <= i <= 11 - k
    A^k = relu(Z^k)                             (10, 4) and (8, 5)   as Z^2 and Z^4
    m^k[c] = max_i A^k[i,c]                     (4,) and (5,)        maximum over time
    m = [m^2, m^4]                              (9,)                 one after the other
    o = V m + a                                 (2,)                 the logits
    p = softmax(o)                              (2,)                 the two polarities

It has 197 trainable parameters: weights 4*6*2 + 5*6*4 + 2*9 = 48 + 120 + 18 = 186 and biases
4 + 5 + 2 = 11. An embedding table that is trained adds 6 for each word of the vocabulary,
whose size the figure does not give. Sentence length, ReLU, pooling and softmax add none (81).

A batch of B sentences in torch: w (B, 11), X (B, 6, 11), Z and A (B, 4, 10) and (B, 5, 8),
then (B, 4) and (B, 5), m (B, 9), o and p (B, 2). The sizes 10 = 11 - 2 + 1 and 8 = 11 - 4 + 1
are printed in the figure, which is d2l.ai's TextCNN figure (not the often copied picture of
Zhang and Wallace: 7 words of 5 numbers, windows of 2, 3 and 4).

The sources disagree in three points.
(a) Window. The text sums X[i-k .. i+k], which is 2k+1 words, with borders left open. The
    figure has k words and T-k+1 outputs. We follow the figure, torch's padding = 0.
(b) Pooling. Figure and text take the maximum over time. d2l's PyTorch cell says so, but its
    code has nn.AdaptiveAvgPool1d, the mean. We take the maximum; for the mean (3) is false.
(c) Order. d2l applies ReLU after pooling. With the maximum that changes nothing, with the mean
    it does, by (2). We apply ReLU first.

Why these are not a matter of taste.
(1) A window reads all D numbers of k words and slides along one axis: Z^k is the 2-D
    correlation of the one-channel image X with a k x D image (83).
(2) If f does not decrease, f(z_i) <= f(max z) for all i, with equality at the largest z_i. So
    max_i f(z_i) = f(max_i z_i). A mean is not a z_i, and |z| does decrease (84).
(3) m^k depends on the set of windows only, not on their order or number. A phrase with k-1
    zero words on either side, and a window of zeros or more, makes the same set wherever it
    stands (85). Without them zeros at the end make new windows, which may win.
(4) If one window j alone is the largest and Z^k[j,c] > 0, the derivative of m^k[c] by X[j+u,d]
    is W^k[c,d,u], and it is 0 at all other words (86).
(5) X = onehot(w) E, so dL/dE = onehot(w)^T dL/dX: what reaches a word twice adds up (87).

Check. Integers without rounding, at the figure's own sizes. Random ones are evidence.
(84) is proven for all 125 cases of three windows in {-2..2}. Murphy (2022), 15.3.1.
"""
# sheet: S4.5a, S4.5b

import pytest
import torch
import torch.nn.functional as F
from kit import D, claim, grid, holds, ints, jacobian, refuted, same, vector
from torch import nn

from minidl import conv

WORDS, CLASSES = 13, 2   # the size of the vocabulary is ours
CHANNELS = {2: 4, 4: 5}  # k: C_k


def convolve(X, W, b):
    """Z of one sentence, as written above: X (T, D), W (C, D, k), b (C,) -> (T-k+1, C)."""
    (T, D), (C, _, k) = X.shape, W.shape
    Z = X.new_empty(T - k + 1, C)
    for i in range(T - k + 1):
        for c in range(C):
            Z[i, c] = b[c] + sum(W[c, d, u] * X[i + u, d] for u in range(k) for d in range(D))
    return Z


def conv1d(X, W, b):
    """The same by torch."""
    return F.conv1d(X.T[None], W, b)[0].T


def pool(Z):
    """Max over time: Z (windows, C) -> (C,)."""
    return Z.amax(dim=0)


def textcnn(w, E, kernels, head):
    """One sentence, w (T,) -> X, Z^2, Z^4, m^2, m^4, m, o."""
    X = E[w]
    Z = [convolve(X, W, b) for W, b in kernels]
    m = [pool(Z_k.relu()) for Z_k in Z]
    V, a = head
    return X, *Z, *m, torch.cat(m), V @ torch.cat(m) + a


def batched(w, E, kernels, head):
    """The same in torch's layout, all sentences at once: w (B, T)."""
    X = F.embedding(w, E).permute(0, 2, 1)  # (B, T, 6) -> (B, 6, T)
    Z = [F.conv1d(X, W, b) for W, b in kernels]
    m = [F.relu(Z_k).max(dim=2).values for Z_k in Z]
    return X, *Z, *m, torch.cat(m, dim=1), F.linear(torch.cat(m, dim=1), *head)


def count(D, channels, classes, bias):
    """Trained numbers without the table, by the formula above."""
    weights = sum(C * D * k for k, C in channels.items()) + classes * sum(channels.values())
    return weights + bias * (sum(channels.values()) + classes)


def winning_window(X, W, b):
    """dm/dX by (4): X (T, D) -> (C, T, D)."""
    Z = convolve(X, W, b)
    gradient = X.new_zeros(len(b), *X.shape)
    for c, i in enumerate(Z.argmax(dim=0)):
        if Z[i, c] > 0:
            gradient[c, i:i + W.shape[2]] = W[c].T  # (D, k) -> (k, D)
    return gradient


def figure():
    """E, kernels and head of the figure's sizes, in integers."""
    kernels = [(ints(C, 6, k, seed=k), ints(C, seed=10 + k)) for k, C in CHANNELS.items()]
    return ints(WORDS, 6), kernels, (ints(CLASSES, 9, seed=1), ints(CLASSES, seed=2))


@claim(80, "integers", "exercise 5")
def test_figure_15_14_tensor_sizes():
    """Every tensor of a batch of 3 in torch's layout, each sentence against the formulas.
    Refuted: windows of 2k+1 words, the maximum over the channels, X not permuted."""
    w, (E, kernels, head) = ints(3, 11, low=0, high=WORDS - 1).long(), figure()
    sizes = [(6, 11), (4, 10), (5, 8), (4,), (5,), (9,), (2,)]

    def check(forward):
        tensors = forward(w, E, kernels, head)
        holds([tuple(x.shape) for x in tensors] == [(3, *size) for size in sizes])
        for n in range(3):
            for ours, expected in zip(textcnn(w[n], E, kernels, head), tensors, strict=True):
                same(ours.T if ours.ndim == 2 else ours, expected[n])

    def wide(w, E, kernels, head):
        return batched(w, E, [(W.repeat(1, 1, 3)[..., :2 * W.shape[2] + 1], b)
                              for W, b in kernels], head)

    def over_channels(*arguments):
        X, Z2, Z4, *rest = batched(*arguments)
        return X, Z2, Z4, Z2.relu().amax(dim=1), Z4.relu().amax(dim=1), *rest[2:]

    check(batched)
    refuted(check, wide, over_channels, lambda w, E, *rest: (E[w], *batched(w, E, *rest)[1:]))


@claim(81, "exact", "exercise 5")
def test_figure_15_14_parameter_count():
    """186, 197 and 6 a word, from the formula and off torch's modules, which never ask for T.
    Refuted: no factor D, biases of the windows only, Zhang and Wallace's 102 and 110."""
    def check(number):
        for bias, total in ((False, 186), (True, 197)):
            layers = [nn.Conv1d(6, C, k, bias=bias) for k, C in CHANNELS.items()]
            layers.append(nn.Linear(9, CLASSES, bias=bias))
            trained = sum(p.numel() for layer in layers for p in layer.parameters())
            same([number(6, CHANNELS, CLASSES, bias), trained], [total, total], constant=True)

    check(count)
    refuted(check,
            lambda D, channels, classes, bias: count(1, channels, classes, bias),
            lambda D, channels, classes, bias: count(D, channels, classes, bias) - 2 * bias,
            lambda D, channels, classes, bias: count(5, {2: 2, 3: 2, 4: 2}, classes, bias))
    same(nn.Embedding(WORDS, 6).weight.numel(), 6 * WORDS)
    same([count(5, {2: 2, 3: 2, 4: 2}, 2, bias) for bias in (0, 1)], [102, 110])  # theirs


@claim(82, "integers", "exercise 5")
def test_textcnn_equations_loops_equal_conv1d():
    """The double sum, minidl's and torch's layer, both windows. Refuted: the kernel flipped,
    no bias, the window a word early, the numbers of a word in reverse."""
    E, kernels, _ = figure()

    def check(run):
        for W, b in kernels:
            same(run(E, W, b), conv1d(E, W, b))  # the table is as good a sentence as any

    check(convolve)
    check(lambda X, W, b: conv.conv1d(X.T[None], W, b)[0].T)
    refuted(check, lambda X, W, b: convolve(X, W.flip(2), b),
            lambda X, W, b: convolve(X, W, 0 * b),
            lambda X, W, b: convolve(F.pad(X, (0, 0, 1, -1)), W, b),
            lambda X, W, b: convolve(X, W.flip(1), b))


@claim(83, "integers", "exercise 5")
def test_multichannel_1d_conv_is_single_channel_2d_conv():
    """(1): a k x D kernel on the T x D image; the control reads the memory of W as k x D."""
    E, kernels, _ = figure()

    def check(to_image):
        for W, b in kernels:
            Z = F.conv2d(E[None, None], to_image(W)[:, None], b)  # (1, C, T-k+1, 1)
            same(Z[0, :, :, 0].T, conv1d(E, W, b))
            same(Z[0, :, :, 0].T, convolve(E, W, b))

    check(lambda W: W.mT)
    refuted(check, lambda W: W.reshape(len(W), -1, 6))


@claim(84, "exact", "exercise 5")
def test_relu_commutes_with_max_pooling_but_not_with_average():
    """All of {-2 .. 2}^3. The mean fails: for (-1, 1) its ReLU is 0, the ReLUs' mean 1/2.
    |z| for ReLU breaks (2): for (-2, 1) |max| is 1, the maximum of |z| is 2."""
    Z = grid(range(-2, 3), 3).T  # (3, 125)

    def check(pool, f=torch.relu):
        holds(pool(Z).shape == (125,))
        same(f(pool(Z)), pool(f(Z)))

    check(pool)
    check(lambda Z: F.adaptive_max_pool1d(Z.T, 1).flatten())
    refuted(check, lambda Z: Z.mean(dim=0), lambda Z: F.adaptive_avg_pool1d(Z.T, 1)[:, 0])
    refuted(lambda f: check(pool, f), torch.abs)
    z = vector(-1, 1)[:, None]
    same(torch.cat([z.mean(dim=0).relu(), z.relu().mean(dim=0)]), z.new_tensor([0, 0.5]))


@claim(85, "exact", "exercise 5")
def test_max_over_time_ignores_position_and_length():
    """A phrase of 3 words among zeros, all places by (3) in sentences of 11 to 14 words: one
    m. Refuted: mean, sum, a fixed window. T = 3 is an error. Zeros appended, one number a
    word: W = (1, -1) takes (1, 1) to 0 and (1, 1, 0) to 1; W = (1), b = 3 (-5) to 0, (-5, 0)
    to 3."""
    _, kernels, _ = figure()
    phrase = ints(3, 6, seed=5)

    features = {2: [], 4: []}  # k: A^k of the sentences
    for W, b in kernels:
        k = W.shape[2]
        for length in range(11, 15):  # > 3 + 2 (k-1): a window of zeros
            for start in range(k - 1, length - 3 - (k - 1) + 1):
                X = torch.zeros(length, 6, dtype=D)
                X[start:start + 3] = phrase
                features[k].append(convolve(X, W, b).relu())

    def check(pool):
        for first, *others in features.values():
            for other in others:
                same(pool(other), pool(first))

    check(pool)
    check(lambda Z: F.adaptive_max_pool1d(Z.T, 1).flatten())
    refuted(check, lambda Z: Z.mean(dim=0), lambda Z: Z.sum(dim=0), lambda Z: Z[3])
    with pytest.raises(RuntimeError, match="Kernel size can't be greater"):
        conv1d(phrase, *kernels[1])
    for W, b, X, Z in (([1, -1], 0, [1, 1], 0), ([1, -1], 0, [1, 1, 0], 1),
                       ([1], 3, [-5], 0), ([1], 3, [-5, 0], 3)):
        Z_found = convolve(vector(*X)[:, None], vector(*W)[None, None], vector(b))
        same(pool(Z_found.relu()), vector(Z))


@claim(86, "integers", "exercise 5")
def test_gradient_reaches_only_the_winning_window():
    """(4) against autograd through torch's layers, with biases that put the largest Z of the
    channels at -1, 0, 1, 2, 3. Refuted: the mean, the window a word late, no ReLU."""
    E, kernels, _ = figure()

    def check(gradient):
        for W, b in kernels:
            first, second = conv1d(E, W, 0 * b).topk(2, dim=0).values
            holds((first > second).all())
            b = torch.arange(len(b)) - 1 - first
            expected = jacobian(lambda X, W=W, b=b: conv1d(X, W, b).relu().amax(dim=0), E)
            same(gradient(E, W, b), expected.reshape(len(b), *E.shape))

    check(winning_window)
    refuted(check,
            lambda X, W, b: jacobian(lambda X: conv1d(X, W, b).relu().mean(dim=0), X
                                     ).reshape(len(b), *X.shape),
            lambda X, W, b: winning_window(X, W, b).roll(1, dims=1),
            lambda X, W, b: winning_window(X, W, b + 10_000))


def one_hot(w):
    """w (T,) -> (T, WORDS)."""
    return (w[:, None] == torch.arange(WORDS)).to(D)


@claim(87, "integers", "exercise 5")
def test_embedding_lookup_is_a_one_hot_product():
    """onehot(w) E against F.embedding, onehot(w)^T dL/dX against its backward pass, for words
    that occur twice or never. Refuted: words counted from 1; only the last occurrence kept."""
    w, (E, _, _), G = torch.tensor([3, 12, 0, 3, 7, 12, 3]), figure(), ints(7, 6, seed=3)

    def check(forward):
        same(forward(w), F.embedding(w, E))

    def check_gradient(backward):
        leaf = E.clone().requires_grad_()
        same(backward(w, G), torch.autograd.grad(F.embedding(w, leaf), leaf, G)[0])

    def overwritten(w, G):
        dE = torch.zeros_like(E)
        dE[w] = G
        return dE

    check(lambda w: one_hot(w) @ E)
    check_gradient(lambda w, G: one_hot(w).T @ G)
    refuted(check, lambda w: one_hot(w - 1) @ E)
    refuted(check_gradient, overwritten)
