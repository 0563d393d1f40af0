"""Your answers to the theoretical questions. Copy this file, replace each `...`, and run

    python -m pytest theory --answers my_answers.py

For each item the table says: correct, not answered (still `...`), or wrong, and in what way.
Arguments are torch tensors (float64) and numbers; new tensors are float64, too. Return a
tensor, a numpy array, nested lists or a number, within 10 seconds. Import what you like.

A Jacobian may have a row per output or a row per input. A tensor with several axes may be
listed by rows (the last index runs fastest) or by columns (the first does). Either counts as
correct and is named; keep to one.
"""

# --- exercise 2, question 1: a convolution is time invariant --------------------------------


def convolve(x, h):
    """The convolution of two finite signals, with zeros outside them.

    x (n,), h (k,): x[0] and h[0] stand at time 0. Return its n + k - 1 values from time 0 on.
    """
    ...


# The layer C keeps n values of the convolution of x (n,) with h (k,), k odd: those from time
# (k - 1) / 2 on ("same" zero padding). T_a moves a signal of n values by a places to the
# right, with zeros coming in. Give x, h and a, lists and a number, for which C T_a x is not
# T_a C x.
zero_padding = ...


# --- question 2: is the layer time invariant? -----------------------------------------------
# Signals are on all integers t; (T_a x)[t] = x[t - a]. If the layer S is time invariant,
# answer True. If not, answer with a pair (x, a) for which S T_a x is not T_a S x. Here a is a
# shift, and x a list of numbers at times 0, 1, 2 ..., with zeros at all other times.

additive_constant = ...       # (a) (S x)[t] = x[t] + 3
pointwise_nonlinearity = ...  # (b) (S x)[t] = max(x[t], 0)
strided_pooling = ...         # (c) (S x)[t] = max(x[2t], x[2t + 1])
cnn = ...                     # (d) pooling (c) of ReLU (b) of h * x + 3, with h = [1, -2]


# --- question 3: Jacobian matrices ----------------------------------------------------------


def bias_wrt_x(x, b):
    """(a) Of y = x + b with respect to x: x (n,), b (n,) -> (n, n)."""
    ...


def bias_wrt_b(x, b):
    """(a) Of y = x + b with respect to b: x (n,), b (n,) -> (n, n)."""
    ...


def fc_wrt_x(W, x):
    """(b) Of y = W x with respect to x: W (m, n), x (n,) -> (m, n)."""
    ...


def fc_wrt_W(W, x):
    """(b) Of y = W x with respect to W, whose entries are listed: (m, n), (n,) -> (m, m n)."""
    ...


def fc_wrt_b(W, x, b):
    """(b) Of y = W x + b with respect to b: W (m, n), x (n,), b (m,) -> (m, m)."""
    ...


def conv_wrt_x(x, w, stride, padding):
    """(c) Of a convolution layer, as in deep learning, with respect to x:

        y[o, i] = sum_c sum_u w[o, c, u] x[c, i stride + u - padding],   x = 0 outside.

    x (C, n), w (O, C, k); y has m = (n + 2 padding - k) // stride + 1 values per channel. x
    and y are listed as vectors -> (O m, C n).
    """
    ...


def conv_wrt_w(x, w, stride, padding):
    """(c) Of the same layer with respect to w: y and w are listed -> (O m, O C k)."""
    ...


# --- assignment 8, exercise 3: a variational autoencoder ------------------------------------


def kl_gaussians(mu1, S1, mu2, S2):
    """KL(N(mu1, S1) || N(mu2, S2)) in nats: (D,), (D, D) twice, covariances -> a number."""
    ...


def kl_diagonal(mu, logvar):
    """KL(N(mu, diag(s^2)) || N(0, I)) in nats, logvar = log s^2: (B, D) twice -> (B,)."""
    ...


def vae_forward(x, encode, decode, eps):
    """A forward pass: images x (B, P), draws eps (B, D) of N(0, I) -> z (B, D), x_hat (B, P).

    encode(x) returns mu and logvar = log s^2, (B, D) each; decode(z) returns x_hat.
    """
    ...


# --- exercise 4: the simple recurrent network -----------------------------------------------


def rnn_forward(w, n, E, W_xh, W_hh, b, W_hq, b_q):
    """One review -> the state h (H,) after its last word, and p, the probability "positive".

    w (T,): word numbers from 0 on; the first n are the review's, the rest is padding. E (V, D)
    embeddings, W_xh (H, D), W_hh (H, H), b (H,); W_hq (1, H) and b_q (1,) give the logit. The
    state starts at 0, the nonlinearity is tanh.
    """
    ...


# --- exercise 5: the 1-D CNN of Figure 15.14 ------------------------------------------------
# One sentence of 11 words, 6 numbers a word; 4 filters over 2 words and 5 over 4 words, no
# padding, stride 1; maximum over time; 2 classes. Give each size as a tuple. X holds the
# words' numbers, Z2 and Z4 the filters' outputs, m2 and m4 their maxima, m both joined.

sizes = {"X": ..., "Z2": ..., "Z4": ..., "m2": ..., "m4": ..., "m": ..., "logits": ...}

parameters = ...  # how many are trained, with biases, without the table of embeddings


def textcnn_forward(X, W2, b2, W4, b4, V, a):
    """One sentence X (T, D) -> the maxima m (C2 + C4,), filters of 2 words first, the logits.

    W2 (C2, D, 2), b2 (C2,), W4 (C4, D, 4), b4 (C4,): W2[c, d, u] weighs number d of a window's
    word u. ReLU, then the maximum over time. V (classes, C2 + C4) and a give the logits.
    """
    ...


# --- homework 2, 4 (a), and homework 1, 2 and 3 ---------------------------------------------


def pca(X, d):
    """PCA of N examples X (N, P): the d leading components W (d, P), orthonormal rows, the
    codes Z (N, d), and the variance along each component (d,), of falling size.

    Signs are free; W may have the components as columns; variances may divide by N or N - 1.
    """
    ...


def momentum_step(w, g, v, lr, mu):
    """A step of SGD with (Polyak's) momentum mu -> the new w and v.

    Weights w, gradient g, velocity v, of one shape. Under a constant g the velocity grows to
    g / (1 - mu); the learning rate lr, and a sign, may be a part of v.
    """
    ...


def adam_step(w, g, m, v, t, lr, b1, b2, eps):
    """Step t = 1, 2 ... of Adam -> the new w, m, v: tensors of one shape, and numbers."""
    ...


def folds(n, k):
    """k-fold cross-validation of n examples: a list of k pairs (training, validation).

    Each is a list of indices from 0 on; sizes of validation parts differ by at most one.
    """
    ...


# --- homework 2, 5: SimCLR and a GAN --------------------------------------------------------


def nt_xent(v, tau):
    """SimCLR's loss with temperature tau, in nats: a value for each view, v (2N, D) -> (2N,).

    Views i and i + N are of the same image; their similarity is the cosine.
    """
    ...


def discriminator_loss(real, fake):
    """What D minimises, in nats: logits of B real and B generated images -> (B,), the sum of
    both images' cross-entropies."""
    ...


def generator_loss(fake):
    """What G minimises, not saturating, in nats: logits of generated images (B,) -> (B,)."""
    ...
