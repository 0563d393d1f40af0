r"""Question 3 (a) and (b): the Jacobians of an additive bias and of a matrix product.

Result. With one row per output and matrices listed row by row,

    y = x + b:     dy/dx = dy/db = I
    y = W x + b:   dy/dx = W,   d y / d vec(W) = I_m kron x^T,   dy/db = I
    Y = A X B:     d vec(Y) / d vec(X) = A kron B^T

J[i,j] = dy_i / dx_j (Murphy 13.37); vec(Y) lists the rows of Y one after the other, which is
Y.reshape(-1). (A kron B)[i q + k, j r + l] = A[i,j] B[k,l] for B of shape (q, r). I_m is the
identity of size m, and 1_B is a column of B ones.

(a) Additive bias vector, y = x + b.
(1) dy_i/dx_j = dy_i/db_j = 1 if i = j, else 0. So both Jacobians are the identity I_n.
(2) In a batch, Y[a,i] = X[a,i] + b[i], all B examples share b. The row of output (a, i) is row
    i of I_n for every a, so d vec(Y)/db = 1_B kron I_n.
(3) In a convolution L positions share the bias of their channel: Y[a,c,l] = X[a,c,l] + b[c],
    and d vec(Y)/db = 1_B kron I_C kron 1_L, of shape (B C L, C).
(4) So dL/db = J^T dL/dY adds dL/dY over all places that share b.

(b) Fully connected layer, y = W x + b, with W of shape (m, n).
(1) dy_i/dx_j = W[i,j], so dy/dx = W, of shape (m, n).
(2) dy_i/dW[k,l] = x_l if i = k, else 0. So d y / d vec(W) = I_m kron x^T, of shape (m, m n).
    With vec by columns instead, the same numbers are arranged as x^T kron I_m.
(3) General product Y = A X B: Y[i,j] = sum_{k,l} A[i,k] X[k,l] B[l,j]. The entry in row (i, j)
    and column (k, l) is A[i,k] B[l,j], so d vec(Y)/d vec(X) = A kron B^T.
(4) The two factors of Y = A B, with m rows and n columns, are the cases A = I and B = I of
    (3): d vec(Y)/d vec(A) = I_m kron B^T and d vec(Y)/d vec(B) = A kron I_n.
(5) A layer of torch has examples in rows, Y = X W^T + 1_B b^T. By (3), d vec(Y)/d vec(X) = I_B
    kron W. By (2), d vec(Y)/d vec(W) has the blocks I_m kron x_a^T below each other.
(6) Chain rule: a network has the Jacobian J_L ... J_2 J_1, if each layer is differentiable at
    the point where the layers before put it. Back-propagation multiplies from the left, dL/dx
    = J^T dL/dy, and never forms J (Murphy 13.3.3). From (5) and (a): dL/dX = dL/dY W, dL/dW =
    (dL/dY)^T X, and dL/db is the sum of the rows of dL/dY. The hypothesis of (6) fails for
    ReLU at 0 and for max pooling at a tie. There no derivative exists, and libraries return
    what they choose (claim 34).

Check. Both sides of (1) to (5) are linear in each argument. Equality on all unit vectors, in
integers, proves the sizes listed; (6) with tanh in between is evidence.
"""
# sheet: S3.8a, S3.8b

import itertools
from functools import partial

import torch
import torch.nn.functional as F
from kit import (
    D,
    U,
    claim,
    close,
    eye,
    holds,
    ints,
    jacobian,
    kron,
    matrix,
    reals,
    refuted,
    same,
    sides,
    signs,
    units,
    vector,
)

from minidl.conv import conv1d

SIZES = [(3, 3), (2, 4), (4, 2), (1, 3), (3, 1)]  # square first: a transpose fails by value


def linear_loops(X, W, b):
    """Y[a, i] = sum_j X[a, j] W[i, j] + b[i]:  (B, n), (m, n), (m,) -> (B, m)."""
    (B, n), m = X.shape, len(W)
    return torch.stack([sum(X[a, j] * W[i, j] for j in range(n)) + b[i]
                        for a in range(B) for i in range(m)]).reshape(B, m)


@claim(29, "exact", "3 (a)")
def test_jacobian_of_additive_bias_is_identity():
    """A vector, a batch, the channels of a convolution: as a sum, as the bias of our and of
    torch's 1x1 convolution. A bias per example, one per position and a gain are refuted."""
    def check(add):
        for B, C, L in [(1, 4, 1), (2, 3, 1), (1, 3, 2), (2, 4, 3)]:
            X, b, dY = ints(B, C, L), ints(C, seed=1), ints(B, C, L, seed=2)
            expected = kron(kron(torch.ones(B, 1, dtype=D), eye(C)), torch.ones(L, 1, dtype=D))
            for J in sides(add, (X, b), 0):
                same(J, eye(B * C * L))
            for J in sides(add, (X, b), 1):
                same(J, expected)
                same(J.T @ dY.reshape(-1), dY.sum((0, 2)))

    check(lambda X, b: X + b[:, None])
    check(lambda X, b: F.conv1d(X, eye(len(b))[:, :, None], b))
    check(lambda X, b: conv1d(X, eye(len(b))[:, :, None], b))
    refuted(check, lambda X, b: X + b[:len(X), None, None], lambda X, b: X + b[:X.shape[2]],
            lambda X, b: X * b[:, None])


