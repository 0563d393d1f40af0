"""The items of theory/answers.py: inputs, right answers, and slips that students make.

An input is as small as it can be and still tell slips apart: sizes above 1, unequal where they
could be confused. A slip is named by what was done. What tests/diagnosis.py finds by itself is
no slip here: an argument left out, exchanged or reversed; a factor; a mean for a sum.
"""

import math

import torch
import torch.nn.functional as F
from diagnosis import D, Question

from minidl import contrastive, gan, gaussian, optim
from minidl import pca as principal

QUESTIONS = {}


def question(where, inputs, slips, **more):
    """Enter a right answer under its own name."""
    def enter(right):
        QUESTIONS[right.__name__] = Question(where, right, inputs, slips, **more)
        return right
    return enter


def ints(*shape, seed=0, low=-4):
    """Small integers stored as float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(low, 6, shape, generator=generator).to(D)


def positive(*shape, seed=0):
    return ints(*shape, seed=seed, low=1)


def identity(n):
    return torch.eye(n, dtype=D)


def matrices(axes=1):
    """The ways to write J, a tensor whose first axes are the output's, as a matrix."""
    def by_rows(J):
        return J.reshape(math.prod(J.shape[:axes]), -1)

    def by_columns(J):
        return by_rows(J.permute(*reversed(range(axes)), *reversed(range(axes, J.dim()))))

    return {"": by_rows, "listed by columns": by_columns,
            "a row per input": lambda J: by_rows(J).T,
            "listed by columns, a row per input": lambda J: by_columns(J).T,
            "an axis for each index": lambda J: J}


# --- exercise 2, questions 1 and 3 ----------------------------------------------------------


@question("exercise 2, 1", [(ints(n, seed=n), ints(k, seed=k)) for n, k in [
        (3, 2), (4, 3), (2, 4), (6, 3)]], {
    "the kernel is not flipped: that is a correlation": lambda x, h: convolve(x, h.flip(0)),
    "only where the signals overlap fully": lambda x, h: convolve(x, h)[
        min(len(x), len(h)) - 1:max(len(x), len(h))],
    "the end wraps around: a circular convolution": lambda x, h: sum(
        h[s] * x.roll(s) for s in range(len(h)))})
def convolve(x, h):
    padded = F.pad(x, (len(h) - 1, len(h) - 1))
    return padded.unfold(0, len(h), 1) @ h.flip(0)


VECTORS = [(ints(n, seed=n), ints(n, seed=n + 9)) for n in (2, 3, 5)]
PRODUCTS = [(ints(m, n, seed=m), ints(n, seed=n + 9)) for m, n in [(2, 3), (3, 2), (4, 3)]]


for name, where, inputs, right in (  # of y = x + b, y = W x + b
        ("bias_wrt_x", "exercise 2, 3 (a)", VECTORS, lambda x, b: identity(len(x))),
        ("bias_wrt_b", "exercise 2, 3 (a)", VECTORS, lambda x, b: identity(len(b))),
        ("fc_wrt_b", "exercise 2, 3 (b)", [(W, x, ints(len(W), seed=7)) for W, x in PRODUCTS],
         lambda W, x, b: identity(len(b)))):
    QUESTIONS[name] = Question(where, right, inputs, {
        "ones everywhere: an output depends on its own entry alone":
            lambda *args, J=right: 0 * J(*args) + 1,
        "the diagonal alone, as a vector": lambda *args, J=right: J(*args).diagonal()},
        layouts=matrices())


@question("exercise 2, 3 (b)", PRODUCTS, {
    "W x itself": lambda W, x: W @ x,
    "the terms W_ij x_j, not their derivatives": lambda W, x: W * x,
    "the gradient of sum_i y_i: its rows are added up": lambda W, x: W.sum(0)},
    layouts=matrices())
def fc_wrt_x(W, x):
    return W.clone()


