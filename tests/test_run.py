"""minidl/run.py and checkpoint.py: what an epoch records, and how a run goes on."""

import pytest
import torch
from torch import nn

from minidl.checkpoint import CheckpointError
from minidl.run import Run, RunError


def train(out, epochs=4, resume=False, stop_in=None, names=("first", "second"), **options):
    """Two small trainings that use every kind of random number; -> run, weights, histories."""
    run = Run("script", "default", {"epochs": epochs}, out=out, resume=resume, **options)
    weights, histories = [], []
    for name in names:
        model = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Dropout(),
                              nn.Linear(5, 1))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.5)
        for epoch in run.epochs(epochs, name, model=model, optimizer=optimizer,
                                schedule=schedule):
            for step in range(3):
                if stop_in == (name, epoch, step):
                    raise KeyboardInterrupt
                x = torch.randn(8, 3, generator=run.generator)
                loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
                optimizer.zero_grad(); loss.backward(); optimizer.step()
                run.track(8, loss=loss)
            schedule.step()
            run.log(noise=torch.rand(()).item())
        weights.append(nn.utils.parameters_to_vector(model.parameters()).detach())
        histories.append(run.history)
    return run, torch.cat(weights), histories


@pytest.fixture
def alone(tmp_path):
    """The run that nobody interrupted."""
    return train(tmp_path / "alone")


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(alone, tmp_path):
    assert torch.equal(train(tmp_path / "again")[1], alone[1])
    assert not torch.equal(train(tmp_path / "other", seed=1)[1], alone[1])


@pytest.mark.parametrize("stop_in", [("first", 1, 0), ("first", 1, 2), ("first", 3, 1),
                                     ("second", 1, 1), ("second", 4, 2)])
def test_a_run_that_was_stopped_and_resumed_ends_as_one_left_alone(alone, tmp_path, stop_in):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, stop_in=stop_in)
    _, weights, histories = train(tmp_path, resume=True)
    assert torch.equal(weights, alone[1])
    assert histories == alone[2]


def test_a_run_stopped_again_and_again_ends_as_one_left_alone(alone, tmp_path):
    for i, stop_in in enumerate([("first", 2, 0), ("first", 4, 1), ("second", 2, 2)]):
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, stop_in=stop_in, resume=i > 0)
    assert torch.equal(train(tmp_path, resume=True)[1], alone[1])


def test_a_finished_training_is_loaded_and_not_repeated(alone, tmp_path, capsys):
    train(tmp_path)
    capsys.readouterr()
    run, weights, _ = train(tmp_path, resume=True)
    said = capsys.readouterr().out
    assert "first: 4 of 4 epochs are in" in said and "epoch 1/4" not in said
    assert torch.equal(weights, alone[1])
    assert run.training_seconds > 0


def test_what_only_training_needs_is_not_kept_of_a_finished_training(tmp_path):
    train(tmp_path, names=["first"])
    content = torch.load(tmp_path / "checkpoints" / "first.pt", weights_only=True)
    assert list(content["parts"]) == ["model"]


def test_resume_without_a_checkpoint_starts_from_the_beginning(alone, tmp_path):
    assert torch.equal(train(tmp_path, resume=True)[1], alone[1])


def test_a_fresh_start_leaves_nothing_of_an_earlier_run(tmp_path):
    train(tmp_path)[0].finish()
    assert (tmp_path / "results.json").exists()
    Run("script", "default", {}, out=tmp_path)
    assert list(tmp_path.rglob("*.pt")) == [] and not (tmp_path / "results.json").exists()


@pytest.mark.parametrize(("options", "difference"), [
    ({"epochs": 5}, "epochs 4 where this run has 5"),
    ({"seed": 3}, "seed 0 where this run has 3"),
    ({"data": "glyphs"}, "data 'auto' where this run has 'glyphs'"),
])
def test_other_settings_than_the_checkpoints_are_refused(tmp_path, options, difference):
    train(tmp_path)
    with pytest.raises(CheckpointError, match=f"was made with {difference}; give the same"):
        train(tmp_path, resume=True, **options)


def flip_a_bit(data):  # of a generator's state, which sits between paddings
    at = data.index(torch.get_rng_state().numpy().tobytes()[:16])
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]


@pytest.mark.parametrize("damage", [
    lambda b: b[:-100], lambda b: b"", lambda b: b"text", flip_a_bit])
def test_a_damaged_checkpoint_is_one_sentence(tmp_path, damage):
    train(tmp_path, names=["first"])
    path = tmp_path / "checkpoints" / "first.pt"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CheckpointError, match=r"first\.pt: found .*, expected"):
        train(tmp_path, names=["first"], resume=True)


def test_a_file_that_runs_code_when_unpickled_is_refused(tmp_path):
    train(tmp_path, names=["first"])
    torch.save({"made_by": print}, tmp_path / "checkpoints" / "first.pt")
    with pytest.raises(CheckpointError):
        train(tmp_path, names=["first"], resume=True)


def epoch_of(tmp_path, pairs, **logged):
    run = Run("script", "default", {}, out=tmp_path)
    for _ in run.epochs(1):
        for n, loss in pairs:
            run.track(n, loss=torch.tensor(loss))
        run.log(**logged)
    return run


def test_the_mean_over_an_epoch_weighs_each_step_by_its_examples(tmp_path):
    run = epoch_of(tmp_path, [(10, 1.0), (10, 2.0), (5, 6.0)], val=0.5)
    assert run.history == {"loss": [60 / 25], "val": [0.5]}


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_with_epoch_and_step(tmp_path, bad):
    with pytest.raises(RunError, match=rf"model  epoch 1/1, step 3: loss is {bad}, expected"):
        epoch_of(tmp_path, [(10, 1.0), (10, 2.0), (10, bad), (10, bad)])
    assert list(tmp_path.rglob("*.pt")) == []  # nothing to go on from: the weights are lost


def test_a_validation_value_that_is_not_finite_stops_as_well(tmp_path):
    with pytest.raises(RunError, match="epoch 1/1, step 1: val is nan"):
        epoch_of(tmp_path, [(10, 1.0)], val=float("nan"))


def test_each_epoch_is_one_line_with_its_numbers_and_the_time_left(tmp_path, capsys):
    train(tmp_path, epochs=2, names=["first"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("first  epoch 1/2  loss ") and "noise 0." in lines[0]
    assert lines[1].endswith("0:00 elapsed, 0:00 left")


def test_an_epoch_without_log_still_records_what_was_tracked(tmp_path):
    run = Run("script", "default", {}, out=tmp_path)
    for _ in run.epochs(2):
        run.track(4, loss=torch.tensor(2.0))
    assert run.history == {"loss": [2.0, 2.0]}


def test_seeding_again_starts_every_generator_anew(tmp_path):
    run = Run("script", "default", {}, out=tmp_path)
    draws = []
    for _ in range(2):
        run.seed_everything(5)
        draws.append((torch.rand(3).tolist(), torch.rand(3, generator=run.generator).tolist()))
    assert draws[0] == draws[1]
