"""The report's VAE and its search: the blueprint, its loss, what the search sees."""

import math

import hw2_report_vae
import hw2_report_vae_search as search
import pytest
import torch
import torch.nn.functional as F
import whole_runs
from hw2_report_vae import ConvVAE, nats
from torch import nn

from minidl import cli
from minidl.data import Dataset, Split, load
from minidl.layers import parameter_count
from minidl.losses import per_example
from minidl.progress import Line
from minidl.run import Run


def start(script, folder, out, *argv):
    return whole_runs.start(script, folder, out, *argv, data="mnist")


SMALL = ["--epochs", "2", "--batch-size", "20", "--precision", "float32"]


@pytest.fixture(scope="module")
def results(module_folder, tmp_path_factory):
    return whole_runs.watched(hw2_report_vae, module_folder, tmp_path_factory.mktemp("report"),
                              *SMALL, "--seeds", "2", data="mnist")


@pytest.fixture(scope="module")
def searched(module_folder, tmp_path_factory):
    """The search's results; it must not read the test images."""
    out = tmp_path_factory.mktemp("search")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Dataset, "test", None)
        patch.setattr("minidl.results.Results.figure", lambda results, name, _:
                      results.files.append(f"{name}.png"))  # drawn, and not written
        return start(search, module_folder, out, "--subset", "60", "--population", "3",
                     "--precision", "float32"), out


class Literal(nn.Module):
    """The report's forward pass, line by line as public code of this blueprint has it."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 32, kernel_size=(3, 3), stride=(1, 1))
        self.fc21 = nn.Linear(21632, 20)
        self.fc22 = nn.Linear(21632, 20)
        self.fc3 = nn.Linear(20, 21632)
        self.t_conv = nn.ConvTranspose2d(32, 1, kernel_size=(3, 3), stride=(1, 1))

    def forward(self, x, eps):
        h = F.relu(self.conv(x)).view(-1, 21632)
        mu, logvar = self.fc21(h), self.fc22(h)
        z = mu + eps * torch.exp(0.5 * logvar)
        h = F.relu(self.fc3(z)).view(-1, 32, 26, 26)
        return torch.sigmoid(self.t_conv(h)), mu, logvar


def literal_of(vae):
    """The same weights in the literal network; from_latent's units are in another order."""
    literal = Literal()
    for ours, theirs in zip(vae.children(), literal.children(), strict=True):
        theirs.load_state_dict(ours.state_dict())
    order = torch.arange(21632).view(26, 26, 32).permute(2, 0, 1).flatten()
    literal.fc3.weight.data = vae.from_latent.weight.data[order]
    literal.fc3.bias.data = vae.from_latent.bias.data[order]
    return literal


def test_the_blueprint_is_the_reports_with_1_320_201_parameters_and_names_by_role(results):
    assert parameter_count(ConvVAE()) == 1_320_201 == parameter_count(Literal())
    assert results.content["numbers"]["parameters"]["value"] == 1_320_201
    shapes = [{n: p.shape for n, p in layer.named_parameters()}
              for layer in ConvVAE().children()]
    assert shapes == [{n: p.shape for n, p in layer.named_parameters()}
                      for layer in Literal().children()]
    assert [name for name, _ in ConvVAE().named_children()] == [
        "conv", "to_mu", "to_logvar", "from_latent", "t_conv"]


def test_the_network_and_its_loss_are_those_of_the_literal_report(generator):
    """float64; the KL by Monte Carlo would be rough, so by torch.distributions."""
    torch.manual_seed(0)
    vae = ConvVAE().double()
    literal = literal_of(vae).double()
    split = Split(torch.randint(0, 256, (5, 1, 28, 28), dtype=torch.uint8), torch.arange(5))
    vae.float()
    eps = torch.randn(5, 20, generator=torch.Generator().manual_seed(3))
    x = split.x.float() / 255
    x_hat, mu, logvar = literal.float()(x, eps)
    bce = F.binary_cross_entropy(x_hat, x, reduction="sum") / 5
    normal = torch.distributions.Normal
    kl = torch.distributions.kl_divergence(normal(mu, (logvar / 2).exp()), normal(0, 1))
    found = nats(vae, split, seed=3)
    assert found.tolist() == pytest.approx([bce.item(), kl.sum().item() / 5], rel=1e-5)
    assert abs(kl.mean().item() - found[1].item()) > 0.01  # not the mean over latents