@question("exercise 2, 3 (b)", PRODUCTS, {
    "x in every block: y_i depends on row i of W alone":
        lambda W, x: x.expand(len(W), *W.shape),
    "x once for each output, not in a block of its own": lambda W, x: x.expand_as(W)},
    layouts=matrices())
def fc_wrt_W(W, x):
    return identity(len(W))[..., None] * x  # (m, m, n)


LAYERS = [(ints(C, n, seed=n), positive(out, C, k, seed=k), s, p) for C, n, out, k, s, p in [
    (3, 3, 2, 2, 1, 0), (2, 5, 3, 2, 2, 0), (2, 3, 3, 2, 1, 1), (3, 4, 2, 3, 2, 1),
    (2, 4, 3, 3, 1, 2)]]


def jacobian(wrt, position=lambda i, u, s, p: i * s + u - p, wraps=False):
    """-> f(x, w, s, p) = dy / dx (O, m, C, n) or dy / dw (O, m, O, C, k): y[o, i] weighs the
    entry of x at `position` by w[o, :, u]."""
    def tensor(x, w, s, p):
        n, (out, _, k) = x.shape[1], w.shape
        m = (n + 2 * p - k) // s + 1
        J = torch.zeros(out, m, *(x.shape if wrt == "x" else w.shape), dtype=D)
        for i in range(m):
            for u in range(k):
                j = position(i, u, s, p)
                if wrt == "x" and (wraps or 0 <= j < n):
                    J[:, i, :, j % n] += w[:, :, u]
                elif wraps or 0 <= j < n:
                    J[range(out), i, range(out), :, u] = x[:, j % n]
        return J
    return tensor


def misplaced(wrt):
    return {"the stride multiplies u: that is dilation":
                jacobian(wrt, lambda i, u, s, p: i + u * s - p),
            "padding on the right only": jacobian(wrt, lambda i, u, s, p: i * s + u),
            "the padding wraps around": jacobian(wrt, wraps=True)}


@question("exercise 2, 3 (c)", LAYERS, {
    "the kernel is flipped: the layer correlates": lambda x, w, *rest: conv_wrt_x(
        x, w.flip(2), *rest),
    **misplaced("x")}, layouts=matrices(2))
def conv_wrt_x(x, w, stride, padding):
    return jacobian("x")(x, w, stride, padding)


@question("exercise 2, 3 (c)", LAYERS, {
    "the kernel is flipped: the layer correlates": lambda *args: conv_wrt_w(*args).flip(4),
    "the windows of one output channel, without those of the others":
        lambda *args: conv_wrt_w(*args)[:1, :, 0],
    "the windows in every block: y[o] depends on w[o] alone": lambda *args: conv_wrt_w(
        *args).sum(2, keepdim=True).expand(-1, -1, len(args[1]), -1, -1),
    **misplaced("w")}, layouts=matrices(2))
def conv_wrt_w(x, w, stride, padding):
    return jacobian("w")(x, w, stride, padding)


# --- assignment 8, exercise 3 ---------------------------------------------------------------


def covariance(n, seed):
    L = positive(n, n, seed=seed).tril() / 2
    return L @ L.T


def log_ratio(S1, S2):
    return S2.logdet() - S1.logdet()


