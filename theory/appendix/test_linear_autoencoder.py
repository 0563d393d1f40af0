r"""The linear autoencoder is PCA, up to the coordinates of its code. Beyond the sheets.

The baseline of every autoencoder in the assignments. Murphy, Probabilistic Machine Learning:
An Introduction, 20.1, 20.3; Eckart and Young 1936; Baldi and Hornik 1989.

Statement. Rows x_1 .. x_N of X (N, P), centred: 1^T X = 0. X = U diag(s) V^T, s_1 >= s_2 >= ..
A linear decoder makes X_hat = Z W + 1 b^T of codes Z (N, d), with W (d, P) and b (P,). Then,
however an encoder came by its codes,

    |X - X_hat|^2 >= sum_{i>d} s_i^2              (squares summed over all N P entries)

with equality for PCA: Z = X V_d, W = V_d^T, V_d the first d columns of V. If s_d > s_{d+1} all
optima have that X_hat, and their codes are PCA's Z A + 1 c^T, A (d, d) invertible, c (d,) any,
their decoder A^{-1} W, b = -W^T A^{-T} c.

Derivation.
(1) For given codes the best X_hat is least squares [H1: linear decoder, squared error]: QX, Q
    the orthogonal projector (N, N) on the span of the columns of Z and of 1.
(2) 1^T X = 0 [H2: centred], so the direction 1 of Q does nothing; let Q be the rest of it,
    a projector of rank at most d.
(3) |X - QX|^2 = tr XX^T - tr QXX^T = sum_i s_i^2 (1 - q_i), where q_i = u_i^T Q u_i.
(4) 0 <= q_i <= 1 and sum_i q_i <= tr Q <= d, as Q is a projector. Then sum_i q_i s_i^2 is at
    most s_1^2 + .. + s_d^2: give the d largest s_i a full q_i = 1 each. Put into (3), that is
    the bound (104).
(5) PCA has q_i = 1 for i <= d, else 0, hence equality (103). If s_d > s_{d+1} [H3] only those
    q do it, so QX = U_d U_d^T X is unique. Centred, the codes of an optimum span what U_d
    does: if Z W = Z' W' has rank d, Z' = Z A, W' = A^{-1} W. Their mean c goes into b (105).

Breaks. H1: points (t, t^2) have the code t and the decoder t -> (t, t^2), error 0 with d = 1:
no line does that. H2: without centring, PCA spends a component on the mean. H3: the corners
(+-1, 0), (0, +-1) have s_1 = s_2, and either axis is an optimum.
Consequence. However deep its encoder, an autoencoder whose decoder is one linear layer cannot
have a smaller squared error than PCA on the examples that PCA was fitted to; on others it can.
And A and c are free: the axes of a code mean nothing by themselves, nor does its zero, and the
axes are no principal components.
Proves. The proof is (1)-(5); random data in float64 are evidence, for the code above all.
"""

import numpy as np
import torch
from kit import D, claim, close, holds, reals, refuted

from minidl import pca

U = 2.0**-53  # half the distance from 1 to the next float64
N, P = 12, 5


def data(seed=0):
    """(N, P), correlated and far from centred."""
    return reals(N, P, seed=seed) @ reals(P, P, seed=seed + 50) + 3 * reals(P, seed=seed + 70)


def bound(X):
    """Rounding: a few backward stable steps, each off by N P U of the squares it is given."""
    return 8 * N * P * U * X.square().sum()


def tail(X, d):
    """sum_{i>d} s_i^2 of the centred data."""
    return torch.linalg.svdvals(X - X.mean(dim=0))[d:].square().sum()


def loss(X_hat, X):
    return (X_hat - X).square().sum()


def by_svd(X, d):
    """X_hat by PCA: U_d diag(s_d) V_d^T, and the mean."""
    mean = X.numpy().mean(axis=0)
    left, s, right = np.linalg.svd(X.numpy() - mean)
    return torch.from_numpy(left[:, :d] * s[:d] @ right[:d] + mean)


def by_covariance(X, d):
    """X_hat by minidl's PCA, from the eigenvectors of X^T X."""
    found = pca.fit(X, d)
    return found.decode(found.encode(X))


def decoded(Z, X):
    """X_hat of the best linear decoder with a bias for the codes Z (N, d): step (1)."""
    Z = torch.column_stack([Z, torch.ones(len(Z))])
    return Z @ torch.linalg.lstsq(Z, X).solution


@claim(103, "float")
def test_pca_attains_the_eckart_young_bound():
    """By SVD and by minidl, d = 1 .. 4. Refuted: not centred, the last components, one
    component too many, X_hat off by 0.1% (1e-6 of the squares, at a minimum)."""
    def check(reconstruct):
        for seed in range(3):
            X = data(seed)
            for d in range(1, P):
                close(loss(reconstruct(X, d), X), tail(X, d), bound(X))

    def last_components(X, d):
        W = pca.fit(X, P).components[-d:]
        return X.mean(dim=0) + (X - X.mean(dim=0)) @ W.T @ W

    check(by_svd)
    check(by_covariance)
    refuted(check, last_components,
            lambda X, d: by_svd(torch.cat([X, -X]), d)[:N],  # the mean of X and -X is 0
            lambda X, d: by_svd(X, d + 1),
            lambda X, d: 1.001 * by_svd(X, d))


