"""pytest's --answers: right answers are correct in each convention, slips are named.

All in this process, but for two tests of the answers' own.
"""

import subprocess
import sys

import answering
import answers_traps
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from theory import answering as checks
from theory.answering import questions
from theory.answering.questions import QUESTIONS

pytestmark = pytest.mark.numeric
WITNESSES = {"zero_padding": ([1, 2], [0, 1, 3], -1), "additive_constant": True,
             "pointwise_nonlinearity": True, "strided_pooling": ([1], 1), "cnn": ([1], 3),
             "parameters": 197, "sizes": {"X": (11, 6), "Z2": (10, 4), "Z4": (8, 5), "m2": 4,
                                          "m4": (5,), "m": 9, "logits": 2}}


def folds(n, k):
    return [([i for i in range(n) if i % k != j], list(range(j, n, k))) for j in range(k)]


def row(name, answer):
    """The row of one answer, as a file with nothing else would have it."""
    calls = checks.calls(name, {name: answer})
    return checks.judged({name: [call() for call in calls]})[name]


def ours(name, layout="", right=None):
    question = QUESTIONS[name]
    return lambda *args: question.layouts[layout]((right or question.right)(*args))


EVERYTHING = {**WITNESSES, "folds": folds, **{name: ours(name) for name in QUESTIONS}}


def test_the_template_asks_for_each_item_and_answers_none():
    template = {}
    exec((answering.ROOT / "theory/answers.py").read_text("utf-8"), template)
    assert {name for name in template if not name.startswith("__")} == set(checks.PLACES)
    assert all(checks.calls(name, template) is None for name in checks.PLACES)


def test_our_own_answers_are_correct():
    assert EVERYTHING.keys() == checks.PLACES.keys()
    for name, answer in EVERYTHING.items():
        assert row(name, answer) == ("correct", "", ""), name


@pytest.mark.parametrize("name", QUESTIONS)
def test_equally_right_conventions_are_correct_and_named(name):
    question = QUESTIONS[name]
    for convention, right in {"": question.right, **question.rights}.items():
        for layout in question.layouts:
            status, words, _ = row(name, ours(name, layout, right))
            assert status == "correct", (convention, layout)
            assert convention in words
            # where several layouts agree, as for a symmetric Jacobian, the first one is meant
            assert layout in words or words in layout


@pytest.mark.parametrize("kind", [
    torch.Tensor.float, torch.Tensor.numpy, torch.Tensor.tolist, torch.Tensor.requires_grad_])
def test_an_answer_in_float32_in_numpy_or_in_lists_is_as_right(kind):
    assert row("kl_diagonal", lambda *args: kind(questions.kl_diagonal(*args)))[0] == "correct"


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_slip_is_wrong_and_named_in_each_layout(name):
    for words, slip in QUESTIONS[name].slips.items():
        for layout in {"", "a row per input"} & QUESTIONS[name].layouts.keys():
            try:
                status, found, details = row(name, ours(name, layout, slip))
            except (RuntimeError, ValueError, IndexError):
                continue  # what is no matrix has no second layout
            assert status == "wrong" and words in found, (layout, found)
            assert "yours: " in details and "right: " in details


