"""minidl/parallel.py: two processes train as one does with the whole batch."""

import datetime
import multiprocessing

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

from minidl import ranks
from minidl.data import Split, batches
from minidl.parallel import own_part, replicated
from minidl.run import RunError

SPLIT = Split(torch.randint(0, 256, (64, 1, 28, 28), dtype=torch.uint8,
                            generator=torch.Generator().manual_seed(0)),
              torch.arange(64) % 10)
CNN = nn.Conv2d(1, 4, 3, stride=3), nn.SELU(), nn.Flatten(), nn.Linear(4 * 81, 10)
KINDS = {"MLP": (nn.Flatten(), nn.Linear(784, 20), nn.SELU(), nn.Linear(20, 10)), "CNN": CNN,
         "batch normalised": (CNN[0], nn.BatchNorm2d(4), *CNN[1:])}


def trained(kind, part=own_part):
    """The weights after some steps, one vector; of a rank's parts where there are ranks."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    network = nn.Sequential(*KINDS[kind])
    for layer in network:
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
    network = replicated(network)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(3):
        for x, y in batches(SPLIT, 16, generator):
            x, y = part(x, y)
            loss = F.cross_entropy(network(x), y)
            optimizer.zero_grad(); loss.backward(); optimizer.step()
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def one_rank(rank, folder, tell):
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank,
                            world_size=2, timeout=datetime.timedelta(seconds=20))
    found = {kind: trained(kind) for kind in KINDS}
    found["unequal"] = trained("MLP", lambda x, y: (x, y) if rank else (x[:4], y[:4]))
    with pytest.raises(RunError, match="a batch of 15 for 2 processes: expected"):
        own_part(torch.zeros(15))
    tell.put((rank, {kind: weights.tolist() for kind, weights in found.items()}))
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """kind -> the weights that rank 0 and rank 1 end with."""
    processes, folder = multiprocessing.get_context("fork"), tmp_path_factory.mktemp("ranks")
    tell = processes.SimpleQueue()
    started = [processes.Process(target=one_rank, args=(rank, folder, tell))
               for rank in range(2)]
    for process in started:
        process.start()
    told = dict(tell.get() for _ in started)
    for process in started:
        process.join(30)
        assert process.exitcode == 0
    return {kind: [torch.tensor(told[rank][kind]) for rank in range(2)] for kind in told[0]}


@pytest.mark.parametrize("kind", ["MLP", "CNN"])
def test_two_processes_end_with_the_weights_of_one_with_the_whole_batch(both, kind):
    first, second = both[kind]
    assert torch.equal(first, second)
    torch.testing.assert_close(first, trained(kind), rtol=1e-4, atol=2e-6)


def test_batch_normalisation_on_a_cpu_sees_its_part_alone(both):
    first, second = both["batch normalised"]
    assert torch.equal(first, second)
    assert (first - trained("batch normalised")).abs().max() > 1e-4


def test_parts_of_other_sizes_would_weigh_examples_unequally(both):
    assert (both["unequal"][0] - trained("MLP")).abs().max() > 1e-4


def test_alone_nothing_changes():
    network, x = nn.Linear(2, 2), torch.rand(5, 2)
    assert ranks.rank_and_size() == (0, 1)
    assert replicated(network) is network and torch.equal(own_part(x)[0], x)
