r"""The linear autoencoder is PCA, up to the coordinates of its code.

Result. Let X (N, P) have centred rows, X = U diag(s) V^T with s_1 >= s_2 >= .... A linear
decoder makes X_hat = Z W + 1 b^T of codes Z (N, d). Whatever encoder gave the codes,

    |X - X_hat|^2 >= sum_{i>d} s_i^2      squares summed over all N P entries

and PCA attains it: Z = X V_d and W = V_d^T, with V_d the first d columns of V.

(1) For given codes the best X_hat is least squares: Q X, with Q the orthogonal projector on
    the span of 1 and of the columns of Z. This uses that the decoder is linear and
    the error squared.
(2) As X is centred, 1^T X = 0, so the direction 1 of Q does nothing. Let Q be the rest of it,
    a projector of rank d at most.
(3) |X - Q X|^2 = tr(X X^T) - tr(Q X X^T) = sum_i s_i^2 (1 - q_i), where q_i = u_i^T Q u_i.
(4) 0 <= q_i <= 1 and sum_i q_i <= tr Q <= d, because Q is a projector. So sum_i q_i s_i^2 is
    at most s_1^2 + ... + s_d^2, and (3) is the bound (104).
(5) PCA has q_i = 1 for i <= d and 0 else: equality (103). If s_d > s_{d+1} only these q do it,
    so Q X is unique, and all optima have the codes Z A + 1 c^T with A invertible and c any,
    the decoder A^-1 W and b = -W^T A^-T c (105). So an autoencoder with a linear decoder
    cannot have a smaller squared error than PCA on the examples that PCA was fitted to,
    however deep its encoder; on others it can. As A and c are free, the axes of a code are not
    principal components, and the code 0 has no special meaning.

Each hypothesis is needed. The points (t, t^2) have the code t and the decoder t -> (t, t^2),
which is not linear, and the error 0 with d = 1. Without centring PCA spends a component on the
mean. The corners (1, 0), (-1, 0), (0, 1), (0, -1) have s_1 = s_2, and both axes are optima.

Check. Random data in float64 are evidence, mainly for the code. The steps are the proof.
Murphy (2022), 20.1 and 20.3; Eckart and Young (1936); Baldi and Hornik (1989).
"""

import numpy as np
import torch
from kit import D, U, claim, close, eye, holds, reals, refuted, vector

from minidl import pca

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
    decoder: not below the bound, PCA's own on it. Refuted: the bound of d-1 or d+1 components,
    of data not centred, 0.1% more. And the curve (t, t^2)."""
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
    A for A^{-1}, c without its b, 0.1%, a code too large. Two equal optima by hand.

    Bound: a least squares solution is off by a few N P U of its size times the squared
    condition of what it inverts; a step of training leaves (s_3 / s_2)^2 = 1/4 of its error.
    """
    left, _, right = torch.linalg.svd(data() - data().mean(dim=0), full_matrices=False)
    X = left * vector(16, 8, 4, 2, 1) @ right
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
    corners = torch.cat([eye(2), -eye(2)])
    for axis in eye(2):
        holds(loss(corners * axis, corners) == 2)
    close(tail(corners, 1), vector(2)[0], 8 * 4 * 2 * U)