@question("assignment 8, 3", [(ints(n, seed=n), covariance(n, n), ints(n, seed=5 + n),
                               covariance(n, n + 3)) for n in (2, 3, 4)], {
    "KL(p2 || p1): the two Gaussians are exchanged":
        lambda mu1, S1, mu2, S2: kl_gaussians(mu2, S2, mu1, S1),
    "- D is missing": lambda *args: kl_gaussians(*args) + len(args[0]) / 2,
    "det S1 / det S2 in the logarithm":
        lambda mu1, S1, mu2, S2: kl_gaussians(mu1, S1, mu2, S2) - log_ratio(S1, S2),
    "the logarithm is missing":
        lambda mu1, S1, mu2, S2: kl_gaussians(mu1, S1, mu2, S2) - log_ratio(S1, S2) / 2,
    "the determinants without the logarithm": lambda mu1, S1, mu2, S2: kl_gaussians(
        mu1, S1, mu2, S2) + (log_ratio(S1, S2).exp() - log_ratio(S1, S2)) / 2,
    "the term of the means is missing":
        lambda mu1, S1, mu2, S2: kl_gaussians(mu2, S1, mu2, S2),
    "S1^-1, not S2^-1, in the term of the means": lambda mu1, S1, mu2, S2: kl_gaussians(
        mu2, S1, mu2, S2) + kl_gaussians(mu1, S1, mu2, S1),
    "|mu2 - mu1|^2, without S2^-1": lambda mu1, S1, mu2, S2: kl_gaussians(
        mu2, S1, mu2, S2) + (mu2 - mu1).square().sum() / 2,
    "S1 and S2 taken for standard deviations": lambda mu1, S1, mu2, S2: kl_gaussians(
        mu1, S1 @ S1, mu2, S2 @ S2)})
def kl_gaussians(mu1, S1, mu2, S2):
    return gaussian.kl(mu1, S1, mu2, S2)


def diagonal(mu, s2, log_s2, one=1):
    return (mu**2 + s2 - log_s2 - one).sum(1) / 2


@question("assignment 8, 3", [(ints(B, n, seed=n), positive(B, n, seed=B) / 4)
                              for B, n in [(2, 3), (3, 2), (4, 5)]], {
    "logvar taken for the standard deviation": lambda mu, a: diagonal(mu, a**2, (a**2).log()),
    "logvar taken for the variance": lambda mu, a: diagonal(mu, a, a.log()),
    "logvar taken for log s in s^2": lambda mu, a: diagonal(mu, (2 * a).exp(), a),
    "s in place of s^2": lambda mu, a: diagonal(mu, (a / 2).exp(), a),
    "the - 1 is missing": lambda mu, a: diagonal(mu, a.exp(), a, 0),
    "- 1 once, not D times": lambda mu, a: diagonal(mu, a.exp(), a, 1 / mu.shape[1]),
    "+ logvar: its sign is wrong": lambda mu, a: diagonal(mu, a.exp(), -a),
    "logvar is missing": lambda mu, a: diagonal(mu, a.exp(), 0),
    "not summed over the dimensions": lambda mu, a: (mu**2 + a.exp() - a - 1) / 2})
def kl_diagonal(mu, logvar):
    return gaussian.kl_to_std_normal(mu, logvar)


def encode(x):
    "x -> its left half, its right half"
    return x.chunk(2, dim=1)


def decode(z):
    "z -> sigmoid([z, -z])"
    return torch.cat([z, -z], dim=1).sigmoid()


def vae_with(latent):
    """The forward pass with another z."""
    def forward(x, encode, decode, eps):
        z = latent(*encode(x), eps)
        return z, decode(z)
    return forward


@question("assignment 8, 3", [(ints(B, 2 * n, seed=B) / 4, encode, decode, ints(B, n) / 2)
                              for B, n in [(2, 3), (3, 2)]], {
    "logvar taken for the standard deviation": vae_with(lambda mu, a, eps: mu + a * eps),
    "the variance in place of the standard deviation":
        vae_with(lambda mu, a, eps: mu + a.exp() * eps),
    "eps is not scaled by s": vae_with(lambda mu, a, eps: mu + eps),
    "mu and logvar are exchanged": vae_with(lambda mu, a, eps: a + (mu / 2).exp() * eps),
    "mu is decoded, not z": lambda x, encode, decode, eps: (
        vae_forward(x, encode, decode, eps)[0], decode(encode(x)[0]))}, parts=("z", "x_hat"))
def vae_forward(x, encode, decode, eps):
    z = gaussian.reparametrise(*encode(x), eps=eps)
    return z, decode(z)


# --- exercises 4 and 5 ----------------------------------------------------------------------


