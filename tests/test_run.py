"""minidl/lab/run.py and checkpoint.py: what an epoch records, and how a run goes on."""

import sys
import types

import pytest
import torch
from torch import nn

from minidl.lab.checkpoint import CheckpointError, Snapshots
from minidl.lab.run import Run, RunError


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
    assert list(content["parts"]) == ["model", "kept"]


def test_resume_without_a_checkpoint_starts_from_the_beginning(alone, tmp_path):
    assert torch.equal(train(tmp_path, resume=True)[1], alone[1])


def test_a_training_that_ends_early_is_finished_and_not_gone_on_with(tmp_path):
    def train(resume):
        run, epochs = Run("s", "default", {}, out=tmp_path / "s", resume=resume), []
        for epoch in run.epochs(5):
            epochs.append(epoch)
            if epoch == 2:
                run.stop()
        return epochs

    assert train(False) == [1, 2] and train(True) == []


def test_trainings_whose_names_differ_in_punctuation_share_no_checkpoint(tmp_path):
    run, nets = Run("s", "default", {}, out=tmp_path), [nn.Linear(1, 1) for _ in range(2)]
    for name, net in zip(("k = 3", "k: 3"), nets, strict=True):
        list(run.epochs(1, name, net=net))
    again = Run("s", "default", {}, out=tmp_path, resume=True)
    for name, net in zip(("k = 3", "k: 3"), nets, strict=True):
        found = nn.Linear(1, 1)
        assert list(again.epochs(1, name, net=found)) == []
        assert torch.equal(found.weight, net.weight)


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


def test_what_was_tracked_is_recorded_once_however_often_an_epoch_logs(tmp_path):
    run = Run("script", "default", {}, out=tmp_path)
    run.track(1, loss=torch.tensor(9.0))  # before the first epoch: no part of it
    for _ in run.epochs(1):
        run.track(4, loss=torch.tensor(2.0))
        run.log(val=1.0)
        run.log(other=3.0)
    assert run.history == {"loss": [2.0], "val": [1.0], "other": [3.0]}


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


# --- what another script's run left, and the weights after each epoch ---------------------

def borrowed(out, n=2, settings=None, **options):
    """-> whether a training of `lender` in the folder beside was found, and what it gave."""
    model = nn.Linear(2, 1)
    run = Run("script", "default", {}, out=out / "script", **options)
    return run.borrow("lender", "model", n, settings or {"rate": 1}, model=model), model


@pytest.fixture
def lender(tmp_path):
    model = nn.Linear(2, 1)
    run = Run("lender", "default", {"rate": 1}, out=tmp_path / "lender")
    for _ in run.epochs(2, model=model):
        nn.init.constant_(model.weight, 5)
    return tmp_path


def test_a_finished_training_with_the_same_settings_can_be_borrowed(lender, capsys):
    found, model = borrowed(lender)
    assert found and model.weight.tolist() == [[5, 5]]
    assert "taken from" in capsys.readouterr().out


@pytest.mark.parametrize("other", [{"n": 3}, {"settings": {"rate": 2}}, {"seed": 1},
                                   {"data": "mnist"}])
def test_a_training_with_other_settings_is_not_borrowed(lender, other):
    found, model = borrowed(lender, **other)
    assert not found and model.weight.tolist() != [[5, 5]]


def test_a_training_that_was_not_finished_or_is_not_there_is_not_borrowed(tmp_path):
    assert not borrowed(tmp_path)[0]
    model = nn.Linear(2, 1)
    for _ in Run("lender", "default", {"rate": 1}, out=tmp_path / "lender").epochs(
            2, model=model):
        break
    assert not borrowed(tmp_path)[0]
    stopped = Run("lender", "default", {"rate": 1}, out=tmp_path / "lender").epochs(
        2, model=model)
    next(stopped), next(stopped)  # the first epoch is kept, the second goes on
    assert not borrowed(tmp_path)[0]


def test_snapshots_are_the_weights_of_their_epoch_also_after_a_resume(tmp_path):
    def train(stop_after=None, resume=False):
        model, snapshots = nn.Linear(1, 1), Snapshots()
        run = Run("s", "default", {}, out=tmp_path, resume=resume)
        for epoch in run.epochs(3, model=model, snapshots=snapshots):
            if epoch == stop_after:
                return None
            nn.init.constant_(model.weight, epoch)
            snapshots.take(epoch, model)
        return {epoch: state["weight"].item() for epoch, state in snapshots.items()}

    assert train(stop_after=3) is None
    assert train(resume=True) == {1: 1, 2: 2, 3: 3}
    assert train(resume=True) == {1: 1, 2: 2, 3: 3}  # of a finished training as well


def test_a_line_after_every_so_many_epochs_and_the_last(tmp_path, capsys):
    run = Run("s", "default", {}, out=tmp_path)
    assert list(run.epochs(5, "short", every=2)) == [1, 2, 3, 4, 5]
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[1] for line in lines] == ["epoch 2/5", "epoch 4/5", "epoch 5/5"]
    list(Run("s", "default", {}, out=tmp_path / "b").epochs(3, "short", every=3))
    assert len(capsys.readouterr().out.splitlines()) == 1


# --- a page that lends the network of one of its trainings -----------------------------------

@pytest.fixture
def page(monkeypatch):
    """A page of two trainings, `other` and `wanted`; -> the names of those that were run."""
    ran, module = [], types.ModuleType("page")

    def main(run, rate: "of learning" = 5.0):
        run.load()
        run.results.number("rate", rate, "a unit")
        for name in ("other", "wanted"):
            net = nn.Linear(2, 1)
            for _ in run.epochs(2, name, net=net):
                ran.append(name)
                nn.init.constant_(net.weight, rate)
            run.table("a table", [{"a": torch.rand(())}])
        raise AssertionError("not reached: the wanted training is done")

    module.main, module.SIZES = main, {"quick": {"rate": 7.0}}
    monkeypatch.setitem(sys.modules, "page", module)
    return ran


def test_a_page_trains_what_another_wants_and_records_nothing(page, folder, tmp_path):
    run = Run("script", "quick", {}, out=tmp_path / "script", data=str(folder))
    run.load()
    before = torch.get_rng_state(), run.generator.get_state()
    net = run.trained("page", "wanted")
    assert page == ["wanted", "wanted"] and net.weight.tolist() == [[7, 7]]
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.equal(run.generator.get_state(), before[1])
    assert run.results.numbers == {} and run.results.files == []
    assert run.trained("page", "wanted", rate=3.0).weight.tolist() == [[3, 3]]
    with pytest.raises(AssertionError, match="not reached"):
        run.trained("page", "no such training")


def test_a_finished_run_beside_this_one_lends_its_network(page, folder, tmp_path):
    lender = Run("page", "quick", {"rate": 7.0}, out=tmp_path / "page", data=str(folder))
    lender.load()
    for _ in lender.epochs(2, "wanted", net=(net := nn.Linear(2, 1))):
        nn.init.constant_(net.weight, 7.0)
    run = Run("script", "quick", {}, out=tmp_path / "script", data=str(folder))
    run.load()
    assert run.trained("page", "wanted").weight.tolist() == [[7, 7]] and page == []
