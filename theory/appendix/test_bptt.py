r"""Beyond exercise 4: causality, time invariance and the gradient of a recurrent network.

Result. For h_t = phi(a_t), a_t = W_xh x_t + W_hh h_{t-1} + b, with phi = tanh and delta_t =
dL/da_t, back-propagation through time is

    delta_t = (1 - h_t^2) (W_hh^T delta_{t+1} + g_t)      from the last word to the first

where g_t is what L adds at h_t directly. Its factors shrink or grow like powers of W_hh.
(1) By induction h_t is a function of h_0, x_1, ..., x_t. So dh_t/dx_s = 0 for s > t (74).
(2) Let h_0 = phi(W_hh h_0 + b), a fixed point of a step without input. While x_t = 0 the state
    stays at h_0, so a zeros in front delay every later state by a: time invariant from rest.
    That needs h_0 = 0, b = 0 and phi(0) = 0, unless one makes up for another, as b < 0 with
    ReLU does (75).
(3) h_t acts on L through g_t and through a_{t+1}, and tanh' = 1 - tanh^2: the result. As a_t
    is affine in each parameter, dL/dW_xh = sum_t delta_t x_t^T, dL/dW_hh = sum_t delta_t
    h_{t-1}^T and dL/db = sum_t delta_t. dL/dE[v] is the sum of W_xh^T delta_t over the t with
    w_t = v (76).
(4) Forwards, with f_i for step i: dh_T/dW = sum_i (prod_{j=i+1}^T df_j/dh_{j-1}) df_i/dW, the
    latest factor leftmost, Murphy (15.22). Truncated to k steps it loses all i <= T - k (77).
(5) df_j/dh_{j-1} = diag(1 - h_j^2) W_hh. As |tanh'| <= 1, |dh_T/dh_1| <= sigma^{T-1} with the
    largest singular value sigma of W_hh (78). For sigma < 1 gradients must vanish; for sigma >
    1 they may explode, and need not. The spectral radius will not do for sigma.

Check. Integers through ReLU without rounding for (1) and (2), which hold of any phi; real
numbers against autograd for the rest. Both are evidence; the steps are the proof. Murphy
(2022), 15.2.6; d2l.ai 9.7.
"""

import torch
from kit import D, U, claim, close, eye, holds, ints, jacobian, reals, refuted, same, vector
from test_rnn import example, in_minidl, in_torch, rnn


def deltas(h, W_hh, g):
    """dL/da_t by (3): h (T+1, h) from h_0 on, g (T, h) -> (T, h)."""
    delta, found = torch.zeros(len(W_hh), dtype=D), []
    for h_t, g_t in zip(h[1:].flip(0), g.flip(0), strict=True):
        delta = (1 - h_t**2) * (W_hh.T @ delta + g_t)
        found.append(delta)
    return torch.stack(found).flip(0)


def gradients(ids, E, h, W_xh, delta):
    """dL/dE, dL/dW_xh, dL/dW_hh, dL/db by (3)."""
    dE = torch.zeros_like(E).index_add(0, ids, delta @ W_xh)  # a word may occur twice
    return dE, delta.T @ E[ids], delta.T @ h[:-1], delta.sum(dim=0)


def unrolled(h, W_hh, first):
    """The terms i >= first of dh_T/dvec(W_hh) (h, h*h) by (4); h (T+1, h) from h_0 on."""
    product = identity = torch.eye(len(W_hh), dtype=D)  # product of the df_j/dh_{j-1}, j > i
    total = 0
    for i in range(len(h) - 1, first - 1, -1):
        slope = (1 - h[i] ** 2)[:, None]
        total = total + product @ (slope * torch.kron(identity, h[i - 1]))
        product = product @ (slope * W_hh)
    return total


