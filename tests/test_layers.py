"""minidl/lab/layers.py and minidl/schedules.py: small, against hand-made examples."""

import pytest
import torch
from torch import nn

from minidl.lab.layers import layer_rows
from minidl.schedules import one_cycle


def test_the_table_shows_each_layer_its_shape_and_its_parameters():
    module = nn.Sequential(nn.Sequential(nn.Conv2d(1, 4, 3, stride=2, padding=1),
                                         nn.BatchNorm2d(4)), nn.Flatten(), nn.Linear(16, 3))
    assert layer_rows(module, torch.zeros(1, 1, 4, 4)) == [
        {"layer": "Conv2d(1, 4, kernel_size=3, stride=2, padding=1)",
         "output shape": "B x 4 x 2 x 2", "parameters": 4 * 9 + 4},
        {"layer": "BatchNorm2d(4)", "output shape": "B x 4 x 2 x 2", "parameters": 8},
        {"layer": "Flatten()", "output shape": "B x 16", "parameters": 0},
        {"layer": "Linear(in_features=16, out_features=3)", "output shape": "B x 3",
         "parameters": 51},
        {"layer": "sum", "output shape": "", "parameters": 40 + 8 + 51}]


def rates(steps):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule, seen = one_cycle(optimizer, steps), []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen, optimizer.param_groups[0]["lr"]


def test_one_cycle_rises_over_a_tenth_and_falls_to_zero_as_half_a_cosine():
    seen, after = rates(20)  # w = 2
    assert seen[:3] == [1.0, 2.0, 2.0]                 # t = 0, 1: (t + 1) / 2; t = 2: cos 0
    assert seen[11] == pytest.approx(1, abs=2**-50)    # half way down: cos(pi/2) is rounded
    assert after == 0                                  # 1 + cos(pi) is
    assert seen[2:] == sorted(seen[2:], reverse=True)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_one_cycle_of_few_steps_learns_and_is_finite(steps):
    seen, _ = rates(steps)
    assert max(seen) == 2.0 and min(seen) > 0


def test_a_layer_that_gives_a_tuple_has_a_row():
    row, _ = layer_rows(nn.LSTM(3, 4), torch.zeros(2, 1, 3))
    assert row == {"layer": "LSTM(3, 4)", "output shape": "B x 1 x 4", "parameters": 144}
