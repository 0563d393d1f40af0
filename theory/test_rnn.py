r"""The simple recurrent network: what a forward pass evaluates, what its gradient can do.

Assignment 8, exercise 4: "the expressions that are evaluated in a forward pass".
Murphy, Probabilistic Machine Learning: An Introduction, 15.2; d2l.ai 9.4, 9.7.

Letters. B = 64 reviews of T words out of V; d = 100 numbers a word, h = 256 numbers a state;
n <= T is the number of words of a review before its padding.

    tensor                                 one review   a batch        trained
    w    numbers of the words, 0 .. V-1    (T,)         (64, T)
    x_t = E[w_t], row w_t of a table       (100,)       (64, T, 100)   E (V, 100)
    h_0 = 0                                (256,)       (64, 256)
    a_t = W_xh x_t + W_hh h_{t-1} + b      (256,)       (64, 256)      W_xh (256, 100) b (256,)
    h_t = phi(a_t), phi = tanh             (256,)       (64, T, 256)   W_hh (256, 256)
    o   = W_hq h_n + b_q                   (1,)         (64, 1)        W_hq (1, 256), b_q (1,)
    p   = sigmoid(o) = P(positive | w)     (1,)         (64, 1)        (evaluated in the loss)

The state is Murphy's (15.5) with no output fed back, the head his (15.6) with one logit for
two classes. He writes columns, d2l rows and transposed matrices; torch.nn.RNN keeps his
matrices, the rows' data, and two biases of which only the sum acts (71, 72). Trained numbers:
100 V + 91,392 (91,648 with the second bias) + 257 for the head (514 with two logits).

Derivation.
(1) a_t = [W_xh W_hh] [x_t; h_{t-1}] + b, one product by blocks (73).
(2) By induction h_t is a function of h_0, x_1 .. x_t: causal, dh_t/dx_s = 0 for s > t (74).
(3) Let h_0 = phi(W_hh h_0 + b) [H1], a fixed point of the step without an input. While
    x_t = 0 the state stays at h_0, so a zeros in front delay every later state by a: time
    invariant from rest. Usually h_0 = 0, b = 0 and phi(0) = 0. To break one of the three
    breaks H1, unless another makes up for it (ReLU, h_0 = 0, b < 0) (75).
(4) Let delta_t = dL/da_t and g_t = what L adds at h_t directly. h_t acts through g_t and
    a_{t+1}, and tanh' = 1 - tanh^2, so delta_t = (1 - h_t^2) * (W_hh^T delta_{t+1} + g_t),
    from the last t to the first. a_t is affine in each parameter, so
    dL/dW_xh = sum_t delta_t x_t^T, dL/dW_hh = sum_t delta_t h_{t-1}^T, dL/db = sum_t delta_t,
    and dL/dE[v] is the sum of W_xh^T delta_t over the t with w_t = v (76).
(5) Forwards, f_i being step i: dh_T/dW = sum_i (prod_{j=i+1}^T df_j/dh_{j-1}) df_i/dW, the
    latest factor leftmost, Murphy (15.22). Truncated to k steps it loses all i <= T-k (77).
(6) df_j/dh_{j-1} = diag(1 - h_j^2) W_hh and |tanh'| <= 1 [H4], so |dh_T/dh_1| <= sigma^{T-1},
    sigma the largest singular value of W_hh (78). Below 1 gradients must vanish; above 1 they
    may explode, and need not. The spectral radius will not do for sigma.

Breaks. After the last word the state goes on moving (79): it must be read at n, not at T.
Proves. (1)-(6) are the proofs. Integers through ReLU are exact, bit by bit, for the sizes
listed; (1)-(3) never look into phi, so this loses nothing. Real numbers are evidence.
"""
# sheet: S4.4

import torch
from kit import D, claim, close, holds, ints, jacobian, reals, refuted, same
from torch import nn

from minidl.recurrence import recurrence

U = 2.0**-53  # half the distance from 1 to the next float64


def columns(X, H, W_xh, W_hh, b, phi=torch.tanh):
    """Murphy's step, a product for each example: X_t (B, d), H_{t-1} (B, h) -> H_t (B, h)."""
    return torch.stack([phi(W_xh @ x + W_hh @ h + b) for x, h in zip(X, H, strict=True)])


