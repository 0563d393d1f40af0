"""Would a test notice? Plants mistakes of one line, one after the other, and runs the tests.

    python tests/mutate.py --pitfalls [8 ...]    each common mistake (of trap 8)
    python tests/mutate.py --semantic            errors that small square examples hide

A common mistake must make the tests test_trap_<number>_... of its trap fail and no other's;
what small examples hide must make tests/test_extremes.py fail. Exit status 0 if all do. Each
mistake is planted in a copy of the sources, in which the tests pass before.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOO_LONG = 3600  # seconds, for a run of the tests

CLASSIFIER, AUTOENCODER, DECODING, FEW, TRANSFER = (
    f"assignments/ex2_{name}.py" for name in ("classifier", "conv_ae", "classifier_decoding",
                                              "few_labels", "transfer"))
VAE, CONTRASTIVE = "assignments/hw2_vae.py", "minidl/contrastive.py"

# common mistakes: (trap, file, line, what it becomes)
PITFALLS = [
    (1, CLASSIFIER, "F.cross_entropy(classifier(x), y)",
     "F.cross_entropy(classifier(x).softmax(dim=1), y)"),
    (2, "minidl/evaluation.py", "return values.cpu().double().sum().item() / len(values)",
     "return values[-(len(values) % batch_size or batch_size):].double().mean().item()"),
    (2, "minidl/evaluation.py", "return values.cpu().double().sum().item() / len(values)",
     "return torch.stack([v.mean() for v in values.split(batch_size)]).mean().item()"),
    (3, FEW, "few, held_out = data.head(), Split(*(part[:1000] for part in data.val))",
     "few, held_out = data.head(), data.test()"),
    (3, TRANSFER, "few, held_out = data.head(), Split(*(part[:1000] for part in data.val))",
     "few, held_out = data.head(), data.test()"),
    (4, "assignments/hw2_report_vae_search.py",
     'optimizer = OPTIMIZERS[optimizer](vae.parameters(), lr=settings["learning_rate"],',
     "optimizer = OPTIMIZERS[optimizer](vae.parameters(), lr=1e-3,"),
    (5, AUTOENCODER, "loss = l1(autoencoder(x), x).mean()",
     "loss = (autoencoder(x) - x).square().mean()"),
    (5, DECODING, "loss = l1(decoding(x), x).mean()",
     "loss = (decoding(x) - x).square().mean()"),
    (5, DECODING, "error = {name: l1(x_hat[name], x) for name in nets}",
     "error = {name: l1(x_hat[name], x).square() for name in nets}"),
    (6, AUTOENCODER, "paired(0.5 * black, ours)", "True"),
    (7, DECODING, "with frozen(encoder):", "with torch.enable_grad():"),
    (8, "minidl/data/images.py",
     "yield to_unit(split.x.index_select(0, index)), split.y.index_select(0, index)",
     "yield split.x.index_select(0, index).float() / 256, split.y.index_select(0, index)"),
    (9, TRANSFER, "encoder.load_state_dict(pretrained.state_dict())", "pass"),
    (9, TRANSFER, "encoder.load_state_dict(pretrained.state_dict())", "encoder = pretrained"),
    (10, "minidl/data/images.py",
     "index = torch.cat([order[split.y[order] == c][:n // C] for c in range(C)])",
     "index = torch.arange(n)"),
    (10, TRANSFER, 'seeds: "trainings of each method; amount" = 5,',
     'seeds: "trainings of each method; amount" = 1,'),
    (10, TRANSFER, "for seed in run.seeded(seeds):", "for seed in range(seeds):"),
    (11, VAE, "bce = losses.bce(decoder(z), x).mean()  ",
     "bce = losses.bce(decoder(z), x).mean() / 784  "),
    (11, VAE, "kl = kl_to_std_normal(mu, logvar).mean()  ",
     "kl = kl_to_std_normal(mu, logvar).mean() / mu.shape[1]  "),
    (11, VAE, "loss = bce + beta(t) * kl", "loss = bce - beta(t) * kl"),
    (12, "assignments/asst8_rnn.py",
     "h_n = h[n - 1, torch.arange(len(n), device=n.device)]", "h_n = h[-1]"),
    (12, "assignments/asst8_text_cnn.py", "return (Z.relu() * inside).max(dim=2).values",
     "return Z.relu().max(dim=2).values"),
    (13, "assignments/asst8_text_cnn.py", "return (Z.relu() * inside).max(dim=2).values",
     "return (Z.relu() * inside).mean(dim=2)"),
    (15, "assignments/hw2_denoising.py", "loss = mse(network(noisy), x).mean()",
     "loss = mse(network(noisy), noisy).mean()"),
    (17, CONTRASTIVE, "return s.logsumexp(dim=1) - s[i, i.roll(len(z) // 2)]",
     "return s.logsumexp(dim=1) - s[i, i.roll(1)]"),
    (17, CONTRASTIVE, "own = torch.eye(len(z), dtype=torch.bool, device=z.device)",
     "own = torch.zeros(len(z), len(z), dtype=torch.bool, device=z.device)"),
    (17, "assignments/hw2_simclr.py",
     "with frozen(encoder):  # raises where a weight or a running statistic moves",
     "with torch.no_grad():"),
    (17, "assignments/hw2_simclr.py",
     "x = torch.cat([view(x, g, mirror), view(x, g, mirror)])  # p = i + N",
     "x = torch.cat([view(x, g, mirror), view(x.roll(1, 0), g, mirror)])"),
]

# what small, square, short or moderate examples hide: (file, line, what it becomes)
SEMANTIC = [(f"minidl/{name}.py", line, mistake) for name, line, mistake in (
    ("conv", '->gocuv", y, x).flatten(0, 1)',
     '->gocuv", y, x).flatten(0, 1).transpose(-1, -2 if len({*g.kernel}) == 1 else -1)'),
    ("conv", "return x, w, b[:, None, None]",
     "return x, w, (b if len(b) <= 8 else 0 * b)[:, None, None]"),
    ("conv", "x, w = unfold(a, g), b.unflatten(0, halves)",
     "x, w = unfold(a, g), b.unflatten(0, halves)[[*range(min(3, g.groups))] "
     "+ [0] * (g.groups - 3)]"),
    ("conv", "for r, s in product(range(len(x)), range(len(h))):",
     "for r, s in product(range(len(x)), range(min(8, len(h)))):"),
    ("gaussian", "logvar.expm1() - logvar)",
     "logvar.clamp(-10, 10).expm1() - logvar.clamp(-10, 10))"),
    ("gaussian", "(x - mu) ** 2 / logvar.exp())", "(x - mu) ** 2 / logvar.exp().clamp(1e-3))"),
    ("gaussian", "return mu + (logvar / 2).exp() * eps",
     "return mu + (logvar / 2).exp() * eps.clamp(-3, 3)"),
    ("losses", 'F.binary_cross_entropy_with_logits(logits, x, reduction="none")',
     'F.binary_cross_entropy(logits.sigmoid(), x, reduction="none")'),
    ("losses", "return values.flatten(1).sum(dim=1)",
     "return values.flatten(1)[:, :784].sum(dim=1)"),
    ("pca", "self.variance / (self.total_variance or 1)",
     "self.variance / (self.variance.sum() or 1)"),
    ("pca", "v = x.detach().flatten(1)", "v = x[:1000].detach().flatten(1)"),
    ("tsne", "if step < EARLY else (0.8, 1)", "if step < EARLY else (0.5, 1)"),
    ("tsne", "clamp_(min=0.01)", "clamp_(0.01, 2)"),
    ("optim", "b1, b2 = betas", "b1, b2, t = *betas, t if t <= 20 else 10**9"),
    ("optim", "v = momentum * v + g", "v = momentum * v + g.clamp(-5, 5)"),
    ("contrastive", "i.roll(len(z) // 2)", "i.roll(min(16, len(z) // 2))"),
    ("contrastive", "F.normalize(v)", "F.normalize(v, eps=0.01)"),
    ("gan", "return -F.logsigmoid(fake)", "return -F.logsigmoid(fake.clamp(min=-40))"),
    ("vae", "z = reparametrise(mu, logvar, generator)",
     "z = reparametrise(mu, logvar, generator.manual_seed(seed))"),
    ("recurrence", "at_h = torch.addmm(g[t - 1], d[t], W)",
     "at_h = g[t - 1] + (d[t] @ W if t > len(h) - 20 else 0)"),
    ("recurrence", "h[t].addmm_(h[t - 1], W_T)", "h[t].addmm_(h[t - 1] * (t % 50 > 0), W_T)"),
    ("gradcheck", "error = (left - right).abs()",
     "error = (left - right).abs(); error[40:] = 0"),
    ("gradcheck", "tolerance * right.abs().max()", "tolerance * left.abs().max()"),
    ("tune", "parts = order.tensor_split(k)",
     "parts = (order if n <= 100 else order.sort().values).tensor_split(k)"),
    ("tune", "source.random() < mutation", "source.random() < 0.2"),
    ("tune", "for i in range(points)]", "for i in range(min(points, 6))]"),
    ("tune", "return min(found, key=score_of)", "return min(reversed(found), key=score_of)"))]

def failing(tests, file=None, line=None, mistake=None):
    """The traps, or the file of extremes, whose tests fail where the line is the mistake."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("assignments", "minidl", "tests", "theory"):
            shutil.copytree(ROOT / name, Path(folder, name),
                            ignore=shutil.ignore_patterns("__pycache__"))
        for path in (*ROOT.glob("*.py"), *ROOT.glob("*.md"), *ROOT.glob("*.toml")):
            shutil.copy(path, folder)
        if file:
            text = (ROOT / file).read_text("utf-8")
            if text.count(line) != 1:
                sys.exit(f"{file}: found {text.count(line)} times, expected once: {line}")
            Path(folder, file).write_text(text.replace(line, mistake), "utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "--tb=no", "-rfE", *tests], cwd=folder, text=True,
            capture_output=True, timeout=TOO_LONG,
            env={**os.environ, "OMP_NUM_THREADS": "1", "TEST_PROCESSES": "1"})
    return set(re.findall(r"^(?:FAILED|ERROR) .*?(test_trap_\d+_|tests/test_extremes)",
                          done.stdout, re.M))


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--pitfalls", metavar="TRAP", type=int, nargs="*",
                      help="common mistakes, of these traps or all")
    kind.add_argument("--semantic", action="store_true", help="what small examples hide")
    flags = parser.parse_args()
    tests = ["tests/test_extremes.py"] if flags.semantic else ["tests", "-k", "test_trap_"]
    mistakes = [("tests/test_extremes", *entry) for entry in SEMANTIC] if flags.semantic else [
        (f"test_trap_{trap}_", *entry) for trap, *entry in PITFALLS
        if not flags.pitfalls or trap in flags.pitfalls]
    if found := failing(tests):
        sys.exit(f"without any change {', '.join(sorted(found))} fails")

    noticed = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for (wanted, file, _, mistake), found in zip(mistakes, pool.map(
                lambda entry: failing(tests, *entry[1:]), mistakes), strict=True):
            noticed += found == {wanted}
            print(f"{'ok   ' if found == {wanted} else 'WRONG'} {file}: {mistake}\n"
                  f"      expected to fail: {wanted}, fails: {', '.join(sorted(found))}",
                  flush=True)
    print(f"{noticed} of {len(mistakes)} mistakes make exactly their tests fail")
    return noticed < len(mistakes)


if __name__ == "__main__":
    sys.exit(main())