def review(T, n, V, d, H, seed):
    w = torch.randperm(V, generator=torch.Generator().manual_seed(seed))[:T]
    return (w, n, *(ints(*shape, seed=seed + i) / 4 for i, shape in enumerate(
        [(V, d), (H, d), (H, H), (H,), (1, H), (1,)])))


def rnn_with(phi=torch.tanh, read=lambda T, n: n, of=lambda states: states[-1]):
    def forward(w, n, E, W_xh, W_hh, b, W_hq, b_q):
        h, states = 0 * b, []
        for word in w[:read(len(w), n)]:
            h = phi(W_xh @ E[word] + W_hh @ h + b)
            states.append(h)
        h = of(torch.stack(states))
        return h, (W_hq @ h + b_q).sigmoid()[0]
    return forward


@question("assignment 8, 4", [review(3, 2, 5, 2, 3, 1), review(4, 4, 5, 3, 2, 2),
                              review(6, 4, 7, 2, 4, 3)], {
    "the padding is read: all T words": rnn_with(read=lambda T, n: T),
    "only the last word: its state does not start from the one before":
        lambda w, n, *rest: rnn_forward(w[n - 1:n], 1, *rest),
    "the words are read from the last to the first":
        lambda w, n, *rest: rnn_forward(w[:n].flip(0), n, *rest),
    "no nonlinearity": rnn_with(phi=lambda x: x),
    "the sigmoid in place of tanh": rnn_with(phi=torch.sigmoid),
    "the mean of all states, not the last": rnn_with(of=lambda states: states.mean(0))},
    parts=("h", "p"))
def rnn_forward(w, n, E, W_xh, W_hh, b, W_hq, b_q):
    return rnn_with()(w, n, E, W_xh, W_hh, b, W_hq, b_q)


def sentence(T, n, C2, C4, seed):
    return tuple(ints(*shape, seed=seed + i) for i, shape in enumerate(
        [(T, n), (C2, n, 2), (C2,), (C4, n, 4), (C4,), (2, C2 + C4), (2,)]))


def textcnn_with(phi=torch.relu, pool=lambda Z: Z.amax(0), padding=0):
    """Z (T - k + 1, C) of either filter, phi, pool over time -> m, the logits."""
    def forward(X, W2, b2, W4, b4, V, a):
        X = F.pad(X, (0, 0, padding, padding))
        Z = [torch.einsum("tdu,cdu->tc", X.unfold(0, W.shape[2], 1), W) + b
             for W, b in ((W2, b2), (W4, b4))]
        m = torch.cat([pool(phi(Z_k)) for Z_k in Z])
        return m, V @ m + a
    return forward


@question("assignment 8, 5", [sentence(5, 2, 2, 3, 1), sentence(7, 3, 3, 2, 2),
                              sentence(6, 2, 4, 3, 30), sentence(5, 3, 2, 4, 8)], {
    "the mean over time, not the maximum": textcnn_with(pool=lambda Z: Z.mean(0)),
    "the kernel is flipped: the layer correlates":
        lambda X, W2, b2, W4, *rest: textcnn_forward(X, W2.flip(2), b2, W4.flip(2), *rest),
    "no ReLU": textcnn_with(phi=lambda Z: Z),
    "the sentence is padded": textcnn_with(padding=1)}, parts=("m", "logits"))
def textcnn_forward(X, W2, b2, W4, b4, V, a):
    return textcnn_with()(X, W2, b2, W4, b4, V, a)


# --- homework 2 and homework 1 --------------------------------------------------------------


def positive_signs(values, X, d):
    """The signs of components are free: the largest entry of each is made positive."""
    W, Z, variance = values
    if sorted(W.shape) != sorted((d, X.shape[1])) or Z.shape != (len(X), d):
        return values
    across = 1 if len(W) == d else 0
    sign = W.gather(across, W.abs().argmax(across, keepdim=True)).sign()
    return W * sign, Z * sign.flatten(), variance


