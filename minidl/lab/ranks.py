"""One run over several processes, each with its rank: what torchrun starts.

    torchrun --nproc-per-node 2 assignments/hw1_tuning.py

Rank 0 prints, the others are silent. Each writes the same whole files, so that it does not
matter which one is last. A process that torchrun did not start is rank 0 of 1. Checked in
tests/test_hw1_tuning.py.
"""

import contextlib
import datetime
import io
import os

import torch
import torch.distributed


def join():
    """Join the other processes of torchrun, if torchrun started this one."""
    if int(os.environ.get("WORLD_SIZE", 1)) > 1 and not _joined():
        # objects and small tensors go over gloo, which every machine has; a trial may be long
        torch.distributed.init_process_group("gloo", timeout=datetime.timedelta(hours=12))


def leave():
    if _joined():
        torch.distributed.destroy_process_group()


def rank_and_size():
    """-> (rank of this process, number of processes)."""
    if not _joined():
        return 0, 1
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


def gather(value):
    """Every rank's value, in the order of the ranks, on each of them."""
    everyones = [value] * rank_and_size()[1]
    if len(everyones) > 1:
        torch.distributed.all_gather_object(everyones, value)
    return everyones


def silent_but_for_the_first():
    """A context in which only rank 0 prints."""
    first = rank_and_size()[0] == 0
    return contextlib.nullcontext() if first else contextlib.redirect_stdout(io.StringIO())


def _joined():
    return torch.distributed.is_available() and torch.distributed.is_initialized()
