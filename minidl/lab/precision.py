r"""Half the bits where that is faster: matrix products and convolutions in bfloat16.

bfloat16 has float32's range and 8 bits of mantissa, so a rounding error of 2^-9 = 0.2% at the
most. Weights, their sums over steps and losses stay in float32 (torch.autocast).
"""

import torch

from minidl import UserError

CHOICES = ("auto", "bfloat16", "float32")


class PrecisionError(UserError):
    """A precision that there is not: one sentence."""


def autocast(device, wanted="auto"):
    """A context for the forward pass: `with autocast(device, "auto"): loss = ...`.

    auto  bfloat16 where the processor has instructions for it, float32 elsewhere: without
          them bfloat16 is emulated and slower. It depends on the machine alone, not on a
          timing, so that the same command gives the same numbers twice.
    """
    return torch.autocast(torch.device(device).type, torch.bfloat16,
                          enabled=used(device, wanted) == "bfloat16")


def used(device, wanted):
    """What a choice means on a device: "bfloat16" or "float32"."""
    if wanted not in CHOICES:
        raise PrecisionError(f"--precision {wanted}: expected one of {', '.join(CHOICES)}")
    fast = wanted == "bfloat16" or (wanted == "auto" and has_bfloat16(device))
    return "bfloat16" if fast else "float32"


def has_bfloat16(device):
    """Whether the device has instructions of its own for products in bfloat16."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    # torch before 2.6 has no public word for it: float32 then
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