def pca_with(centre=lambda X: X.mean(0), order=lambda v, d: v[:d]):
    """The components, codes and variances; order: of what rises, which d."""
    def found(X, d):
        v = X - centre(X)
        variance, vectors = torch.linalg.eigh(v.T @ v / len(X))
        W = order(vectors.T.flip(0), d)
        return W, v @ W.T, order(variance.flip(0), d)
    return found


@question("homework 2, 4 (a)", [
    (ints(N, P, seed=seed) * torch.arange(P, 0, -1) ** 2 + 7, d) for N, P, d, seed in [
        (5, 3, 2, 1), (6, 4, 2, 2), (9, 5, 3, 3)]], {
    "X is not centred": pca_with(centre=lambda X: 0),
    "the codes are of X that is not centred": lambda X, d: (
        pca(X, d)[0], X @ pca(X, d)[0].T, pca(X, d)[2]),
    "the components of the smallest variance": pca_with(order=lambda v, d: v.flip(0)[:d]),
    "singular values in place of variances": lambda X, d: (
        *pca(X, d)[:2], (pca(X, d)[2] * len(X)).sqrt()),
    "shares of the total variance": lambda X, d: (
        *pca(X, d)[:2], pca(X, d)[2] / X.var(0, correction=0).sum()),
    "X is standardised": lambda X, d: pca(X / X.std(0), d)},
    rights={"variances divided by N - 1": lambda X, d: (
        *pca(X, d)[:2], pca(X, d)[2] * len(X) / (len(X) - 1))},
    layouts={"": lambda values: values,
             "components as columns": lambda values: (values[0].T, *values[1:])},
    settle=positive_signs, parts=("W", "Z", "variance"))
def pca(X, d):
    found = principal.fit(X, d)
    return found.components, found.encode(X), found.variance


def momentum_with(lr_of_w, lr_of_v=lambda lr, mu: 1, nesterov=False):
    """v <- mu v + lr_of_v g, then a step of lr_of_w against v."""
    def step(w, g, v, lr, mu):
        new = mu * v + lr_of_v(lr, mu) * g
        return w - lr_of_w(lr) * (mu * new + g if nesterov else new), new
    return step


@question("homework 1, 2", [(*(ints(n, seed=n + i) / 2 for i in (0, 3, 7)), lr, mu)
                            for n, lr, mu in [(2, 0.25, 0.75), (3, 0.5, 0.875)]], {
    "the gradient is damped by 1 - mu": momentum_with(lambda lr: lr, lambda lr, mu: 1 - mu),
    "Nesterov's momentum": momentum_with(lambda lr: lr, nesterov=True),
    "the learning rate acts twice": momentum_with(lambda lr: lr, lambda lr, mu: lr),
    "w uses the old velocity": lambda w, g, v, lr, mu: (w - lr * v, mu * v + g)},
    rights={"the learning rate in the velocity": momentum_with(
                lambda lr: 1, lambda lr, mu: lr),
            "the learning rate and the sign in the velocity": momentum_with(
                lambda lr: -1, lambda lr, mu: -lr)},
    parts=("w", "v"))
def momentum_step(w, g, v, lr, mu):
    return optim.sgd_momentum_step(w, g, v, lr, mu)


def adam_with(step=lambda m, v, eps: m / (v.sqrt() + eps), correct_m=1, correct_v=1,
              square=lambda g: g**2):
    """Adam with another step, or without a correction."""
    def new(w, g, m, v, t, lr, b1, b2, eps):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * square(g)
        m_hat, v_hat = m / (1 - b1**t) ** correct_m, v / (1 - b2**t) ** correct_v
        return w - lr * step(m_hat, v_hat, eps), m, v
    return new


