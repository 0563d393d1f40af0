"""minidl/lab/run.py and checkpoint.py: what an epoch records, and how a run goes on."""

import io
import shutil
import sys
import types

import pytest
import torch
from torch import nn

from minidl.data.sources import FILES
from minidl.lab import fast, stamp
from minidl.lab.checkpoint import CheckpointError, sealed
from minidl.lab.run import Run, RunError


def train(out, epochs=4, resume=False, stop_in=None, names=("first", "second"), bits=32,
          **options):
    """Two small trainings that use every kind of random number; -> run, weights, histories."""
    run = Run("script", "default", {"epochs": epochs}, out=out, resume=resume, **options)
    weights, histories = [], []
    for name in names:
        model = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Dropout(),
                              nn.Linear(5, 1))
        model = run.network(model, bits)
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


def test_a_finished_training_is_loaded_and_not_repeated(alone, tmp_path, capsys):
    train(tmp_path)
    capsys.readouterr()
    _, weights, _ = train(tmp_path, resume=True)
    said = capsys.readouterr().out
    assert "first: epoch 4 of 4 is in" in said and "epoch 1/4" not in said
    assert torch.equal(weights, alone[1])


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
    ({"bits": 16}, "precision 'float32' where this run has 'bfloat16'"),
    ({}, r"threads 1 where this run has 2 \(OMP_NUM_THREADS sets them\)"),
    ({}, r"code '\w+' where this run has 'edited' \(it was edited since\)"),
])
def test_what_was_made_otherwise_than_this_run_would_is_refused_with_what_to_do(
        tmp_path, monkeypatch, options, difference):
    train(tmp_path)
    monkeypatch.setattr(fast, "has_bfloat16", lambda device: True)
    if "threads" in difference:
        monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    if "edited" in difference:
        monkeypatch.setattr(stamp, "code_of", lambda script: "edited")
    with pytest.raises(CheckpointError, match=f"was made with {difference}; give the same"):
        train(tmp_path, resume=True, **options)


@pytest.mark.parametrize("change", [
    lambda content: content["parts"].clear(),
    lambda content: content["parts"].pop("schedule"),
    lambda content: content["parts"].update(other={}),
    lambda content: content["progress"].pop("history"),
    lambda content: content["generators"].pop("noise")])
def test_a_checkpoint_must_hold_every_part_of_the_run_and_no_other(tmp_path, change):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, stop_in=("first", 3, 0))
    path = tmp_path / "checkpoints" / "first.pt"
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, packed := io.BytesIO())
    path.write_bytes(sealed(packed.getvalue()))
    with pytest.raises(CheckpointError, match=r"first\.pt: found what does not fit"):
        train(tmp_path, resume=True)


def test_a_checkpoint_in_the_place_of_another_trainings_is_not_gone_on_from(tmp_path):
    train(tmp_path)
    kept = tmp_path / "checkpoints"
    shutil.copy(kept / "second.pt", kept / "first.pt")
    with pytest.raises(CheckpointError, match="training 'second' where this run has 'first'"):
        train(tmp_path, resume=True)


def test_two_trainings_of_one_name_are_a_mistake_of_the_script(tmp_path):
    with pytest.raises(ValueError, match="two are 'a'"):
        train(tmp_path, names=("a", "a"))


def epoch_of(tmp_path, pairs, **logged):
    run = Run("script", "default", {}, out=tmp_path)
    for _ in run.epochs(1):
        for n, loss in pairs:
            run.track(n, loss=torch.tensor(loss))
        run.log(**logged)
    return run


def test_the_mean_over_an_epoch_weighs_each_step_by_its_examples(tmp_path):
    run = epoch_of(tmp_path, [(10, 1.0), (10, 2.0), (5, 6.0)], val=0.5,
                   per_image=torch.tensor([0.5, 1.0]))
    assert run.history == {"loss": [60 / 25], "val": [0.5], "per_image": [0.75]}


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_with_epoch_and_step(tmp_path, bad):
    with pytest.raises(RunError, match=rf"model  epoch 1/1, step 3: loss is {bad}, expected"):
        epoch_of(tmp_path, [(10, 1.0), (10, 2.0), (10, bad), (10, bad)])
    assert list(tmp_path.rglob("*.pt")) == []  # nothing to go on from: the weights are lost


def test_a_validation_value_that_is_not_finite_stops_as_well(tmp_path):
    with pytest.raises(RunError, match="epoch 1/1, step 1: val is nan"):
        epoch_of(tmp_path, [(10, 1.0)], val=float("nan"))


def test_what_was_tracked_is_recorded_once_however_often_an_epoch_logs(tmp_path):
    run = Run("script", "default", {}, out=tmp_path)
    run.track(1, loss=torch.tensor(9.0))  # before the first epoch: no part of it
    for _ in run.epochs(1):
        run.track(4, loss=torch.tensor(2.0))
        run.log(val=1.0)
        run.log(other=3.0)
    assert run.history == {"loss": [2.0], "val": [1.0], "other": [3.0]}


def test_seeding_again_starts_every_generator_anew(tmp_path):
    run = Run("script", "default", {}, out=tmp_path)
    draws = []
    for _ in range(2):
        run.seed_everything(5)
        draws.append((torch.rand(3).tolist(), torch.rand(3, generator=run.generator).tolist()))
    assert draws[0] == draws[1]


