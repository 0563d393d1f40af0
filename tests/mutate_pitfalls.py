"""Builds each trap in, by changing one line, and shows that exactly the trap's test fails.

    python tests/mutate_pitfalls.py          all, some minutes
    python tests/mutate_pitfalls.py 8        those of trap 8

Exit status 0 if every mutant makes the tests of its trap fail, test_trap_<number>_... in
tests/, and those of no other trap.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CLASSIFIER, AUTOENCODER, DECODING, FEW, TRANSFER = (
    f"assignments/ex2_{name}.py" for name in ("classifier", "conv_ae", "classifier_decoding",
                                              "few_labels", "transfer"))
VAE, CONTRASTIVE = "assignments/hw2_vae.py", "minidl/contrastive.py"

# (trap, file, line, what it becomes)
MUTANTS = [
    (1, CLASSIFIER, "loss = F.cross_entropy(logits, y)",
     "loss = F.cross_entropy(logits.softmax(dim=1), y)"),
    (2, "minidl/losses.py", "return values.double().sum().item() / len(values)",
     "return values[-(len(values) % batch_size or batch_size):].double().mean().item()"),
    (2, "minidl/losses.py", "return values.double().sum().item() / len(values)",
     "return torch.stack([v.mean() for v in values.split(batch_size)]).mean().item()"),
    (3, FEW, "held_out = Split(data.val.x[:1000], data.val.y[:1000])",
     "held_out = data.test()"),
    (3, TRANSFER, "held_out = Split(data.val.x[:1000], data.val.y[:1000])",
     "held_out = data.test()"),
    (4, "assignments/hw2_report_vae_search.py",
     'optimizer = optimizer(vae.parameters(), lr=settings["learning_rate"],',
     "optimizer = optimizer(vae.parameters(), lr=1e-3,"),
    (5, AUTOENCODER, "loss = l1(x_hat, x).mean()", "loss = (x_hat - x).square().mean()"),
    (5, DECODING, "loss = l1(x_hat, x).mean()", "loss = (x_hat - x).square().mean()"),
    (5, DECODING, "ae, classifier, only = (e.double().mean().item() for e in (",
     "ae, classifier, only = (e.double().square().mean().item() for e in ("),
    (6, AUTOENCODER, "return ink(autoencoder) < 0.1 * ink(lambda x: x)",
     "return ink(autoencoder) < 0 * ink(lambda x: x)"),
    (7, DECODING, "with frozen(class_encoder):", "with torch.enable_grad():"),
    (8, "minidl/data/images.py",
     "yield to_unit(split.x.index_select(0, index)), split.y.index_select(0, index)",
     "yield to_unit(split.x.index_select(0, index)) - 0.1307, split.y.index_select(0, index)"),
    (9, TRANSFER, "classifier[0].load_state_dict(encoder.state_dict())  "
     "# copies: the encoder itself stays", "pass"),
    (9, TRANSFER, "classifier[0].load_state_dict(encoder.state_dict())  "
     "# copies: the encoder itself stays", "classifier[0] = encoder"),
    (10, FEW, "index = torch.cat([order[y[order] == c][:n // C] for c in range(C)])",
     "index = torch.arange(n)"),
    (10, TRANSFER, 'seeds: "trainings of each variant" = 5,',
     'seeds: "trainings of each variant" = 1,'),
    (10, TRANSFER, "few = subset(data, kind, 100, seed)",
     "few = subset(data, kind, 100, seed + 1)"),
    (11, VAE, "reconstruction = bce(logits.float(), x).mean()  ",
     "reconstruction = bce(logits.float(), x).mean() / 784  "),
    (11, VAE, "kl = kl_to_std_normal(mu, logvar).mean()  ",
     "kl = kl_to_std_normal(mu, logvar).mean() / mu.shape[1]  "),
    (11, VAE, "loss = reconstruction + beta(t) * kl", "loss = reconstruction - beta(t) * kl"),
    (15, "assignments/hw2_denoising.py", "x_hat = forward(corrupt(x, run.generator))",
     "x = corrupt(x, run.generator); x_hat = forward(x)"),
    (17, CONTRASTIVE, "return s.logsumexp(dim=1) - s[i, i.roll(len(z) // 2)]",
     "return s.logsumexp(dim=1) - s[i, i.roll(1)]"),
    (17, CONTRASTIVE, "own = torch.eye(len(z), dtype=torch.bool, device=z.device)",
     "own = torch.zeros(len(z), len(z), dtype=torch.bool, device=z.device)"),
    (17, "assignments/hw2_simclr.py",
     "with frozen(encoder):  # raises where a weight or a running statistic moves",
     "with torch.no_grad():"),
]


def failing(tree):
    """The traps whose tests fail in a copy of the sources; and what pytest said."""
    done = subprocess.run(
        [sys.executable, "-B", "-m", "pytest", "-q", "--tb=no", "-rfE", "-p",
         "no:cacheprovider", "tests", "-k", "test_trap_"],
        cwd=tree, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    return {int(n) for n in re.findall(r"^(?:FAILED|ERROR) .*::test_trap_(\d+)", done.stdout,
                                       re.MULTILINE)}, done.stdout


def main():
    wanted, wrong = {int(n) for n in sys.argv[1:]}, 0
    chosen = [mutant for mutant in MUTANTS if not wanted or mutant[0] in wanted]
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder, "tree")
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(
            ".git", "__pycache__", "outputs", "data", "results", "theory"))
        if (found := failing(tree))[0]:
            sys.exit(f"the unchanged tests fail:\n{found[1]}")
        for trap, file, line, mutant in chosen:
            text = (tree / file).read_text(encoding="utf-8")
            if text.count(line) != 1:
                sys.exit(f"{file}: found {text.count(line)} times, expected once: {line}")
            (tree / file).write_text(text.replace(line, mutant), encoding="utf-8")
            found, said = failing(tree)
            (tree / file).write_text(text, encoding="utf-8")
            right = found == {trap}
            wrong += not right
            print(f"{'ok   ' if right else 'WRONG'} trap {trap:>2}: {file}: {mutant}\n"
                  f"      tests that fail: {sorted(found)}", flush=True)
            if not right:
                print(said[-2000:])
    print(f"{len(chosen) - wrong} of {len(chosen)} mutants make exactly their trap's test "
          "fail")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
