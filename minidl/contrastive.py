r"""SimCLR's loss: of all other views, which one shows the same image?

Of N images there are 2N views v_1 .. v_2N, i and i + N of the same image. So the partner of i
is p(i) = i + N modulo 2N. With z = v / |v|, s_ij = z_i . z_j is the cosine of their angle.
Checked in tests/test_contrastive.py; optima: theory/appendix/test_gan_simclr.py.
"""

import torch
import torch.nn.functional as F


def nt_xent(v, tau):
    r"""The normalised, temperature-scaled cross-entropy, in nats per view:

        l_i = -log( e^{s_ip / tau} / sum_{j != i} e^{s_ij / tau} ),   p = p(i)

    v (2N, D), all first views, then all second ones in the same order -> (2N,). log(2N - 1)
    if all views are alike (collapse). Chen et al. (2020), equation 1. ValueError for an odd
    number of views, or fewer than 4, which have no negatives.
    """
    if len(v) % 2 or len(v) < 4:
        raise ValueError(f"found {len(v)} views, expected two each of 2 images or more")
    return classify_partners(F.normalize(v), tau)


def classify_partners(z, tau):
    r"""-log softmax over j != i of z_i . z_j / tau, at j = p(i). z (2N, D) -> (2N,)."""
    own = torch.eye(len(z), dtype=torch.bool, device=z.device)
    s = (z @ z.T / tau).masked_fill(own, -torch.inf)  # i is not a candidate for itself
    i = torch.arange(len(z), device=z.device)
    return s.logsumexp(dim=1) - s[i, i.roll(len(z) // 2)]
