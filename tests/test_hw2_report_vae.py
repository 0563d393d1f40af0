"""The report's VAE and its search: the blueprint, its loss, what the search sees."""

import math

import hw2_report_vae
import hw2_report_vae_search as search
import pytest
import torch
import torch.nn.functional as F
from hw2_report_vae import ConvVAE, nats
from torch import nn

from minidl.data import Split, load
from minidl.data.progress import Line
from minidl.evaluation import per_example
from minidl.lab import flags
from minidl.lab.layers import parameter_count
from minidl.lab.run import Run

pytestmark = pytest.mark.numeric


@pytest.fixture
def in_float64(monkeypatch):
    """What the scripts make float32 is float64: sums of 21,632 and of 784 products are then
    off by less than 21632 * 2^-53 = 2e-12 of their sizes, which add up to 1,000 at most."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)


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


def test_the_blueprint_is_the_reports_with_1_320_201_parameters_and_names_by_role():
    assert parameter_count(ConvVAE()) == 1_320_201 == parameter_count(Literal())
    shapes = [{n: p.shape for n, p in layer.named_parameters()}
              for layer in ConvVAE().children()]
    assert shapes == [{n: p.shape for n, p in layer.named_parameters()}
                      for layer in Literal().children()]
    assert [name for name, _ in ConvVAE().named_children()] == [
        "conv", "to_mu", "to_logvar", "from_latent", "t_conv"]


def test_the_network_and_its_loss_are_those_of_the_literal_report(in_float64):
    """The KL by Monte Carlo would be rough, so by torch.distributions."""
    torch.manual_seed(0)
    vae = ConvVAE()
    literal = literal_of(vae).double()
    split = Split(torch.randint(0, 256, (5, 1, 28, 28), dtype=torch.uint8), torch.arange(5))
    generator = torch.Generator().manual_seed(3)
    eps = torch.randn(5, 20, generator=generator, dtype=torch.float64)
    x = split.x.double() / 255
    x_hat, mu, logvar = literal(x, eps)
    bce = F.binary_cross_entropy(x_hat, x, reduction="sum") / 5
    normal = torch.distributions.Normal
    kl = torch.distributions.kl_divergence(normal(mu, (logvar / 2).exp()), normal(0, 1))
    found = nats(vae.double(), split, seed=3)
    assert found.tolist() == pytest.approx([bce.item(), kl.sum().item() / 5], rel=1e-9)
    assert abs(kl.mean().item() - found[1].item()) > 0.01  # not the mean over latents


def test_the_loss_does_not_depend_on_the_evaluation_batch(
        module_folder, monkeypatch, in_float64):
    vae, val = ConvVAE().double(), load("mnist", str(module_folder), say=lambda _: None).val
    nn.init.constant_(vae.to_logvar.bias, -200)  # z = mu: whatever is drawn
    whole = nats(vae, val, seed=0).tolist()
    monkeypatch.setattr(hw2_report_vae, "per_example", lambda metric, split, *modules:
                        per_example(metric, split, *modules, batch_size=3))
    assert nats(vae, val, seed=0).tolist() == pytest.approx(whole, rel=1e-9)


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


# --- the search ----------------------------------------------------------------------------

def test_the_ranges_are_the_reports_and_hold_what_it_found():
    ends = {name: (kind.at(0), kind.at(1)) for name, kind in search.SPACE.items()}
    assert ends == {"batch_size": (10, 128), "learning_rate": (1e-8, 1.0), "gamma": (0, 1.0),
                    "weight_decay": (1e-7, 1e-4)}
    for name, (low, high) in ends.items():
        assert low <= search.FOUND[name] <= high
    full = flags.settings(search.main, search.SIZES, "full")
    assert (full["population"], full["generations"]) == (30, 12)


def test_one_epoch_cannot_tell_gamma_and_two_can(module_folder):
    """The rate is lowered after an epoch: what is chosen by one epoch's fitness is noise."""
    train = load("mnist", str(module_folder), say=lambda _: None).train
    for epochs in (1, 2):
        a, b = (search.fit(search.OPTIMIZERS["Adam"], search.FOUND | {
            "learning_rate": 1e-3, "gamma": gamma}, train, epochs, 0, "float32", Line())
            for gamma in (0.0, 1.0))
        same = [torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True)]
        assert all(same) == (epochs == 1)


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
