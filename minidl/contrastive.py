r"""SimCLR's loss: of all other views, which one shows the same image?

2N views v_1 .. v_2N of N images, i and i + N of the same; z = v / |v|, so that
s_ij = z_i . z_j is the cosine of their angle; p(i) = i + N modulo 2N is the partner of i.
Checked against a double loop in tests/test_contrastive.py; its optima are proven in
theory/appendix/test_gan_simclr.py.
"""

import torch
import torch.nn.functional as F


def nt_xent(v, tau):
    r"""The normalised, temperature-scaled cross-entropy, in nats a view:

        l_i = -log( e^{s_ip / tau} / sum_{j != i} e^{s_ij / tau} ),   p = p(i)

    v (2N, D) of any lengths, first all first views, then all second ones in the same order
    -> (2N,), one value a view. log(2N - 1) if all views are alike (collapse); the mean, not a
    single view, is at least log(1 + (2N - 2) e^{-N / ((N - 1) tau)}). Chen et al. (2020), (1).
    Errors: ValueError for an odd number of views, or fewer than 4, which have no negatives.
    """
    if len(v) % 2 or len(v) < 4:
        raise ValueError(f"found {len(v)} views, expected two each of 2 images or more")
    return classify_partners(F.normalize(v), tau)


def classify_partners(z, tau):
    r"""-log P(p(i) | i),  P(j | i) = softmax over j != i of z_i . z_j / tau, of z as they are.

    (2N, D) -> (2N,).
    """
    own = torch.eye(len(z), dtype=torch.bool, device=z.device)
    s = (z @ z.T / tau).masked_fill(own, -torch.inf)  # i is most like i, and is no candidate
    i = torch.arange(len(z), device=z.device)
    return s.logsumexp(dim=1) - s[i, i.roll(len(z) // 2)]
