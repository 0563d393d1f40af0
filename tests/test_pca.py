"""minidl/pca.py against an independent singular value decomposition, and its own claims."""

from pathlib import Path

import numpy as np
import pytest
import torch

from minidl import idx, pca


@pytest.fixture
def x():
    random = torch.Generator().manual_seed(0)
    scales = torch.linspace(3, 0.1, 12, dtype=torch.float64)
    return torch.randn(200, 12, generator=random, dtype=torch.float64) * scales + 5


@pytest.mark.parametrize("d", [1, 3, 12])
def test_it_equals_the_singular_value_decomposition(x, d):
    centred = x.numpy() - x.numpy().mean(axis=0)
    U, S, Vt = np.linalg.svd(centred, full_matrices=False)
    code = pca.fit(x, d)
    np.testing.assert_allclose(code.variance, S[:d] ** 2 / len(x), rtol=1e-9)
    best = (U[:, :d] * S[:d]) @ Vt[:d] + x.numpy().mean(axis=0)
    np.testing.assert_allclose(code.decode(code.encode(x)), best, atol=1e-9)
    assert code.total_variance == pytest.approx((S**2).sum() / len(x), rel=1e-9)


def test_the_error_left_is_the_variance_left(x):
    code = pca.fit(x, 4)
    error = (code.decode(code.encode(x)) - x).square().sum(dim=1).mean().item()
    left = code.total_variance - code.variance.sum().item()
    assert error == pytest.approx(left, rel=1e-9)
    assert left > 0.01  # there is something left to compare


def test_no_other_subspace_of_the_same_size_is_better(x):
    code = pca.fit(x, 4)
    best = (code.decode(code.encode(x)) - x).square().mean()
    for seed in range(20):
        noise = torch.randn(4, 12, generator=torch.Generator().manual_seed(seed),
                            dtype=torch.float64)
        W = torch.linalg.qr((code.components + 0.05 * noise).T).Q.T
        other = code._replace(components=W)
        assert (other.decode(other.encode(x)) - x).square().mean() > best


def test_signs_do_not_depend_on_the_order_of_the_data(x):
    a, b = pca.fit(x, 5), pca.fit(x.flip(0), 5)
    torch.testing.assert_close(a.components, b.components, rtol=0, atol=1e-9)
    assert (a.components.gather(1, a.components.abs().argmax(1, keepdim=True)) > 0).all()


def test_images_keep_their_float_type_and_flatten():
    images = torch.rand(30, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    code = pca.fit(images, 2)
    assert code.components.shape == (2, 16)
    assert code.encode(images).dtype == torch.float32


def test_bytes_are_taken_as_pixels_in_0_to_1():
    images = torch.randint(0, 256, (30, 1, 4, 4), dtype=torch.uint8,
                           generator=torch.Generator().manual_seed(1))
    ours, expected = pca.fit(images, 3), pca.fit(images.double() / 255, 3)
    torch.testing.assert_close(ours.components.double(), expected.components, atol=1e-5,
                               rtol=0)
    torch.testing.assert_close(ours.mean.double(), expected.mean, atol=1e-6, rtol=0)
    torch.testing.assert_close(ours.encode(images), ours.encode(images.float() / 255))


def test_bytes_are_summed_exactly():
    """Nearly constant and bright, where 255^2 N in float32 would leave nothing of a variance
    of 1/4 at most; in processors' half precision, too: they are whole numbers below 256."""
    random = torch.Generator().manual_seed(2)
    images = torch.randint(254, 256, (9000, 12), generator=random, dtype=torch.uint8)
    images[:, 3] = torch.randint(0, 256, (9000,), generator=random)
    images[:, 7] = 255
    mean, covariance = pca._moments(images)
    x = images.numpy().astype(np.int64)
    exact = (9000 * x.T @ x - np.outer(x.sum(0), x.sum(0))) / 9000**2 / 255**2
    np.testing.assert_allclose(covariance, exact, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(mean, x.sum(0) / 9000 / 255, rtol=1e-12)
    assert (covariance[7] == 0).all()  # a constant one has no variance at all


@pytest.mark.parametrize("offset", [0, 100])
def test_large_float32_data_keep_six_digits(offset):
    random = torch.Generator().manual_seed(3)
    x = torch.randn(8500, 500, generator=random) * torch.linspace(3, 0.1, 500) + offset
    code, exact = pca.fit(x, 12), pca.fit(x.double(), 12)
    torch.testing.assert_close(code.variance.double(), exact.variance, rtol=1e-6, atol=0)
    assert code.total_variance == pytest.approx(exact.total_variance, rel=1e-6)


def test_the_precision_set_before_stays_set():
    for precision in ("highest", "high"):
        torch.set_float32_matmul_precision(precision)
        pca.fit(torch.zeros(3, 2, dtype=torch.uint8), 1)
        found = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        assert found == precision


def test_the_shares_explained_add_up_to_one(x):
    explained = pca.fit(x, 12).explained
    assert explained.sum().item() == pytest.approx(1, rel=1e-9)
    assert (explained.diff() <= 0).all()
    assert pca.fit(torch.full((5, 3), 2.0), 2).explained.tolist() == [0, 0]


def test_fewer_examples_than_components_leave_components_without_variance():
    x = torch.eye(4, 6, dtype=torch.float64)[:3]
    code = pca.fit(x, 6)
    assert (code.variance[2:] < 1e-12).all()
    torch.testing.assert_close(code.decode(code.encode(x)), x, rtol=0, atol=1e-12)


def test_constant_features_have_no_variance():
    x = torch.full((5, 3), 2.0)
    code = pca.fit(x, 2)
    assert code.variance.tolist() == [0, 0]
    assert torch.equal(code.decode(code.encode(x)), x)


def test_constant_features_among_others_change_nothing(x):
    flat = torch.full((200, 1), 0.1, dtype=torch.float64)
    code, wide = pca.fit(x, 3), pca.fit(torch.cat([flat, x, flat], dim=1), 3)
    torch.testing.assert_close(wide.components[:, 1:13], code.components, rtol=0, atol=1e-9)
    torch.testing.assert_close(wide.variance, code.variance)
    assert wide.components[:, [0, 13]].abs().max() < 1e-12


@pytest.mark.parametrize("d", [0, 13])
def test_too_many_components_or_none_are_refused(x, d):
    with pytest.raises(ValueError, match=f"{d} components, expected"):
        pca.fit(x, d)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(x, bad):
    x[3, 4] = bad
    with pytest.raises(ValueError, match="not finite"):
        pca.fit(x, 2)


@pytest.mark.real_data
def test_on_images_it_equals_the_singular_value_decomposition(real_data):
    file, = Path(real_data, "mnist").glob("t10k-images*")
    images = torch.from_numpy(idx.read(file)[:1000])
    code, x = pca.fit(images, 12), images.flatten(1).double().numpy() / 255
    U, S, Vt = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(code.variance, S[:12] ** 2 / 1000, rtol=1e-6)
    np.testing.assert_allclose(code.explained, S[:12] ** 2 / (S**2).sum(), rtol=1e-6)
    best = (U[:, :12] * S[:12]) @ Vt[:12] + x.mean(axis=0)
    found = code.decode(code.encode(images)).numpy()
    assert ((found - x) ** 2).mean() == pytest.approx(((best - x) ** 2).mean(), rel=1e-6)
    np.testing.assert_allclose(found, best, atol=3e-6)  # sums of 784 terms in float32