def test_kept_weights_are_those_of_their_epoch_also_after_a_resume(tmp_path):
    def train(stop_after=None, resume=False):
        model = nn.Linear(1, 1)
        run = Run("s", "default", {}, out=tmp_path, resume=resume)
        for epoch in run.epochs(3, model=model):
            if epoch == stop_after:
                return None
            nn.init.constant_(model.weight, epoch)
            run.keep(epoch, model.state_dict())
        return {epoch: state["weight"].item() for epoch, state in run.kept.items()}

    assert train(stop_after=3) is None
    assert train(resume=True) == {1: 1, 2: 2, 3: 3}
    assert train(resume=True) == {1: 1, 2: 2, 3: 3}  # of a finished training as well


# --- a page that lends the network of one of its trainings -----------------------------------

@pytest.fixture
def page(monkeypatch):
    """A page of two trainings, `other` and `wanted`; -> the names of those that were run."""
    ran, module = [], types.ModuleType("page")

    def main(run, rate: "of learning" = 5.0):
        run.load()
        run.results.number("rate", rate, "a unit")
        for name in ("other", "wanted"):
            net = run.network(nn.Linear(2, 1), bits=16)
            for _ in run.epochs(2, name, net=net):
                ran.append(name)
                nn.init.constant_(net.weight, rate)
            run.table("a table", [{"a": torch.rand(())}])

    module.main, module.SIZES = main, {"quick": {"rate": 7.0}}
    monkeypatch.setitem(sys.modules, "page", module)
    return ran


def loaded(out, folder, settings=None, **options):
    run = Run(out.name, "quick", settings or {}, out=out, data=str(folder), **options)
    run.load()
    return run


def test_a_page_trains_what_another_wants_and_records_nothing(page, folder, tmp_path):
    run = loaded(tmp_path / "script", folder)
    net = run.trained("page", "wanted")
    assert page == ["wanted", "wanted"] and net.weight.tolist() == [[7, 7]]
    assert run.results.numbers == {} and run.results.files == []
    assert run.trained("page", "wanted", rate=3.0).weight.tolist() == [[3, 3]]
    with pytest.raises(ValueError, match="no training 'no such training'"):
        run.trained("page", "no such training")


def test_borrowing_leaves_every_generator_as_it_was(page, folder, tmp_path):
    run = loaded(tmp_path / "script", folder)
    torch.rand(3), torch.rand(3, generator=run.generator)
    before = torch.get_rng_state(), run.generator.get_state()
    run.trained("page", "wanted")
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.equal(run.generator.get_state(), before[1])


@pytest.mark.parametrize(("changed", "difference"), [
    ({}, None), ({"seed": 1}, "seed 1 where this run has 0"),
    ({"settings": {"rate": 6.0}}, "rate 6.0 where this run has 7.0"),
    ({"threads": 3}, "threads 3 where this run has 1 (OMP_NUM_THREADS sets them)"),
    ({"bf16": True}, "precision 'bfloat16' where this run has 'float32'")])
def test_a_finished_run_beside_this_one_lends_its_network_if_it_is_the_same(
        page, folder, tmp_path, monkeypatch, capsys, changed, difference):
    with monkeypatch.context() as then:
        then.setattr(fast, "has_bfloat16", lambda device: changed.get("bf16", False))
        if "threads" in changed:
            then.setattr(torch, "get_num_threads", lambda: changed["threads"])
        settings = changed.get("settings", {"rate": 7.0})
        lender = loaded(tmp_path / "page", folder, settings, seed=changed.get("seed", 0))
        sys.modules["page"].main(lender, **settings)
    ran = len(page)
    run = loaded(tmp_path / "script", folder)
    monkeypatch.setattr(fast, "has_bfloat16", lambda device: False)
    assert run.trained("page", "wanted").weight.tolist() == [[7, 7]]
    assert page[ran:] == ([] if difference is None else ["wanted", "wanted"])
    said = " ".join(capsys.readouterr().out.split())
    assert f"was made with {difference}: not used" in said if difference else (
        "Taken from" in said)


def test_other_images_in_a_folder_of_the_same_name_are_other_data(page, folder, tmp_path):
    other = shutil.copytree(folder, tmp_path / "other" / folder.name)
    images = other / FILES["train"][0]
    images.write_bytes(images.read_bytes()[:-1] + b"\7")
    lender = loaded(tmp_path / "page", other, {"rate": 7.0})
    sys.modules["page"].main(lender, rate=7.0)
    ran = len(page)
    loaded(tmp_path / "script", folder).trained("page", "wanted")
    assert page[ran:] == ["wanted", "wanted"]


def test_an_unfinished_training_is_not_borrowed(page, folder, tmp_path):
    lender = loaded(tmp_path / "page", folder, {"rate": 7.0})
    epochs = lender.epochs(2, "wanted", net=nn.Linear(2, 1))
    next(epochs), next(epochs)  # the first epoch is kept, the second goes on
    assert loaded(tmp_path / "script", folder).trained("page", "wanted").weight.tolist() == [
        [7, 7]]