def test_the_loss_does_not_depend_on_the_evaluation_batch(module_folder, monkeypatch):
    vae, val = ConvVAE(), load("mnist", str(module_folder), say=lambda _: None).val
    nn.init.constant_(vae.to_logvar.bias, -40)  # z = mu: whatever is drawn
    whole = nats(vae, val, seed=0).tolist()
    monkeypatch.setattr(hw2_report_vae, "per_example", lambda metric, split, *modules:
                        per_example(metric, split, *modules, batch_size=3))
    assert nats(vae, val, seed=0).tolist() == pytest.approx(whole, rel=1e-6)


def test_the_denoising_vae_sees_noise_and_is_asked_for_the_clean_image(
        module_folder, tmp_path, monkeypatch):
    run = Run("s", "quick", {}, out=tmp_path, sheet_data="mnist", data=str(module_folder))
    data, seen, targets = run.load(), [], []
    bce, encode = hw2_report_vae.bce, ConvVAE.encode
    monkeypatch.setattr(hw2_report_vae, "bce", lambda logits, x: [
        targets.append(x), bce(logits, x)][1])
    monkeypatch.setattr(ConvVAE, "encode", lambda self, x: [seen.append(x),
                                                            encode(self, x)][1])
    hw2_report_vae.train(run, "n", ConvVAE(), data, 1, 55, 1e-3, "float32",
                         corrupt=lambda x, _: 1 - x)
    assert len(seen) == len(targets) == 3  # two steps and the validation images
    for given, target in zip(seen, targets, strict=True):
        assert torch.equal(given, 1 - target) and not torch.equal(given, target)


def test_the_headlines_add_up_and_the_figures_are_there(results):
    assert whole_runs.shows(results, ["test_nats", "test_bce", "test_kl"], [
        "loss.png", "samples.png", "reconstructions.png", "denoising.png", "latents_2d.png",
        "latents_3d.png", "layers.tex", "projections.md"])
    content = results.content
    number = {name: entry["value"] for name, entry in content["numbers"].items()}
    assert content["numbers"]["test_nats"]["n"] == 2
    assert number["test_nats"] == pytest.approx(number["test_bce"] + number["test_kl"])
    assert number["test_nats_worst_seed"] >= number["test_nats"]
    assert number["explained_variance_20"] == pytest.approx(1)
    assert 0.1 <= number["explained_variance_2"] < 1
    assert not any("report has" in finding for finding in content["findings"])  # not MNIST


def test_the_test_images_are_read_once_after_the_last_step(results):
    events = results.events
    assert events.count("test") == 1 and events[-1] == "test"


def test_stopped_in_the_middle_and_resumed_it_is_as_if_left_alone(
        results, module_folder, tmp_path, interrupted, monkeypatch):
    monkeypatch.setattr("minidl.results.Results.figure", lambda *_: None)
    with interrupted(4):
        start(hw2_report_vae, module_folder, tmp_path, *SMALL, "--seeds", "2")
    assert whole_runs.same(start(hw2_report_vae, module_folder, tmp_path, *SMALL, "--seeds",
                                 "2", "--resume"), results.content)


@pytest.mark.parametrize(("kl", "collapsed"), [(0.5, True), (26.0, False)])
def test_a_collapse_is_of_all_latents_together(kl, collapsed, tmp_path):
    run = Run("s", "quick", {}, out=tmp_path)
    data = Dataset("s", "S", (), None, None, None, 1.0)
    history = {f"{part}_{term}": [1.0] for part in ("train", "val") for term in ("bce", "kl")}
    hw2_report_vae.report(run, data, None, [[200.0, kl]], [history])
    assert any("all 20 latents together" in f for f in run.results.findings) == collapsed


# --- the search ----------------------------------------------------------------------------