@claim(74, "integers")
def test_rnn_is_causal():
    """The first s words alone give the first s states, bit by bit; and in the Jacobian the
    blocks dh_t/dx_s with s > t, no others, are zero. Positive data: no ReLU is shut."""
    X, H, *weights = example(lambda *size, seed: ints(*size, low=1, seed=seed))
    T, d, h = *X.shape[1:], H.shape[1]

    def check(run):
        for s in range(1, T):
            states = run(X, H, *weights, torch.relu)
            same(run(X[:, :s], H, *weights, torch.relu), states[:, :s])

    def check_jacobian(run):
        J = jacobian(lambda x: run(x[None], H[:1], *weights, torch.relu)[0], X[0])
        same(J.reshape(T, h, T, d).abs().amax(dim=(1, 3)) != 0, torch.ones(T, T).tril() == 1)

    def both_ways(X, *rest):
        return rnn(X, *rest) + rnn(X.flip(1), *rest).flip(1)

    def one_ahead(X, *rest):
        return rnn(torch.cat([X[:, 1:], X[:, :1]], dim=1), *rest)

    check(rnn)
    check(in_torch)
    check_jacobian(rnn)
    refuted(check, both_ways, one_ahead)
    refuted(check_jacobian, both_ways, one_ahead)


@claim(75, "integers")
def test_rnn_is_TI_from_rest_and_not_with_bias():
    """Zeros in front, a = 1 .. 3 of them, from h_0 = 0 with b = 0 and with b < 0 through ReLU,
    and from another fixed point. (2) is broken in three ways. Witness, all weights 1, b = 1,
    ReLU, h_0 = 0: x = (1) gives h = 2, x = (0, 1) gives 1, 3."""
    X, H, W_xh, W_hh, b = example(ints)
    rest, zero = torch.zeros_like(H), torch.zeros_like(b)

    def check(run, h_0=rest, b=zero, phi=torch.relu):
        for a in range(1, 4):
            zeros = X.new_zeros(len(X), a, X.shape[2])
            late = run(torch.cat([zeros, X], dim=1), h_0, W_xh, W_hh, b, phi)
            same(late[:, a:], run(X, h_0, W_xh, W_hh, b, phi))

    for run in (rnn, in_torch):
        check(run)
        check(run, b=zero - 3)
        check(run, h_0=rest + 1, b=1 - W_hh.sum(dim=1))  # W_hh 1 + b = 1
    refuted(lambda broken: check(rnn, **broken),
            {"h_0": H}, {"b": b}, {"phi": lambda a: torch.relu(a + 0.5)})
    one = torch.ones(1, 1, dtype=D)
    waited = vector(0, 1)[None, :, None]
    for x, expected in ((waited, [1, 3]), (waited[:, 1:], [2])):
        states = rnn(x, 0 * one, one, one, one[0], torch.relu)
        same(states.flatten(), one.new_tensor(expected))


@claim(76, "float")
def test_bptt_by_hand_equals_autograd():
    """L = sum_t g_t . h_t over 40 words, some of which repeat: (3) against autograd over the
    loop; and minidl's backward pass, which is (3) with all words' products in one.

    Bound: with r the largest column sum of |W_hh|, |delta_t| <= G = max|g| (1 + .. + r^{T-1});
    an entry is off by at most T (d+h+4) U times T G times the largest factor beside delta.
    """
    T, V, d, h = 40, 7, 3, 4
    ids = torch.tensor([2, 0, 5, 2, 3, 6, 1, 1]).repeat(5)
    E, W_xh, b = reals(V, d, seed=1) / 20, reals(h, d, seed=2), reals(h, seed=4) / 20
    P = eye(h).roll(1, 0)  # W_hh keeps lengths: the first words still matter
    W_hh, h_0, g = 0.9 * P + 0.1 * P @ P, reals(h, seed=5) / 20, reals(T, h, seed=6)
    leaves = [tensor.clone().requires_grad_() for tensor in (E, W_xh, W_hh, b)]

    def through(run):
        states = run(leaves[0][ids][None], h_0[None], *leaves[1:])[0]
        return states.detach(), torch.autograd.grad((g * states).sum(), leaves)

    states, autograds = through(rnn)
    states = torch.cat([h_0[None], states])
    r = W_hh.abs().sum(dim=0).max()
    factor = max(1, E.abs().max(), h_0.abs().max(), W_xh.abs().sum(dim=0).max())
    bound = T**2 * (d + h + 4) * U * factor * g.abs().max() * sum(r**t for t in range(T))

    def check(backward):
        for ours, expected in zip(backward(deltas(states, W_hh, g)), autograds, strict=True):
            close(ours, expected, bound)

    def overwritten(delta):
        dE = torch.zeros_like(E)
        dE[ids] = delta @ W_xh
        return dE, *gradients(ids, E, states, W_xh, delta)[1:]

    check(lambda delta: gradients(ids, E, states, W_xh, delta))
    check(lambda _: through(in_minidl)[1])
    refuted(check, overwritten,
            lambda _: gradients(ids, E, states, W_xh, deltas(0 * states, W_hh, g)),  # no tanh'
            lambda _: gradients(ids, E, states, W_xh, deltas(states, W_hh.T, g)),
            lambda delta: gradients(ids, E, states.roll(-1, 0), W_xh, delta),  # h_t: late
            lambda delta: gradients(ids, E, states, W_xh, 1.001 * delta))