@question("homework 1, 2", [
    (ints(n, seed=n + 1) / 2, positive(n, seed=n + 4) / 2, (t > 1) * ints(n, seed=n + 8) / 2,
     (t > 1) * positive(n, seed=n + 9) / 4, t, 0.5, 0.75, 0.875, 0.125)
    for n, t in [(2, 1), (3, 2), (4, 5)]], {
    "no bias correction": adam_with(correct_m=0, correct_v=0),
    "m is not corrected": adam_with(correct_m=0), "v is not corrected": adam_with(correct_v=0),
    "the root is missing": adam_with(lambda m, v, eps: m / (v + eps)),
    "eps inside the root": adam_with(lambda m, v, eps: m / (v + eps).sqrt()),
    "g is not squared in v": adam_with(square=lambda g: g),
    "m and v are returned corrected": lambda w, g, m, v, t, lr, b1, b2, eps: tuple(
        value / c for value, c in zip(adam_step(w, g, m, v, t, lr, b1, b2, eps),
                                      (1, 1 - b1**t, 1 - b2**t), strict=True))},
    # the end of their section 2: one rate holds both corrections, and eps is not corrected
    rights={"Kingma and Ba's second form": lambda w, g, m, v, t, lr, b1, b2, eps: adam_step(
        w, g, m, v, t, lr, b1, b2, eps / math.sqrt(1 - b2**t))}, parts=("w", "m", "v"))
def adam_step(w, g, m, v, t, lr, b1, b2, eps):
    return optim.adam_step(w, g, m, v, t, lr, (b1, b2), eps)


# --- homework 2, 5 --------------------------------------------------------------------------


def contrast_with(cosine=True, partner=lambda n: torch.arange(n).roll(n // 2),
                  kept=lambda i, j, p: i != j):
    """NT-Xent with other similarities, other partners p, or other views j in i's sum."""
    def loss(v, tau):
        z, i = (v / v.norm(dim=1, keepdim=True) if cosine else v), torch.arange(len(v))
        s, p = z @ z.T / tau, partner(len(v))
        others = s.masked_fill(~kept(i[:, None], i[None], p[:, None]), -math.inf)
        return others.logsumexp(1) - s[i, p]
    return loss


@question("homework 2, 5", [(ints(n, d, seed=n + d) + 0.5, tau) for n, d, tau in [
        (4, 2, 0.5), (6, 3, 2.0), (8, 2, 1.0)]], {
    "the views are not normalised": contrast_with(cosine=False),
    "i itself is not left out of the sum": contrast_with(kept=lambda i, j, p: i == i + 0 * j),
    "the partner is the neighbour: views 2i and 2i + 1":
        contrast_with(partner=lambda n: torch.arange(n) ^ 1),
    "the partner is left out of the sum": contrast_with(
        kept=lambda i, j, p: (i != j) & (p != j)),
    "only the other half's views are in the sum": contrast_with(
        kept=lambda i, j, p: (i < len(i) // 2) != (j < len(i) // 2))})
def nt_xent(v, tau):
    return contrastive.nt_xent(v, tau)


LOGITS = [(ints(n, seed=n) / 2, ints(n, seed=n + 5) / 2) for n in (2, 3, 5)]


@question("homework 2, 5", LOGITS, {
    "both are to be taken for real": lambda r, f: -F.logsigmoid(r) - F.logsigmoid(f),
    "the generated images are left out": lambda r, f: -F.logsigmoid(r),
    "a second sigmoid": lambda r, f: discriminator_loss(r.sigmoid(), f.sigmoid()),
    "logits in place of their sigmoid: Wasserstein's loss": lambda r, f: f - r})
def discriminator_loss(real, fake):
    return gan.discriminator_loss(real, fake)


@question("homework 2, 5", [(fake,) for _, fake in LOGITS], {
    "that is the saturating loss": lambda f: F.logsigmoid(-f),
    "D's own loss": lambda f: -F.logsigmoid(-f),
    "logits in place of their sigmoid: Wasserstein's loss": lambda f: -f})
def generator_loss(fake):
    return gan.non_saturating(fake)
