"""What every proof here is made of: exact data, comparisons that can fail, controls.

A claim has a function check(implementation) that compares two sides with `same` (exactly) or
`close` (within a derived bound). The test runs it on the right implementations; `refuted` runs
it on broken ones and wants every one caught. conftest.py counts both and fails a claim that
compared nothing or refuted nothing.
"""

import itertools

import pytest
import torch

D = torch.float64
U = 2.0**-53  # the relative error of one rounding in float64
PROVEN = {  # kind: what a check of this kind runs; for the sizes listed it is a proof
    "exact": "all cases or all basis vectors of the sizes listed, without rounding",
    "symbolic": "a polynomial identity, read off one evaluation in big integers",
    "witness": "one explicit counterexample, small enough to redo by hand",
    "expectation": "an expectation over every outcome, in fractions",
}
EVIDENCE = {  # kind: the same; the proof is the derivation alone
    "integers": "an identity on integers that were drawn, without rounding",
    "float": "an identity of real numbers in float64, within a derived bound",
    "statistical": "Monte Carlo, seeded, within five standard errors",
}
tally = {"comparisons": 0, "refuted": 0}  # of the test that runs; conftest.py resets it


class VacuousError(Exception):
    """A comparison that could not fail. No AssertionError: a control must not die of it."""


def claim(number, kind, item=""):
    """Mark a test as the check of claim `number`; item: what it answers of a sheet."""
    if kind not in PROVEN | EVIDENCE:
        raise ValueError(f"found kind {kind!r}, expected one of {[*PROVEN, *EVIDENCE]}")
    return pytest.mark.claim(number, kind, item)


def ints(*shape, low=-9, high=9, seed=0):
    """Integers stored as float64, no two seeds alike: sums and products of them are exact."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(low, high + 1, shape, generator=generator).to(D)


def reals(*shape, seed=0):
    """Standard normal float64 numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=D)


def same(a, b, constant=False):
    """a equals b, every bit. Constant data prove little and are refused unless announced."""
    a, b = _both(a, b)
    if not constant and a.numel() > 1 and (a == a.flatten()[0]).all() and torch.equal(a, b):
        raise VacuousError(f"both sides are {a.flatten()[0].item()} everywhere")
    assert torch.equal(a, b), f"\nleft  {a.tolist()}\nright {b.tolist()}"


def close(a, b, bound):
    """|a - b| <= bound (a number or a tensor like a), with both sides in the message."""
    a, b = _both(a, b)
    error, bound = (a - b).abs(), torch.as_tensor(bound, dtype=D)
    largest = torch.maximum(a.abs(), b.abs()).max()
    if not (bound >= 0).all() or (bound >= largest).any():
        raise VacuousError(f"bound {bound.max().item()} is no bound for {largest.item()}")
    assert (error <= bound).all(), (  # NaN fails as well
        f"\nleft  {a.tolist()}\nright {b.tolist()}\nerror {error.max().item():.3g}, "
        f"bound {bound.max().item():.3g}")


def holds(condition, message=""):
    """A comparison that is not an equation: an inequality, a size, a raised error."""
    tally["comparisons"] += 1
    assert condition, message


def refuted(check, *broken):
    """Every broken implementation must make check(implementation) fail."""
    if not broken:
        raise VacuousError("no control given")
    before = tally["comparisons"]
    for implementation in broken:
        with pytest.raises(AssertionError):
            check(implementation)
        tally["refuted"] += 1
    tally["comparisons"] = before  # a control's comparisons prove nothing


def matrix(f, n):
    """The matrix (m, n) of an affine map on R^n, from its action on the basis: no autograd."""
    origin = f(torch.zeros(n, dtype=D)).reshape(-1)
    return torch.stack([f(e).reshape(-1) - origin for e in torch.eye(n, dtype=D)], dim=1)


def jacobian(f, x):
    """The Jacobian (m, n) of f at x by autograd, J[i, j] = d f_i / d x_j, both row-major."""
    return torch.autograd.functional.jacobian(f, x).reshape(-1, x.numel())


def kron(A, B):
    """(A kron B)[i q + k, j r + l] = A[i, j] B[k, l]:  (m, n), (q, r) -> (m q, n r)."""
    return torch.einsum("ij,kl->ikjl", A, B).reshape(len(A) * len(B), -1)


def eye(n):
    return torch.eye(n, dtype=D)


def units(*shape):
    """Every tensor of this shape with a single one: they settle what is linear."""
    n = torch.Size(shape).numel()
    return eye(n).reshape(n, *shape)


def vector(*numbers):
    """Numbers, or rows of numbers, in float64."""
    return torch.tensor(numbers, dtype=D)


def grid(values, n):
    """All vectors with entries among the values, (len(values)^n, n)."""
    return vector(*itertools.product(values, repeat=n))


def sides(f, arguments, i):
    """d vec(f) / d vec(arguments[i]), f affine in it: by unit steps, then by autograd."""
    x = arguments[i]

    def f_of_x(v):
        return f(*arguments[:i], v.reshape(x.shape), *arguments[i + 1:])

    yield matrix(f_of_x, x.numel())
    yield jacobian(f_of_x, x)


def signs(n):
    """The 2^n sign vectors s (2^n, n): mu + L s over all has mean mu, covariance L L^T."""
    return grid((-1, 1), n)


def _both(a, b):
    a, b = (x if torch.is_tensor(x) else torch.as_tensor(x, dtype=D) for x in (a, b))
    tally["comparisons"] += 1
    assert a.shape == b.shape, f"shapes {tuple(a.shape)} and {tuple(b.shape)}"
    if a.dtype != b.dtype or a.numel() == 0:
        raise VacuousError(f"types {a.dtype} and {b.dtype}, {a.numel()} numbers")
    return a, b