@claim(77, "float")
def test_eq_15_22_unrolled_sum_and_truncated_bptt_is_its_tail():
    """(4) from every first step on, against autograd over the loop cut loose before that step.

    Bound: the product of k factors is at most |W_hh|_inf^k, what stands beside it 1 or |h_0|;
    at most T (2h+4) roundings lead to an entry, on either side.
    """
    x, h_0, W_xh, W_hh, b = example(reals, B=1, T=6)
    T, h = x.shape[1], len(b)
    states = torch.cat([h_0, rnn(x, h_0, W_xh, W_hh, b)[0]])
    norm = W_hh.abs().sum(dim=1).max()
    bound = 2 * T * (2 * h + 4) * U * sum(norm**t for t in range(T)) * max(1, h_0.abs().max())

    def check(tail):
        for i in range(1, T + 1):
            expected = jacobian(lambda W, i=i: rnn(
                x[:, i - 1:], states[i - 1:i], W_xh, W, b)[0, -1], W_hh)
            close(tail(states, W_hh, i), expected, bound)

    check(unrolled)
    refuted(check,
            lambda states, W, first: unrolled(states, W, 1),  # never truncates
            lambda states, W, first: unrolled(states, W, min(T, first + 1)),
            lambda states, W, first: unrolled(states, W.T, first),
            lambda states, W, first: 1.001 * unrolled(states, W, first))


@claim(78, "float")
def test_gradient_norm_bound_and_orthogonal_isometry():
    """(5), with equality for phi = identity and W_hh = sigma Q, Q orthogonal (sigma = 1: an
    isometry). The spectral radius, one power too many and 0.1% less are refuted. sigma > 1
    need not explode: [[0, 2], [0, 0]] has sigma 2 and square 0; large inputs saturate tanh.
    Slack: a product of T matrices (h, h) is off by T h^2 U of the product of their norms.
    """
    T, h = 9, 4
    Q = torch.linalg.qr(reals(h, h, seed=4))[0]
    shear = eye(h) / 2 + ints(h, h, seed=5).triu(1) / 10  # spectral radius 1/2
    slack = 4 * T * h**2 * U

    def through(W, phi, scale=1.0):
        x, zero = scale * reals(1, T - 1, 1, seed=3), torch.zeros(h, dtype=D)
        return jacobian(lambda h_1: rnn(x, h_1[None], zero[:, None] + 1, W, zero, phi)[0, -1],
                        reals(h, seed=6))

    def linear(a):
        return a

    def check(limit):
        for W in (shear, reals(h, h, seed=1), reals(h, h, seed=2) / 4):
            for phi in (torch.tanh, linear):
                norm = torch.linalg.matrix_norm(through(W, phi), 2)
                holds(norm <= limit(W, T) * (1 + slack))
        for sigma in (0.5, 1.0, 1.5):
            norm = torch.linalg.matrix_norm(through(sigma * Q, linear), 2)
            close(norm, limit(sigma * Q, T), slack * sigma ** (T - 1))

    check(lambda W, T: torch.linalg.matrix_norm(W, 2) ** (T - 1))
    refuted(check,
            lambda W, T: torch.linalg.eigvals(W).abs().max() ** (T - 1),
            lambda W, T: torch.linalg.matrix_norm(W, 2) ** T,
            lambda W, T: 0.999 * torch.linalg.matrix_norm(W, 2) ** (T - 1))
    close(through(Q, linear).T @ through(Q, linear), eye(h), slack)
    nilpotent = vector([0, 2], [0, 0])
    holds(torch.linalg.matrix_norm(nilpotent, 2) == 2 and not (nilpotent @ nilpotent).any())
    holds(torch.linalg.matrix_norm(through(1.5 * Q, torch.tanh, scale=100), 2) < 1e-6)
