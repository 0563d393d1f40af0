"""A module that must not learn, and the proof that it did not."""

import contextlib

import torch

from minidl.evaluation import evaluating


@contextlib.contextmanager
def frozen(module):
    """For the length of a `with`, nothing in the module changes; at its end that is checked.

    Its parameters take no gradient, so that an optimizer given all parameters passes over them
    (weight decay as well; gradients from before must be cleared), and it is in evaluation
    mode, since it is no optimizer that moves the running statistics of batch normalisation:
    every forward pass in training mode does.

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
