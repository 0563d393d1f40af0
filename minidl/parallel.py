r"""One training over several processes or machines: each has a part of every batch.

    L(theta) = 1/B sum_i l_i = 1/n sum_r L_r(theta),   L_r: the mean over the part of rank r
    dL/dtheta = 1/n sum_r dL_r/dtheta                  for n parts of the same size

so the mean of the ranks' gradients is the gradient of the whole batch. torch's
DistributedDataParallel takes it while the backward pass goes on. In a script's loop:

    network = replicated(network)                       # before the optimizer is made
    for x, y in batches(data.train, batch_size, run.generator):
        x, y = own_part(x, y)

    torchrun --nproc-per-node 2 script.py               # one machine; or several, --nnodes

All ranks draw the same order from the same seed, so nothing but gradients is sent, and each
ends with the same weights. Started without torchrun, both functions do nothing. Batch
normalisation takes its mean and variance over the rank's own part on a CPU (torch has no
other there), over the whole batch on GPUs. Checked in tests/test_parallel.py, measured by
tests/bench_parallel.py.
"""

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from minidl import ranks
from minidl.run import RunError


def replicated(network):
    """The network; on several ranks one whose backward pass leaves the mean gradient."""
    if ranks.rank_and_size()[1] == 1:
        return network
    if next(network.parameters()).is_cuda:
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
    return DistributedDataParallel(network)


def own_part(*batch):
    """The rank's part of tensors (B, ...), (B / n, ...) of n ranks."""
    rank, n = ranks.rank_and_size()
    B = len(batch[0])
    if B % n:
        raise RunError(f"a batch of {B} for {n} processes: expected a --batch-size that is a "
                       f"multiple of {n}, so that each part weighs the same")
    return tuple(part[rank * B // n:(rank + 1) * B // n] for part in batch)
