"""A module that must not be trained, and a check that it was not."""

import contextlib

import torch

from minidl.evaluation import evaluating


@contextlib.contextmanager
def frozen(module):
    """Inside the `with`, nothing in the module changes; this is checked at its end.

    Its parameters take no gradient, so an optimizer that is given all parameters skips them,
    weight decay included. Gradients from before must be cleared. The module is in evaluation
    mode, since every forward pass in training mode changes the running statistics of batch
    normalisation, without an optimizer.

    Raises RuntimeError with the names of what is not bit-identical afterwards.
    Checked in tests/test_frozen.py.
    """
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
    module.requires_grad_(False)
    try:
        with evaluating(module):
            yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
    changed = [name for name, tensor in module.state_dict().items()
               if not torch.equal(tensor, before[name])]
    if changed:
        raise RuntimeError(f"frozen, yet changed: {', '.join(changed)}")