def rows(X, H, W_xh, W_hh, b, phi=torch.tanh):
    """d2l's step: examples are rows, so the matrices stand transposed, on the right."""
    return phi(X @ W_xh.T + H @ W_hh.T + b)


def joined(X, H, W_xh, W_hh, b, phi):
    """One product: [X_t, H_{t-1}] (B, d+h) times the stacked [W_xh^T; W_hh^T] (d+h, h)."""
    return phi(torch.cat([X, H], dim=1) @ torch.cat([W_xh.T, W_hh.T]) + b)


def rnn(X, H, *weights, step=rows):
    """X (B, T, d), H_0 (B, h) -> all states (B, T, h)."""
    states = []
    for X_t in X.unbind(dim=1):
        H = step(X_t, H, *weights)
        states.append(H)
    return torch.stack(states, dim=1)


def in_minidl(X, H, W_xh, W_hh, b):
    """minidl's starts at 0: what h_0 adds is a part of its first a_t."""
    a = (X @ W_xh.T + b).transpose(0, 1).clone()
    a[0] += H @ W_hh.T
    return recurrence(a, W_hh).transpose(0, 1)


def in_torch(X, H, W_xh, W_hh, b, phi=torch.tanh, b_hh=None):
    net = nn.RNN(*W_xh.T.shape, nonlinearity=phi.__name__, batch_first=True, dtype=D)
    net.load_state_dict({"weight_ih_l0": W_xh, "weight_hh_l0": W_hh, "bias_ih_l0": b,
                         "bias_hh_l0": 0 * b if b_hh is None else b_hh})
    return net(X, H[None])[0].detach()


def last_state(H, lengths):
    """The state after the last word: H (B, T, h), lengths (B,) -> (B, h)."""
    return H[torch.arange(len(H)), lengths - 1]


def sentiment(ids, lengths, E, W_xh, W_hh, b, W_hq, b_q, phi):
    """The table: ids (B, T), lengths (B,) -> x (B, T, d), states (B, T, h), logits (B, 1)."""
    X = E[ids]
    H = rnn(X, X.new_zeros(len(X), len(b)), W_xh, W_hh, b, phi)
    return X, H, last_state(H, lengths) @ W_hq.T + b_q


def deltas(h, W_hh, g):
    """dL/da_t by (4): h (T+1, h) from h_0 on, g (T, h) -> (T, h)."""
    delta, found = torch.zeros(len(W_hh), dtype=D), []
    for h_t, g_t in zip(h[1:].flip(0), g.flip(0), strict=True):
        delta = (1 - h_t**2) * (W_hh.T @ delta + g_t)
        found.append(delta)
    return torch.stack(found).flip(0)


def gradients(ids, E, h, W_xh, delta):
    """dL/dE, dL/dW_xh, dL/dW_hh, dL/db by (4)."""
    dE = torch.zeros_like(E).index_add(0, ids, delta @ W_xh)  # a word may occur twice
    return dE, delta.T @ E[ids], delta.T @ h[:-1], delta.sum(dim=0)


def unrolled(h, W_hh, first):
    """The terms i >= first of dh_T/dvec(W_hh) (h, h*h) by (5); h (T+1, h) from h_0 on."""
    product = identity = torch.eye(len(W_hh), dtype=D)  # product of the df_j/dh_{j-1}, j > i
    total = 0
    for i in range(len(h) - 1, first - 1, -1):
        slope = (1 - h[i] ** 2)[:, None]
        total = total + product @ (slope * torch.kron(identity, h[i - 1]))
        product = product @ (slope * W_hh)
    return total


def example(make, B=2, T=4, d=3, h=5):
    """X, H_0, W_xh, W_hh, b, no two sizes alike."""
    return [make(*size, seed=seed)
            for seed, size in enumerate([(B, T, d), (B, h), (h, d), (h, h), (h,)])]


