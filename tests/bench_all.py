"""Every cost beside what it is measured by, as ratios, side by side in one run.

    python tests/bench_all.py [rounds]        about 10 minutes, needs MINIDL_DATA or data/

    convolution  minidl/conv.py over torch.nn.functional
    start-up     until a script's main begins, over importing torch alone
    training     minidl over its limit, the textbook over minidl (bench_training.py)

Two kinds take turns within a round; printed is the median of their ratio over the rounds, with
the smallest and the largest. Times alone say little on a shared machine.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "assignments"), str(ROOT / "tests")]

import bench_training
import torch
import torch.nn.functional as F
from bench_training import show

from minidl import conv


def main(rounds):
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {rounds} rounds\n")
    x, k = torch.rand(8, 4, 14, 14), torch.rand(8, 4, 3, 3)
    show("convolution by hand, 8 x 4 x 14 x 14 / torch", lambda: conv.conv2d(x, k),
         lambda: F.conv2d(x, k), rounds)

    def start_up(command):
        return lambda: subprocess.run([sys.executable, "-c", command], check=True,
                                      cwd=ROOT / "assignments")

    show("start-up, import ex2_conv_ae / import torch", start_up("import ex2_conv_ae"),
         start_up("import torch"), rounds)
    print()
    bench_training.main(rounds)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 6)
