r"""One step of SGD with momentum and of Adam by hand: pure functions, state in, state out.

w weights, g = dL/dw at w, lr the learning rate; all tensors have w's shape. The state starts
at 0. Equal to torch.optim's own over many steps: tests/test_optim.py.
"""


def sgd_momentum_step(w, g, v, lr, momentum, nesterov=False):
    r"""-> (w, v) after a step; mu = momentum, v the velocity in torch's convention.

        v <- mu v + g
        w <- w - lr v              plain (Polyak)
        w <- w - lr (g + mu v)     Nesterov: v as after one more update with this g

    Under a constant g, v grows to g / (1 - mu): for mu = 0.9, steps become ten times as long.
    In Sutskever et al. (2013), lr is inside v. With a constant lr, the weights are the same.
    """
    v = momentum * v + g
    return w - lr * (g + momentum * v if nesterov else v), v


def adam_step(w, g, m, v, t, lr=1e-3, betas=(0.9, 0.999), eps=1e-8):
    r"""-> (w, m, v) after step t = 1, 2, ..., element by element. Kingma and Ba (2015).

        m <- b1 m + (1 - b1) g        running mean of g      m_hat = m / (1 - b1^t)
        v <- b2 v + (1 - b2) g^2      running mean of g^2    v_hat = v / (1 - b2^t)
        w <- w - lr m_hat / (sqrt(v_hat) + eps)

    m and v start at 0, so they are too small by the factor 1 - b^t; m_hat and v_hat are not.
    The first step is lr sign(g), whatever the scale of the loss; eps stands outside the root.
    """
    if t < 1:
        raise ValueError(f"found step t = {t}, expected 1, 2, ...")
    b1, b2 = betas
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g**2
    m_hat, v_hat = m / (1 - b1**t), v / (1 - b2**t)
    return w - lr * m_hat / (v_hat.sqrt() + eps), m, v
