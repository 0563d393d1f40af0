r"""Exercise 4: the expressions of a forward pass through a simple recurrent network.

Result. For a review of n words the network evaluates, from h_0 = 0 on, for t = 1, ..., n

    x_t = E[w_t]                               row w_t of the embedding table
    h_t = tanh(W_xh x_t + W_hh h_{t-1} + b)    the state after word t
    o = W_hq h_n + b_q                         the logit, from the last state
    p = sigmoid(o)                             the probability of a positive review

with the sizes of the exercise, B = 64 reviews of T words from a vocabulary of V:

    tensor      one review   a batch         trained with it
    w           (T,)         (64, T)
    x           (T, 100)     (64, T, 100)    E (V, 100)
    h_0         (256,)       (64, 256)
    h           (T, 256)     (64, T, 256)    W_xh (256, 100), W_hh (256, 256), b (256,)
    o           (1,)         (64, 1)         W_hq (1, 256), b_q (1,)
    p           (1,)         (64, 1)

The state is Murphy's (15.5), without an output that is fed back. The head is his (15.6), with
one logit for two classes; the sigmoid is evaluated inside the loss.
(1) Murphy writes states as columns. d2l (9.4) writes examples as rows, so the matrices stand
    transposed on the right: H_t = tanh(X_t W_xh^T + H_{t-1} W_hh^T + b). torch.nn.RNN has
    Murphy's matrices and rows of data, and two biases, of which only the sum acts (72).
(2) The two products are one: W_xh x_t + W_hh h_{t-1} is [W_xh W_hh] times x_t and h_{t-1}
    below each other, by the rule for blocks (73).
(3) A batch is padded to T words, but a review ends at its own n <= T. The state goes on moving
    over the padding, so it must be read at n. With h_t = relu(x_t + 2 h_{t-1}), the state
    after the review (1) is 1, and after (1, 0) it is 2 (79).
(4) Parameters: 100 V for the embeddings, 256 (100 + 256 + 1) = 91,392 for the recurrent layer,
    or 91,648 with torch's second bias. The head has 257, or 514 with two logits. The length T
    does not matter, because every word uses the same matrices.

Check. (1) to (3) never look into the nonlinearity, so they are run in integers through ReLU,
without rounding; numbers that are drawn are evidence. The proofs are the equations. What the
gradient of this network can do is in appendix/test_bptt.py. Murphy (2022), 15.2; d2l.ai 9.4.
"""
# sheet: S4.4

import torch
from kit import D, U, claim, close, holds, ints, reals, refuted, same
from torch import nn

from minidl.recurrence import recurrence


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


def example(make, B=2, T=4, d=3, h=5):
    """X, H_0, W_xh, W_hh, b, no two sizes alike."""
    return [make(*size, seed=seed)
            for seed, size in enumerate([(B, T, d), (B, h), (h, d), (h, h), (h,)])]


@claim(71, "float", "exercise 4")
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


@claim(72, "integers", "exercise 4")
def test_rnn_forward_tensor_sizes_and_parameter_count():
    """Sizes and values of every tensor, ours and torch's, integers through ReLU over 3 words;
    refuted: read at T; dimension 0 taken for time. The counts, off torch's modules. Only
    b_ih + b_hh acts; refuted: the second bias forgotten."""
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

    check_sum(lambda b_ih, b_hh: in_torch(X, H, W_xh, W_hh, b_ih, torch.relu, b_hh))
    refuted(check_sum, lambda b_ih, b_hh: rnn(X, H, W_xh, W_hh, b_ih, torch.relu))


@claim(73, "integers", "exercise 4")
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


@claim(79, "witness", "exercise 4")
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