@pytest.mark.parametrize("name, answer, words", [
    ("convolve", lambda x, h: questions.convolve(x.flip(0), h), "right if x were reversed"),
    ("kl_diagonal", lambda mu, a: -questions.kl_diagonal(mu, a), "-1 times the right value"),
    ("kl_diagonal", lambda mu, a: questions.kl_diagonal(mu, a).mean(), "mean of the right"),
    ("kl_diagonal", lambda mu, a: questions.kl_diagonal(mu, a) / mu.shape[1],
        "divided by mu.shape[1]"),
    ("kl_gaussians", lambda *args: questions.kl_gaussians(*args) + 3, "right value plus 3"),
    ("nt_xent", lambda v, tau: questions.nt_xent(v, 1 / tau),
        "right if tau were replaced by 1 / itself"),
    ("adam_step", lambda *a: questions.adam_step(*a[:6], a[7], a[6], a[8]),
        "right if b1 and b2 were exchanged"),
    ("adam_step", lambda *a: (*questions.adam_step(*a)[:2], 2 * questions.adam_step(*a)[2]),
        "only v: 2 times the right value"),
    ("rnn_forward", lambda *a: (
        questions.rnn_forward(*a)[0], questions.rnn_forward(*a)[1].logit()),
        "only p: the logit of the right value"),
    ("generator_loss", lambda fake: fake.tolist()[0], "its shape is [], expected [2]"),
    ("pca", lambda X, d: questions.pca(X, d)[:2], "expected 3 values: W, Z, variance"),
    ("pca", lambda X, d: X.svd(), "W: its shape is [5, 3], expected [2, 3]"),
    ("fc_wrt_x", lambda W, x: [[1, 2], [3]], "expected numbers in a rectangular array"),
    ("fc_wrt_b", lambda W, x, b: b.diag() / 0, "it is not finite"),
    ("convolve", lambda x, h: F.pad(questions.convolve(x, h[:-1]), (0, 1)),
        "right if h were 0 in the last entry"),
    ("textcnn_forward", lambda X, *a: questions.textcnn_forward(X.reshape(X.T.shape).T, *a),
        "right if X were reshaped, not transposed"),
    ("conv_wrt_x", lambda x, w, s, p: questions.jacobian("x", lambda i, u, s, p: i + u - p)(
        x, w, s, p), "wrong only where stride > 1"),
    ("adam_step", lambda *a: (questions.adam_step(*a)[0] + (a[4] > 1),
                              *questions.adam_step(*a)[1:]), "only w: wrong only where t > 1"),
    ("vae_forward", lambda x, encode, decode, eps: questions.vae_forward(
        x, encode, decode, torch.randn_like(eps)), "called again with the same input"),
    ("rnn_forward", lambda *a: (questions.rnn_forward(*a)[0] ** 2, questions.rnn_forward(
        *a)[1][None] / 2), "p: 0.5 times the right value"),
    ("kl_diagonal", lambda *a: questions.kl_diagonal(*a)[:, None], "right, but its shape is"),
])
def test_what_no_slip_names_is_told_by_comparison_with_the_right_value(name, answer, words):
    status, found, _ = row(name, answer)
    assert status == "wrong" and words in found