def test_the_ranges_are_the_reports_and_hold_what_it_found():
    ends = {name: (kind.at(0), kind.at(1)) for name, kind in search.SPACE.items()}
    assert ends == {"batch_size": (10, 128), "learning_rate": (1e-8, 1.0), "gamma": (0, 1.0),
                    "weight_decay": (1e-7, 1e-4)}
    for name, (low, high) in ends.items():
        assert low <= search.FOUND[name] <= high
    full = cli.settings(search.main, search.SIZES, "full")
    assert (full["population"], full["generations"]) == (30, 12)


def test_both_searches_run_as_many_trials_and_never_read_the_test_images(searched):
    """population 3, 2 generations: the two best live on and one is new; 3 draws are shared."""
    content, out = searched
    for optimizer in search.OPTIMIZERS:
        log = (out / "trials" / f"{optimizer}_0" / "rank_0.jsonl").read_text()
        assert len(log.splitlines()) == 4 + 4 - 3
    rows = [line.split("|") for line in (out / "searches.md").read_text().splitlines()[2:]]
    assert [int(row[3]) for row in rows] == [4] * 4
    for name in ("searches.png", "trials_Adam.png", "rates_Adam.md", "report.tex"):
        assert name in content["files"]
    # 0.428 with Adam, on so few images
    assert sum("DIVERGED" in finding for finding in content["findings"]) == 1


@pytest.mark.parametrize("genes", [0.5, 1.0, 2.0])
def test_a_best_of_the_first_generation_which_both_searches_share_is_told_as_a_tie(
        genes, tmp_path, monkeypatch):
    """The least of the shared trials is 1, of the genetic search's own as given."""
    monkeypatch.setattr("minidl.results.Results.figure", lambda *_: None)
    run = Run("s", "quick", {}, out=tmp_path)

    def trial(rate, score):
        return {"settings": search.FOUND | {"learning_rate": rate}, "score": score}

    shared = [trial(0.1, 3.0), trial(0.2, 1.0)]
    done = {(optimizer, name, 0): [*shared, trial(*own)] for optimizer in search.OPTIMIZERS
            for name, own in ((search.GENETIC, (0.3, genes)), (search.RANDOM, (0.4, 2.0)))}
    search.compare(run, Dataset("s", "S", (), None, None, None, 1.0), done, 10)
    tied = genes >= 1
    assert run.results.numbers["ties_genetic_Adam"] == {
        "value": tied, "unit": "seeds", "n": 1}
    assert all(("a tie for 1: the best of both is in the first generation" in finding) == tied
               and ("a tie for 0." in finding) != tied for finding in run.results.findings)


def test_one_epoch_cannot_tell_gamma_and_two_can(searched):
    number = searched[0]["numbers"]
    assert number["spread_by_gamma_1"]["value"] == 0
    assert number["spread_by_gamma_2"]["value"] > 0
    assert any("cannot tell" in finding for finding in searched[0]["findings"])


def test_a_rate_is_used_and_decays_by_gamma_an_epoch(module_folder):
    data, rates = load("mnist", str(module_folder), say=lambda _: None), []

    def noting(parameters, lr, weight_decay):
        optimizer = torch.optim.SGD(parameters, lr=lr, weight_decay=weight_decay)
        optimizer.register_step_pre_hook(
            lambda o, *_: rates.append((o.param_groups[0]["lr"], o.param_groups[0][
                "weight_decay"])))
        return optimizer

    search.fit(noting, {"batch_size": 50, "learning_rate": 1e-6, "gamma": 0.1,
                        "weight_decay": 0.5}, data.train, 2, 0, "float32", Line())
    assert rates == [(1e-6, 0.5)] * 2 + [(pytest.approx(1e-7), 0.5)] * 2


def test_divergence_is_told_from_a_rate_that_does_nothing():
    assert search.diverged({"failure": "the score is nan"}, 544.0)
    assert search.diverged({"score": 700.0}, 544.0)
    assert not search.diverged({"score": 544.1}, 544.0)
    assert not search.diverged({"score": 105.0}, 544.0)
    assert math.isinf(search.score_of({"failure": "x"}))