@claim(30, "exact", "3 (b)")
def test_jacobian_of_fc_wrt_input_is_W():
    """All unit matrices W and one of many numbers, for one input and for a batch of two, where
    W repeats along the diagonal. A transpose, a mean and the Kronecker order are refuted."""
    def check(formula):
        for linear, (m, n), B in itertools.product((linear_loops, F.linear), SIZES, (1, 2)):
            for W in [*units(m, n), ints(m, n)]:
                for J in sides(linear, (ints(B, n), W, ints(m, seed=1)), 0):
                    same(J, formula(B, W))

    check(lambda B, W: kron(eye(B), W))
    refuted(check, lambda B, W: kron(eye(B), W.T), lambda B, W: kron(W, eye(B)),
            lambda B, W: kron(eye(B), W) / W.shape[1])


@claim(31, "exact", "3 (b)")
def test_jacobian_of_fc_wrt_weight_is_I_kron_xT():
    """All unit inputs and one of many numbers, in a batch of two. With vec by columns, W^T in
    the place of W, the same numbers are x^T kron I; each formula is refuted in the other's
    order, an input reversed or halved in its own."""
    def check(formula, linear, by_columns=False):
        for m, n in SIZES:
            for X in [*units(2, n), ints(2, n)]:
                W = ints(n, m) if by_columns else ints(m, n)
                for J in sides(linear, (X, W, ints(m, seed=1)), 1):
                    same(J, torch.cat([formula(m, x) for x in X]))

    def rows(m, x):
        return kron(eye(m), x[None])

    def columns(m, x):
        return kron(x[None], eye(m))

    def transposed(X, W_T, b):
        return F.linear(X, W_T.T, b)

    for linear in linear_loops, F.linear:
        check(rows, linear)
    check(columns, transposed, by_columns=True)
    refuted(lambda formula: check(formula, F.linear), columns,
            lambda m, x: rows(m, x.flip(0)), lambda m, x: rows(m, x / 2))
    refuted(lambda formula: check(formula, transposed, True), rows)


@claim(32, "exact", "3 (b)")
def test_jacobian_of_general_matmul_is_A_kron_BT():
    """(3) for all pairs of unit matrices; (4), each factor of a product by the same formula,
    once with I on the left and once on the right. Swapped factors and a flip are refuted."""
    def check(formula):
        for (m, p), (q, n) in [((2, 3), (1, 4)), ((3, 1), (2, 2)), ((2, 2), (3, 2))]:
            for A, B in itertools.product(units(m, p), units(q, n)):
                for J in sides(lambda A, X, B: A @ X @ B, (A, ints(p, q), B), 1):
                    same(J, formula(A, B))
        A, B = factors = ints(2, 3), ints(3, 4, seed=1)
        for i, expected in enumerate((formula(eye(2), B), formula(A, eye(4)))):
            for J in sides(torch.matmul, factors, i):
                same(J, expected)

    check(lambda A, B: kron(A, B.T))
    refuted(check, lambda A, B: kron(B.T, A), lambda A, B: kron(A, B.T.flip(0)))


@claim(33, "integers", "3 (b)")
def test_backprop_rules_are_transposed_jacobians():
    """(dX, dW, db) against J^T vec(dY), J from unit steps on the loops, and against torch's
    backward pass, for all unit dY and one of many numbers. A mean over the batch, a product
    not transposed, the first example alone and a sign are refuted."""
    def check(rules):
        for B, m, n in [(2, 3, 4), (3, 4, 2), (4, 2, 3), (2, 3, 3)]:
            layer = X, W, _ = ints(B, n), ints(m, n, seed=1), ints(m, seed=2)
            jacobians = [next(sides(linear_loops, layer, i)) for i in range(3)]
            Y = F.linear(*[a.requires_grad_() for a in layer])
            same(linear_loops(*layer), Y)
            for dY in [*units(B, m), ints(B, m, seed=3)]:
                backward = torch.autograd.grad(Y, layer, dY, retain_graph=True)
                by_rule = rules(dY, X.detach(), W.detach())
                for found, J, by_torch in zip(by_rule, jacobians, backward, strict=True):
                    same(found.reshape(-1), J.detach().T @ dY.reshape(-1))
                    same(found.reshape(-1), by_torch.reshape(-1))

    check(lambda dY, X, W: (dY @ W, dY.T @ X, dY.sum(0)))
    refuted(check, lambda dY, X, W: (dY @ W, dY.T @ X, dY.mean(0)),
            lambda dY, X, W: (dY @ W, X.T @ dY, dY.sum(0)),
            lambda dY, X, W: (dY @ W, dY[:1].T @ X[:1], dY.sum(0)),
            lambda dY, X, W: (-dY @ W, dY.T @ X, dY.sum(0)))