@pytest.mark.parametrize("name, answer, words", [
    ("zero_padding", ([1, 2], [1, 5], 1), "expected an odd number"),
    ("zero_padding", ([1, 2, 0], [0, 1, 0], 1), "T_a C x are both [0.0, 1.0, 2.0]"),
    ("zero_padding", True, "expected (x, h, a)"),
    ("additive_constant", False, "it is time invariant"),
    ("additive_constant", ([1, 2], 1), "this shows nothing"),
    ("strided_pooling", True, "for x = [1], a = 1 they differ: (S T_a x)[0] = 1"),
    ("strided_pooling", False, "give a pair (x, a) that shows it"),
    ("strided_pooling", ([1, 2], 0), "this shows nothing"),
    ("strided_pooling", ([1, 2], 4), ""), ("strided_pooling", ((1, -2, 3), -3.0), ""),
    ("cnn", True, "it is not"),
    ("sizes", {"X": (6, 11), "Z2": (4, 10), "Z4": (5, 8), "m2": (4,), "m4": (5,), "m": (9,),
               "logits": (2,)}, ""),
    ("sizes", {**WITNESSES["sizes"], "m": 20}, "m is 20, expected [9]"),
    ("sizes", {**WITNESSES["sizes"], "Z2": (9, 4), "Z4": (7, 5)}, "11 - k windows"),
    ("sizes", {**WITNESSES["sizes"], "Z2": (11, 4), "Z4": (11, 5)}, "that needs padding"),
    ("parameters", 186, "the biases are not counted"),
    ("parameters", 5, "5 is not their number"),
    ("folds", lambda n, k: [(t, v) for v, t in folds(n, k)], "are exchanged"),
    ("folds", lambda n, k: ((set(t), v) for t, v in folds(n, k)), ""),
    ("folds", lambda n, k: [([True] * n, v) for _, v in folds(n, k)], "lists of indices"),
    ("folds", lambda n, k: folds(n, k)[:-1], "there are 2 pairs"),
    ("folds", lambda n, k: folds(n - n % k, k), "example 6 is in 0 validation parts"),
    ("folds", lambda n, k: [(t + v, v) for t, v in folds(n, k)], "trained on and"),
    ("folds", lambda n, k: [(t[:1], v) for t, v in folds(n, k)], "a fold trains on [1]"),
    ("folds", lambda n, k: [([i + 1 for i in t], [i + 1 for i in v]) for t, v in folds(n, k)],
        "the indices start at 1"),
    ("folds", lambda n, k: [([i for i in range(n) if min(i // (n // k), k - 1) != j],
                             [i for i in range(n) if min(i // (n // k), k - 1) == j])
                            for j in range(k)], "validation parts of [2, 2, 2, 5] examples"),
    ("folds", lambda n, k: torch.zeros(k, 2), "expected pairs (training, validation)"),
])
def test_witnesses_sizes_and_folds_are_judged_for_what_they_are(name, answer, words):
    status, found, _ = row(name, answer)
    assert (status, found) == ("correct", "") if not words else (
        status == "wrong" and words in found)


def test_the_odd_one_out_of_several_jacobians_is_told():
    answers = {name: ours(name) for name in ("fc_wrt_W", "conv_wrt_x", "bias_wrt_x")}
    answers["fc_wrt_x"] = ours("fc_wrt_x", "a row per input")
    rows = checks.judged({name: [call() for call in checks.calls(name, answers)]
                          for name in answers})
    assert rows.pop("fc_wrt_x")[:2] == (
        "correct", "a row per input; the other Jacobians have a row per output")
    assert all(found == ("correct", "", "") for found in rows.values())


# --- the answers' own process ---------------------------------------------------------------

FILE = '''
import os
print("what it prints is not read")

def bias_wrt_x(x, b):
    while True: pass

def bias_wrt_b(x, b): os._exit(0)

def fc_wrt_x(W, x):
    x -= x
    return 1 / 0

def fc_wrt_W(W, x): return [[0]]

def fc_wrt_b(W, x, b):
    import torch
    return torch.eye(len(b))

def kl_diagonal(mu, logvar): exit()

cnn = "no"
'''


def test_an_endless_loop_an_exit_and_an_exception_are_rows_and_the_rest_is_asked(
        tmp_path, monkeypatch):
    monkeypatch.setattr(checks, "LIMIT", 5)
    (tmp_path / "mine.py").write_text(FILE)
    names = ["fc_wrt_x", "bias_wrt_b", "fc_wrt_b", "kl_diagonal", "fc_wrt_W", "pca", "cnn",
             "bias_wrt_x"]  # the loop is last: one process less to start
    rows = answering.rows(str(tmp_path / "mine.py"), "theory.answering", names)
    assert [found[:2] for found in rows.values()] == [
        ("wrong", "ZeroDivisionError: division by zero (line 12)"),
        ("wrong", "it ends its process"), ("correct", ""),
        ("wrong", "SystemExit: None (line 20)"),
        ("wrong", "its shape is [1, 1], expected [2, 6]"), ("not answered", ""),
        ("wrong", "TypeError: found a str, expected numbers"),
        ("wrong", "it does not end within 5 seconds")]


def status_and_output(file):
    done = subprocess.run([sys.executable, "-m", "pytest", "theory", "--answers", file],
                          cwd=answering.ROOT, capture_output=True, text=True)
    assert "Traceback" not in done.stdout + done.stderr
    return done.returncode, done.stdout + done.stderr


def test_pytest_tells_it_in_a_table_without_a_traceback(tmp_path):
    (tmp_path / "mine.py").write_text("parameters = 186\nadditive_constant = True\n")
    status, output = status_and_output(tmp_path / "mine.py")
    lines = [" ".join(line.split()) for line in output.splitlines()]
    assert status == 1
    assert {"exercise 2, 2 (a): additive_constant correct",
            "exercise 2, 1: convolve not answered",
            "assignment 8, 5: parameters wrong the biases are not counted"} <= {*lines}, lines


def test_a_syntax_error_is_one_sentence(tmp_path):
    (tmp_path / "broken.py").write_text("parameters = = 186\n")
    status, output = status_and_output(tmp_path / "broken.py")
    assert status == pytest.ExitCode.USAGE_ERROR
    assert "broken.py: SyntaxError: invalid syntax (broken.py, line 1)\n" in output


# --- networks and losses --------------------------------------------------------------------

def encoder(d=12):
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, d))


def decoder():
    return nn.Sequential(nn.Linear(12, 784), nn.Unflatten(1, (1, 28, 28)))


def evaluate(network, x, y, batch_size, mean=False):
    network.eval()
    with torch.no_grad():
        sums = [F.cross_entropy(network(a), b, reduction="mean" if mean else "sum")
                for a, b in zip(x.split(batch_size), y.split(batch_size), strict=True)]
    network.train()
    return sum(sums).item() / (len(sums) if mean else len(x))


def freeze(module):
    module.eval()
    module.requires_grad_(False)


class WithUnused(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net, self.unused = net, nn.Linear(2, 2)

    def forward(self, x):
        return self.net(x)


class Loud(nn.Sequential):
    """Its first logits are as large as 50."""

    def forward(self, x):
        return 100 * super().forward(x)


GOOD = {"Encoder": encoder, "Decoder": decoder, "Classifier": lambda: encoder(10),
        "loss": lambda x_hat, x: (x_hat - x).abs().mean(), "evaluate": evaluate,
        "kl": lambda mu, logvar: 0.5 * (mu**2 + logvar.exp() - logvar - 1).sum(1),
        "freeze": freeze, "read_last_state": lambda h, n: h[torch.arange(len(n)), n - 1]}
BAD = [("is_a_small_code", "Encoder", lambda: encoder(100), "d = 100"),
       ("gives_images", "Decoder", lambda: nn.Linear(12, 784), "(20, 784)"),
       ("learns_with_every_parameter", "Encoder", lambda: WithUnused(encoder()),
        "no gradient reaches 0.unused.weight"),
       ("starts_near_ln_10", "Classifier", lambda: Loud(encoder(10)), "not 2.30"),
       ("starts_near_ln_10", "Classifier", lambda: encoder(12), "expected (100, 10)"),
       ("has_no_softmax", "Classifier", lambda: nn.Sequential(encoder(10), nn.Softmax(1)),
        "its outputs add up to 1"),
       ("has_no_softmax", "Classifier", lambda: nn.Sequential(encoder(10), nn.Sigmoid()),
        "is there a softmax or sigmoid"),
       ("reaches_every_parameter", "Classifier", lambda: WithUnused(encoder(10)),
        "no gradient reaches unused.weight, unused.bias"),
       ("is_the_mean_l1", "loss", F.mse_loss, "the mean squared error"),
       ("is_per_image_in_nats", "kl", lambda mu, logvar: GOOD["kl"](mu, logvar).mean() / 784,
        "divided by 784"),
       ("is_the_mean_over_images", "evaluate",
        lambda net, x, *rest: evaluate(net, x, *rest) * len(x), "summed, not averaged"),
       ("is_the_mean_over_images", "evaluate",
        lambda net, *rest: evaluate(nn.Sequential(net, nn.Softmax(1)), *rest), "a softmax"),
       ("does_not_depend_on_the_batch_size", "evaluate",
        lambda *args: evaluate(*args, mean=True), "mean of batch means"),
       ("does_not_depend_on_the_batch_size", "evaluate",
        lambda net, x, y, n: F.cross_entropy(net(x[-(len(x) % n or n):]),
                                             y[-(len(x) % n or n):]).item(), "last batch"),
       ("leaves_the_network_as_it_was", "evaluate",
        lambda net, x, y, n: F.cross_entropy(net(x), y).item(), "running_mean"),
       ("stays_frozen_with_its_buffers", "freeze", lambda m: m.requires_grad_(False),
        "2.running_mean"),
       ("stays_frozen_with_its_buffers", "freeze", lambda m: m.eval(), "1.weight"),
       ("ignores_padding", "read_last_state", lambda h, n: h[:, -1], "more padding"),
       ("ignores_padding", "read_last_state", lambda h, n: h[torch.arange(len(n)), n - 2],
        "it is not the state of the last word")]


def trap(name, answers):
    (call,) = answers_traps.calls(name, answers)
    return answers_traps.judged({name: [call()]})[name]


@pytest.mark.parametrize("name", answers_traps.TRAPS)
def test_what_meets_the_sheet_passes_its_traps(name):
    assert trap(name, GOOD) == ("correct", "", "")
    assert answers_traps.calls(name, {}) is None


@pytest.mark.parametrize("name, defined, bad, words", BAD)
def test_a_trap_catches_its_mistake(name, defined, bad, words):
    status, found, _ = trap(name, GOOD | {defined: bad})
    assert status == "wrong" and words in found
