"""What a run needs and no lecture names."""

from minidl.lab.findings import averaged, paired
from minidl.lab.network import infer

__all__ = ["averaged", "infer", "paired"]
