"""What a run needs besides the formulas of the lectures."""

from minidl.lab.findings import averaged, paired
from minidl.lab.network import infer

__all__ = ["averaged", "infer", "paired"]
