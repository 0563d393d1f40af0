"""minidl/pca.py against an independent singular value decomposition, and its own claims.

Tolerances, u = 2^-53, S the sum of squares of x (N, P): C = v^T v / N is off by N u S / N, the
rounding of N products, and eigh by P u S / N more. An eigenvalue is off by as much (Weyl), a
subspace by that over the gap between the eigenvalues in and out of it (Davis and Kahan).
"""

import numpy as np
import pytest
import torch

from minidl import pca

pytestmark = pytest.mark.numeric
U = 2.0**-53


@pytest.fixture
def x():
    """(3000, 12) around 5, with deviations of about 3.0, 2.7 ... 0.1."""
    random = torch.Generator().manual_seed(0)
    scales = torch.linspace(3, 0.1, 12, dtype=torch.float64)
    v = torch.linalg.qr(torch.randn(3000, 12, generator=random, dtype=torch.float64)).Q
    return 3000**0.5 * v * scales + 5


def bound(x):
    return 8 * U * (1 + x.shape[1] / len(x)) * x.square().sum().item()


def decomposed(x, d):
    """The variances and x_hat by an SVD of the centred data."""
    mean = x.numpy().mean(axis=0)
    left, s, right = np.linalg.svd(x.numpy() - mean, full_matrices=False)
    return s**2 / len(x), mean + (left[:, :d] * s[:d]) @ right[:d]


@pytest.mark.parametrize("d", [1, 3, 12])
def test_it_equals_the_singular_value_decomposition(x, d):
    variance, x_hat = decomposed(x, d)
    gap = 1 if d == 12 else variance[d - 1] - variance[d]
    code = pca.fit(x, d)
    np.testing.assert_allclose(code.variance, variance[:d], rtol=0, atol=bound(x))
    assert code.total_variance == pytest.approx(variance.sum(), abs=12 * bound(x))
    np.testing.assert_allclose(code.decode(code.encode(x)), x_hat, rtol=0,
                               atol=bound(x) / gap * x.abs().max().item())
    np.testing.assert_allclose(code.explained, variance[:d] / variance.sum(), rtol=0,
                               atol=bound(x))
    z = code.encode(x)
    assert z.mean(dim=0).abs().max() < bound(x)  # centred
    np.testing.assert_allclose(z.T @ z / len(x), np.diag(variance[:d]), rtol=0,
                               atol=2 * bound(x))  # uncorrelated, and not scaled


def test_signs_do_not_depend_on_the_order_of_the_data(x):
    before = x.clone()
    a, b = pca.fit(x, 5).components, pca.fit(x.flip(0), 5).components
    gap = -np.diff(decomposed(x, 12)[0]).max()  # the smallest between neighbours
    torch.testing.assert_close(a, b, rtol=0, atol=2 * bound(x) / gap)
    assert (a.gather(1, a.abs().argmax(1, keepdim=True)) > 0).all()
    assert torch.equal(x, before)  # the data are left as they were


def test_bytes_are_pixels_in_0_to_1_and_images_are_float32():
    images = torch.randint(0, 256, (30, 1, 4, 4), dtype=torch.uint8,
                           generator=torch.Generator().manual_seed(1))
    ours, expected = pca.fit(images, 3), pca.fit(images.double() / 255, 3)
    # float32 keeps 2^-24 of a number; the float64 before it is far more exact than that
    for name in ("mean", "variance", "components"):
        found = getattr(ours, name)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), getattr(expected, name), rtol=2**-23,
                                   atol=1e-9)
    assert torch.equal(ours.encode(images), ours.encode(images.float() / 255))
    assert pca.fit(images.float(), 2).components.dtype == torch.float32


def test_constant_data_have_no_variance():
    x = torch.full((5, 3), 2.0)
    code = pca.fit(x, 2)
    assert code.variance.tolist() == code.explained.tolist() == [0, 0]
    assert torch.equal(code.decode(code.encode(x)), x)


@pytest.mark.parametrize(("d", "change", "words"), [
    (0, lambda x: x, "0 components"), (13, lambda x: x, "13 components"),
    (2, lambda x: x[:0], "finite"), (2, lambda x: x / 0, "finite")])
def test_what_has_no_such_pca_is_refused(x, d, change, words):
    with pytest.raises(ValueError, match=words):
        pca.fit(change(x), d)


def test_the_first_components_are_the_smaller_pca_and_clipping_only_helps(x):
    images = (x / x.max()).clamp(0, 1).view(-1, 1, 3, 4)
    code = pca.fit(images, 12)
    for d in (1, 5):
        small = pca.fit(images, d)
        before = small.decode(small.encode(images)).view_as(images)
        x_hat = code.first(d).reconstruct(images)
        np.testing.assert_allclose(x_hat, before.clamp(0, 1), rtol=0, atol=bound(x))
        assert ((x_hat - images).abs() <= (before - images).abs() + bound(x)).all()
