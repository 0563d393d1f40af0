"""Would a test notice? Plants each common mistake, one after the other, and runs the tests.

    python tests/mutate.py --pitfalls [8 ...]    all mistakes, or those of trap 8

A mistake must make the tests test_trap_<number>_... of its trap fail and no other's. Exit
status 0 if all do. Each is planted in a copy of the sources, in which the tests pass before.
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


def failing(file=None, line=None, mistake=None):
    """The traps whose tests fail where the line of the file has become the mistake."""
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
            [sys.executable, "-m", "pytest", "--tb=no", "-rfE", "tests", "-k", "test_trap_"],
            cwd=folder, capture_output=True, text=True, timeout=TOO_LONG,
            env={**os.environ, "OMP_NUM_THREADS": "1", "TEST_PROCESSES": "1"})
    return {int(n) for n in re.findall(r"^(?:FAILED|ERROR) .*::test_trap_(\d+)_", done.stdout,
                                       re.M)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pitfalls", metavar="TRAP", type=int, nargs="*", required=True,
                        help="of these traps, or of all")
    traps = parser.parse_args().pitfalls
    mistakes = [entry for entry in PITFALLS if not traps or entry[0] in traps]
    if found := failing():
        sys.exit(f"without any mistake the tests of traps {sorted(found)} fail")
    noticed = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for (trap, file, _, mistake), found in zip(mistakes, pool.map(
                lambda entry: failing(*entry[1:]), mistakes), strict=True):
            noticed += found == {trap}
            print(f"{'ok   ' if found == {trap} else 'WRONG'} trap {trap}, {file}: {mistake}\n"
                  f"      tests that fail: of traps {sorted(found)}", flush=True)
    print(f"{noticed} of {len(mistakes)} mistakes make exactly their trap's tests fail")
    return noticed < len(mistakes)


if __name__ == "__main__":
    sys.exit(main())
