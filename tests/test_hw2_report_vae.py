"""The report's VAE and its search: the blueprint, its loss, what the search sees."""

import hw2_report_vae_search as search
import pytest
import torch
import torch.nn.functional as F
from hw2_report_vae import ConvVAE
from torch import nn

from minidl.lab import flags
from minidl.lab.layers import parameter_count
from minidl.lab.run import Run
from minidl.vae import elbo_terms

pytestmark = pytest.mark.numeric


@pytest.fixture
def run(module_folder, tmp_path):
    return Run("s", "quick", {}, out=tmp_path, sheet_data="mnist", data=str(module_folder))


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


def test_the_network_and_its_loss_are_those_of_the_literal_report(monkeypatch):
    """The same layers and 1,320,201 parameters. In float64 sums of 21,632 and of 784 products
    are off by less than 21632 * 2^-53 = 2e-12 of their sizes, which add up to 1,000 at most.
    The KL by torch.distributions."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    torch.manual_seed(0)
    vae = ConvVAE()
    assert parameter_count(vae) == 1_320_201
    literal, vae = literal_of(vae).double(), vae.double()
    x = torch.randint(0, 256, (5, 1, 28, 28), dtype=torch.uint8)
    eps = torch.randn(5, 20, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    with torch.no_grad():
        x_hat, mu, logvar = literal(x.double() / 255, eps)
    bce = F.binary_cross_entropy(x_hat, x.double() / 255, reduction="none").sum((1, 2, 3))
    normal = torch.distributions.Normal
    kl = torch.distributions.kl_divergence(normal(mu, (logvar / 2).exp()), normal(0, 1))
    found = elbo_terms(vae.encode, vae.decode, x, seed=3)
    torch.testing.assert_close(found.bce, bce, rtol=1e-9, atol=0)
    torch.testing.assert_close(found.kl, kl.sum(dim=1), rtol=1e-9, atol=0)
    assert (kl.mean(dim=1) - found.kl).abs().min() > 0.01  # not the mean over latents
    monkeypatch.setattr(torch, "randn", lambda *_, **__: eps)
    logits, *code = vae(x.double() / 255)
    torch.testing.assert_close(logits.sigmoid(), x_hat, rtol=1e-9, atol=0)
    torch.testing.assert_close(code, [mu, logvar], rtol=1e-9, atol=1e-9)


# --- the search ----------------------------------------------------------------------------

def test_the_ranges_are_the_reports_and_hold_what_it_found():
    ends = {name: (kind.at(0), kind.at(1)) for name, kind in search.SPACE.items()}
    assert ends == {"batch_size": (10, 128), "learning_rate": (1e-8, 1.0), "gamma": (0, 1.0),
                    "weight_decay": (1e-7, 1e-4)}
    for name, (low, high) in ends.items():
        assert low <= search.FOUND[name] <= high
    full = flags.settings(search.main, search.SIZES, "full")
    assert (full["population"], full["generations"]) == (30, 12)


def test_a_rate_is_used_and_decays_by_gamma_only_after_an_epoch(run, monkeypatch):
    """One epoch's fitness cannot tell one gamma from another."""
    rates = []

    def noting(parameters, lr, weight_decay):
        optimizer = torch.optim.SGD(parameters, lr=lr, weight_decay=weight_decay)
        optimizer.register_step_pre_hook(lambda o, *_: rates.append(
            (o.param_groups[0]["lr"], o.param_groups[0]["weight_decay"])))
        return optimizer

    monkeypatch.setitem(search.OPTIMIZERS, "noting", noting)
    search.train(run, "noting", {"batch_size": 50, "learning_rate": 2.0**-20, "gamma": 0.25,
                                 "weight_decay": 0.5}, run.load().train, 2)
    assert rates == [(2.0**-20, 0.5)] * 2 + [(2.0**-22, 0.5)] * 2
