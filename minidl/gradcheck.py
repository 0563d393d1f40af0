r"""Derivatives by central differences, against the ones that autograd gives.

    (f_i(x + h e_j) - f_i(x - h e_j)) / 2h = d f_i / d x_j + h^2/6 f''' + rounding

The term in h^2 is 0 where f is a polynomial in x_j of degree 2 or less: there h = 1 is exact.
The checker is itself checked, with derivatives wrong by 0.05%, in tests/test_conv.py.
"""

import torch


def check_gradient(f, *inputs, step=1e-5, tolerance=1e-7):
    """Raise AssertionError, with both sides, where autograd and differences do not agree.

    f maps the float64 tensors `inputs` to a tensor of any shape; for second derivatives let f
    be a gradient. Each d f_i / d x_j may be off by tolerance times the largest derivative by
    this x. Ten times the quotient's rounding error is added, for f exact to half an ulp.
    """
    for x in inputs:
        if x.dtype != torch.float64:
            raise ValueError(f"found an input of {x.dtype}, expected torch.float64: in fewer "
                             "digits differences are noise")
    exact = torch.autograd.functional.jacobian(f, inputs)
    for number, x in enumerate(inputs):
        left = exact[number].reshape(-1, x.numel())
        right, largest = _differences(f, inputs, number, step)
        bound = tolerance * right.abs().max() + 10 * 2**-53 * largest / step
        error = (left - right).abs()
        wrong = (~(error <= bound)).nonzero().tolist()  # a NaN is wrong as well
        if wrong:
            i, j = wrong[0]
            raise AssertionError(
                f"d f[{i}] / d input{number}[{j}] is {left[i, j].item()} by autograd and "
                f"{right[i, j].item()} by differences: error {error[i, j].item():.3g}, "
                f"bound {bound.item():.3g}; {len(wrong)} of {left.numel()} are off")


def _differences(f, inputs, number, step):
    """Column j: the difference quotient of all f_i along x_j; and the largest |f_i| met."""
    columns, largest = [], 0.0
    for j in range(inputs[number].numel()):
        ends = []
        for h in (step, -step):
            moved = [x.detach().clone(memory_format=torch.contiguous_format) for x in inputs]
            moved[number].view(-1)[j] += h
            ends.append(f(*[x.requires_grad_() for x in moved]).detach().flatten())
            largest = max(largest, ends[-1].abs().max().item())
        columns.append((ends[0] - ends[1]) / (2 * step))
    return torch.stack(columns, dim=1), largest