@claim(104, "float")
def test_no_encoder_beats_pca_with_a_linear_decoder():
    """Random, non-linear, discrete codes, PCA's with less and less noise, each with its best
    decoder: not below the bound, PCA's own on it; and (3), (4) term by term. Refuted: the
    bound of d-1 or d+1 components, of data not centred, 0.1% more. H1: the curve (t, t^2)."""
    def codes(X, d):
        V = reals(P, d, seed=d)
        H = X @ V
        yield from (reals(N, d), H.tanh(), H.relu(), H**2, (H > 0).to(D))
        for noise in (1.0, 0.1, 0.01, 0.0):
            yield pca.fit(X, d).encode(X) + noise * reals(N, d, seed=9)

    def check(least):
        for X in (data(1), data(2)):
            for d in range(1, P):
                for Z in codes(X, d):
                    holds(loss(decoded(Z, X), X) >= least(X, d) - bound(X))
                close(loss(decoded(Z, X), X), least(X, d), bound(X))  # Z: PCA's own

    check(tail)
    refuted(check,
            lambda X, d: tail(X, d - 1),
            lambda X, d: tail(X, d + 1),
            lambda X, d: torch.linalg.svdvals(X)[d:].square().sum(),
            lambda X, d: 1.001 * tail(X, d))
    X = data(1) - data(1).mean(dim=0)
    left, s, _ = torch.linalg.svd(X)
    for Z in codes(X, 2):
        basis = torch.linalg.qr(Z - Z.mean(dim=0)).Q
        q = (left.T @ basis).square().sum(dim=1)
        holds((q <= 1 + N * P * U).all() and q.sum() <= 2 + N * P * U)
        close(loss(decoded(Z, X), X), (s**2 * (1 - q[:P])).sum(), bound(X))
    t = torch.linspace(-1, 1, N, dtype=D)[:, None]
    curve = torch.cat([t, t**2], dim=1)
    holds(loss(torch.cat([t, t**2], dim=1), curve) == 0 < 0.1 < tail(curve, 1))


def alternating(X, d, steps=40):
    """A linear autoencoder trained by turns: W for the codes, then the codes for W."""
    Z = reals(len(X), d, seed=4)
    for _ in range(steps):
        W = torch.linalg.lstsq(Z, X).solution
        Z = torch.linalg.lstsq(W.T, X.T).solution.T
    return Z, W


@claim(105, "float")
def test_linear_autoencoder_is_identified_only_up_to_an_invertible_map():
    """Z A + 1 c^T, A^{-1} W, b decode to the same; an autoencoder trained from random codes
    ends at PCA's X_hat with such an A, and with axes that are not orthogonal. Refuted: A^T or
    A for A^{-1}, c without its b, 0.1%, a code too large. H3 by hand: two equal optima.

    Bound: a least squares solution is off by a few N P U of its size times the squared
    condition of what it inverts; a step of training leaves (s_3 / s_2)^2 = 1/4 of its error.
    """
    left, _, right = torch.linalg.svd(data() - data().mean(dim=0), full_matrices=False)
    X = left * torch.tensor([16, 8, 4, 2, 1], dtype=D) @ right
    Z, W = pca.fit(X, 2).encode(X), pca.fit(X, 2).components
    A, c = reals(2, 2, seed=1), reals(2, seed=2)
    few = 16 * N * P * U

    def check(change):
        Z_new, W_new = change(A)
        close(Z_new @ W_new, by_svd(X, 2), few * X.norm() * torch.linalg.cond(A) ** 2)

    def shifted(b):  # codes that are not centred; 1 b^T is one more row of the decoder
        one = torch.ones(N, 1, dtype=D)
        return lambda A: (torch.cat([Z @ A + c, one], dim=1),
                          torch.cat([A.inverse() @ W, b(A)[None]]))

    check(lambda A: (Z @ A, A.inverse() @ W))
    check(shifted(lambda A: -W.T @ A.inverse().T @ c))
    check(lambda A: alternating(X, 2))
    refuted(check,
            shifted(lambda A: 0 * W[0]), shifted(lambda A: -W.T @ c),
            lambda A: (Z @ A, A.T @ W),
            lambda A: (Z @ A, A @ W),
            lambda A: (Z @ A, 1.001 * A.inverse() @ W),
            lambda A: alternating(X, 3))
    Z_new, W_new = alternating(X, 2)
    A = torch.linalg.lstsq(Z, Z_new).solution
    close(Z @ A, Z_new, few * Z_new.norm() * torch.linalg.cond(A) ** 2)
    close(A @ W_new, W, few * torch.linalg.cond(A) ** 2)
    holds((W_new[0] @ W_new[1]).abs() > 0.01 * W_new[0].norm() * W_new[1].norm())
    corners = torch.tensor([[1, 0], [-1, 0], [0, 1], [0, -1]], dtype=D)
    for axis in torch.eye(2, dtype=D):
        holds(loss(corners * axis, corners) == 2)
    close(tail(corners, 1), torch.tensor(2, dtype=D), 8 * 4 * 2 * U)