def relu_jacobian(x):
    """diag(1[x > 0])."""
    return torch.diag((x > 0).to(D))


def max_pool_jacobian(x, k, s):
    """Row i has its single one where the window x[i s : i s + k] is largest."""
    starts = torch.arange(0, len(x) - k + 1, s)
    return eye(len(x))[starts + x.unfold(0, k, s).argmax(1)]


@claim(34, "exact", "3 (b)")
def test_jacobian_of_relu_and_maxpool_are_selection_matrices():
    """No entry of x is 0, no two are closer than 1: a step of 1/2 stays on one linear piece,
    its quotient is exact, to both sides. All sign patterns, all orders of 5 numbers. At 0 and
    at a tie the two quotients differ, and autograd picks one, or equal shares (amax)."""
    def quotients(f, x, step):
        return torch.stack([(f(x + step * e) - f(x)) / step for e in eye(len(x))], dim=1)

    def pool(x, k, s):
        return F.max_pool1d(x[None], k, s)[0]

    def compare(f, x, J):
        for found in quotients(f, x, 0.5), quotients(f, x, -0.5), jacobian(f, x):
            same(found, J, constant=(x < 0).all())

    def check_relu(formula):
        for x in signs(4) * vector(3, 1, 4, 2):
            compare(torch.relu, x, formula(x))

    def check_max_pool(formula):
        for (k, s), order in itertools.product(
                [(2, 2), (3, 1), (3, 2)], itertools.permutations([4.0, 1.0, 3.0, 7.0, 5.0])):
            x = vector(*order)
            compare(partial(pool, k=k, s=s), x, formula(x, k, s))

    check_relu(relu_jacobian)
    refuted(check_relu, lambda x: relu_jacobian(-x), lambda x: torch.diag(x.relu()))
    check_max_pool(max_pool_jacobian)
    refuted(check_max_pool, lambda x, k, s: max_pool_jacobian(-x, k, s),
            lambda x, k, s: max_pool_jacobian(x, k, 1)[:(len(x) - k) // s + 1],
            lambda x, k, s: matrix(lambda v: F.avg_pool1d(v[None], k, s)[0], len(x)))

    zero, tie, first = vector(0), vector(1, 1), partial(pool, k=2, s=2)
    for f, x in (torch.relu, zero), (first, tie):
        holds(not torch.equal(quotients(f, x, 0.5), quotients(f, x, -0.5)))
    same(jacobian(torch.relu, zero), vector(0)[None])
    same(jacobian(first, tie).sort().values, vector(0, 1)[None])
    same(jacobian(lambda x: x.amax()[None], tie), tie[None] / 2, constant=True)


def network(x, W1, b1, W2, b2, W3, b3):
    """y = W3 relu(a) + b3,  a = W2 h + b2,  h = tanh(W1 x + b1):  returns y, a, h."""
    h = torch.tanh(F.linear(x, W1, b1))
    a = F.linear(h, W2, b2)
    return F.linear(a.relu(), W3, b3), a, h


@claim(35, "float", "3 (b)")
def test_network_jacobian_is_the_product_of_layer_jacobians():
    """J = W3 diag(a > 0) W2 diag(1 - h^2) W1 against autograd. Bound: less than 16 roundings
    an entry on either side, of terms that add up to at most |W3| |W2| |W1|, since both slopes
    are at most 1. Refuted: no square, no ReLU, the slope at another point, W2 transposed,
    0.1%."""
    shapes = [(5, 4), (5,), (5, 5), (5,), (3, 5), (3,)]
    x, *weights = [reals(*shape, seed=i) for i, shape in enumerate([(4,), *shapes])]
    W1, _, W2, _, W3, _ = weights

    def check(formula):
        _, a, h = network(x, *weights)
        close(formula(a, h), jacobian(lambda x: network(x, *weights)[0], x),
              32 * U * W3.abs() @ W2.abs() @ W1.abs())

    def right(a, h):
        return W3 @ relu_jacobian(a) @ W2 @ torch.diag(1 - h**2) @ W1

    check(right)
    refuted(check, lambda a, h: W3 @ relu_jacobian(a) @ W2 @ torch.diag(1 - h) @ W1,
            lambda a, h: W3 @ W2 @ torch.diag(1 - h**2) @ W1,
            lambda a, h: W3 @ relu_jacobian(h) @ W2 @ torch.diag(1 - h**2) @ W1,
            lambda a, h: W3 @ relu_jacobian(a) @ W2.T @ torch.diag(1 - h**2) @ W1,
            lambda a, h: 1.001 * right(a, h))