@claim(71, "float")
def test_rnn_equations_agree_in_three_notations():
    """Columns against rows, minidl's and torch.nn.RNN, from a state h_0 that is not 0.

    Bound: a_t adds d+h+1 products, so it is off by (d+h+2) U times the sum of their sizes,
    tanh by a few U; tanh is 1-Lipschitz, so an error in h_{t-1} grows at most |W_hh|_inf-fold.
    """
    X, H, W_xh, W_hh, b = example(reals)
    T, d, h = *X.shape[1:], len(b)
    norm = W_hh.abs().sum(dim=1).max()
    size = (X.abs() @ W_xh.abs().T).max() + norm * max(1, H.abs().max()) + b.abs().max()
    bound = sum(norm**t for t in range(T)) * 2 * ((d + h + 2) * size + 4) * U

    def check(run):
        close(run(X, H, W_xh, W_hh, b), rnn(X, H, W_xh, W_hh, b, step=columns), bound)

    for run in (rnn, in_minidl, in_torch):
        check(run)
    refuted(check,
            lambda X, H, W_xh, W_hh, b: rnn(X, H, W_xh, W_hh.T, b),
            lambda X, H, W_xh, W_hh, b: rnn(X, 0 * H, W_xh, W_hh, b),  # h_0 forgotten
            lambda X, H, W_xh, W_hh, b: in_torch(X, H, W_xh, W_hh, b, b_hh=b),  # b twice
            lambda X, H, W_xh, W_hh, b: rnn(X, H, W_xh, 1.001 * W_hh, b))


@claim(72, "exact")
def test_rnn_forward_tensor_sizes_and_parameter_count():
    """Sizes and values of every tensor, ours and torch's, integers through ReLU over 3 words;
    refuted: read at T; dimension 0 taken for time. The counts, off torch's modules. Only
    b_ih + b_hh acts; not so if step 1 skips W_hh h_0 + b_hh."""
    V, (X, H, *weights) = 11, example(ints, B=64, T=3, d=100, h=256)
    ids, lengths = ints(64, 3, low=0, high=V - 1).long(), ints(64, low=1, high=3).long()
    E, W_hq, b_q = ints(V, 100, seed=6), ints(1, 256, seed=7), ints(1, seed=8)

    def torchs(ids, lengths):
        X = nn.functional.embedding(ids, E)
        states = in_torch(X, 0 * H, *weights, torch.relu)
        last = torch.stack([states[i, n - 1] for i, n in enumerate(lengths)])
        return X, states, nn.functional.linear(last, W_hq, b_q)

    def check(forward):
        found = forward(ids, lengths, E, *weights, W_hq, b_q, torch.relu)
        holds([tuple(x.shape) for x in found] == [(64, 3, 100), (64, 3, 256), (64, 1)])
        for ours, expected in zip(found, torchs(ids, lengths), strict=True):
            same(ours, expected)

    def time_first(ids, lengths, *rest):
        return [x.movedim(0, -2) for x in sentiment(ids.T, lengths[:3], *rest)]

    check(sentiment)
    refuted(check, lambda ids, n, *rest: sentiment(ids, 0 * n + 3, *rest), time_first)

    def count(module):
        return sum(parameter.numel() for parameter in module.parameters())

    net, embedding = nn.RNN(100, 256), nn.Embedding(V, 100)
    same([count(net), count(net) - net.bias_hh_l0.numel(), count(embedding)],
         [91_648, 91_392, 100 * V])
    same([count(nn.Linear(256, 1)), count(nn.Linear(256, 2))], [257, 514])

    W_xh, W_hh, b = weights
    part = ints(len(b), seed=9)

    def check_sum(run):
        same(run(b - part, part), rnn(X, H, W_xh, W_hh, b, torch.relu))

    def skips(b_ih, b_hh):
        first = torch.relu(X[:, 0] @ W_xh.T + b_ih)
        rest = rnn(X[:, 1:], first, W_xh, W_hh, b_ih + b_hh, torch.relu)
        return torch.cat([first[:, None], rest], dim=1)

    check_sum(lambda b_ih, b_hh: in_torch(X, H, W_xh, W_hh, b_ih, torch.relu, b_hh))
    refuted(check_sum, skips)


@claim(73, "exact")
def test_concatenated_form_is_identical():
    """Against both notations and torch; the control stacks the two blocks the other way."""
    X, H, *weights = example(ints)

    def check(step):
        found = rnn(X, H, *weights, torch.relu, step=step)
        for expected in (rows, columns):
            same(found, rnn(X, H, *weights, torch.relu, step=expected))
        same(found, in_torch(X, H, *weights, torch.relu))

    check(joined)
    refuted(check, lambda X, H, W_xh, W_hh, b, phi: phi(
        torch.cat([X, H], dim=1) @ torch.cat([W_hh.T, W_xh.T]) + b))


@claim(74, "exact")
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


@claim(75, "exact")
def test_rnn_is_TI_from_rest_and_not_with_bias():
    """Zeros in front, a = 1 .. 3 of them, from h_0 = 0 with b = 0 and with b < 0 through ReLU,
    and from another fixed point. H1 is broken in three ways. Witness, all weights 1, b = 1,
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
    waited = torch.tensor([[[0.0], [1.0]]], dtype=D)
    for x, expected in ((waited, [1, 3]), (waited[:, 1:], [2])):
        states = rnn(x, 0 * one, one, one, one[0], torch.relu)
        same(states.flatten(), one.new_tensor(expected))


@claim(76, "float")
def test_bptt_by_hand_equals_autograd():
    """L = sum_t g_t . h_t, with a word that occurs twice: (4) against autograd over the loop;
    and minidl's backward pass, which is (4) with all words' products in one.

    Bound: with r the largest column sum of |W_hh|, |delta_t| <= G = max|g| (1 + .. + r^{T-1});
    an entry is off by at most T (d+h+4) U times T G times the largest factor beside delta.
    """
    ids = torch.tensor([2, 0, 5, 2, 3, 6])
    T, V, d, h = len(ids), 7, 3, 4
    E, W_xh, W_hh = reals(V, d, seed=1), reals(h, d, seed=2), reals(h, h, seed=3)
    b, h_0, g = reals(h, seed=4), reals(h, seed=5), reals(T, h, seed=6)
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
    """(5) from every first step on, against autograd over the loop cut loose before that step.

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
    """(6), with equality for phi = identity and W_hh = sigma Q, Q orthogonal (sigma = 1: an
    isometry). The spectral radius, one power too many and 0.1% less are refuted. sigma > 1
    need not explode: [[0, 2], [0, 0]] has sigma 2 and square 0; large inputs saturate tanh.
    Slack: a product of T matrices (h, h) is off by T h^2 U of the product of their norms.
    """
    T, h = 9, 4
    Q = torch.linalg.qr(reals(h, h, seed=4))[0]
    shear = torch.eye(h, dtype=D) / 2 + ints(h, h, seed=5).triu(1) / 10  # spectral radius 1/2
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
    close(through(Q, linear).T @ through(Q, linear), torch.eye(h, dtype=D), slack)
    nilpotent = torch.tensor([[0.0, 2.0], [0.0, 0.0]], dtype=D)
    holds(torch.linalg.matrix_norm(nilpotent, 2) == 2 and not (nilpotent @ nilpotent).any())
    holds(torch.linalg.matrix_norm(through(1.5 * Q, torch.tanh, scale=100), 2) < 1e-6)


@claim(79, "witness")
def test_padding_after_the_end_changes_the_last_state():
    """h_t = ReLU(x_t + 2 h_{t-1}) ends in 1 on (1) and in 2 on (1, 0). Read at its own length,
    each review of a padded batch ends as it does alone; so it does in torch's packing."""
    one = torch.ones(1, 1, dtype=D)
    rest, weights = 0 * one, [one, 2 * one, 0 * one[0]]
    reviews = [one.new_tensor(x)[:, None] for x in ([1], [3, -2, 5], [2, 1])]
    lengths = torch.tensor([1, 3, 2])
    X = nn.utils.rnn.pad_sequence(reviews, batch_first=True)
    same(rnn(X[:1], rest, *weights, torch.relu).flatten(), one.new_tensor([1, 2, 4]))
    alone = torch.cat([rnn(x[None], rest, *weights, torch.relu)[:, -1] for x in reviews])

    def check(read):
        same(read(rnn(X, rest, *weights, torch.relu), lengths), alone)

    def packed(states, lengths):
        net = nn.RNN(1, 1, nonlinearity="relu", bias=False, dtype=D)
        net.load_state_dict({"weight_ih_l0": weights[0], "weight_hh_l0": weights[1]})
        _, last = net(nn.utils.rnn.pack_padded_sequence(
            X, lengths, batch_first=True, enforce_sorted=False))
        return last.squeeze(0).detach()

    check(last_state)
    check(packed)
    refuted(check,
            lambda states, lengths: states[:, -1],
            lambda states, lengths: last_state(states, lengths - 1))
