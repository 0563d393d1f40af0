"""Would a test notice? Changes each formula by one token and runs the tests on each change.

    python tests/mutate.py                              conv.py and gaussian.py
    python tests/mutate.py --only minidl/conv.py        the mutants of one file
    python tests/mutate.py --list                       what would be changed, nothing is run
    python tests/mutate.py --pitfalls [8 ...]           plants each common mistake (of trap 8)
    python tests/mutate.py --semantic                   plants errors that small examples hide

A mutant is killed if a test fails, or takes far more CPU time than without the change, so
that a busy machine kills none; those are listed as timed out. A survivor is printed with its
diff: either the formula can be wrong without a test noticing, or the change changes nothing;
then it belongs into EQUIVALENT, with the reason. Exit status 0 if nothing else survived.
A common mistake must make the tests test_trap_<number>_... of its trap fail and no other's;
what small square examples hide must make tests/test_extremes.py fail.

Not changed are docstrings, annotations, decorators and raise statements. Run are a file's own
tests and the proofs that import it. Each mutant runs in a fork of a process that has imported
torch, in a copy of the sources.
"""

import argparse
import ast
import copy
import difflib
import multiprocessing
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
FORMULAS = {"minidl/conv.py": "tests/test_conv.py",
            "minidl/gaussian.py": "tests/test_gaussian.py"}  # a file and its own tests
JOBS = 2

CONV, GAUSSIAN = FORMULAS
# why changes change nothing that could be seen: (file, part of the line, part of the change)
EQUIVALENT = {
    "an image of height 1 has one row of windows, a kernel of height 1 one row": [
        (CONV, "return conv2d(x.unsqueeze(2), w.unsqueeze(2), b, (1, stride)", "1 -> 2"),
        (CONV, "return conv_transpose2d(x.unsqueeze(2), w.unsqueeze(2), b, (1,", "1 -> 2"),
        (CONV, "(0, output_padding), groups, (1, dilation)).squeeze(2)", "1 -> 2"),
        (CONV, "return correlate_loops_2d([x], [w], (1, stride)", "1 -> 2")],
    "a tolerance: its edge has no meaning": [
        (GAUSSIAN, "(S - S.mT <= rounding).all()", "S - S.mT < rounding")],
    "the matrix has every entry in both signs": [
        (GAUSSIAN, "(S - S.mT <= rounding).all()", "-> S.mT - S")],
    "the quadratic form is even": [
        (GAUSSIAN, "d = (mu2 - mu1).unsqueeze(-1)", "-> mu1 - mu2"),
        (GAUSSIAN, "prior = log_normal(", "-> log_normal(torch.zeros_like(mu), z,"),
        (GAUSSIAN, "return log_px_given_z + prior", "-> log_normal(mu, z, logvar)")],
}

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
     "yield to_unit(split.x.index_select(0, index)) - 0.1307, split.y.index_select(0, index)"),
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

OPERATORS = {
    ast.Add: [ast.Sub], ast.Sub: [ast.Add], ast.Mult: [ast.Div, ast.Add],
    ast.Div: [ast.Mult], ast.FloorDiv: [ast.Div], ast.Mod: [ast.FloorDiv], ast.Pow: [ast.Mult],
    ast.MatMult: [ast.Mult], ast.BitAnd: [ast.BitOr], ast.BitOr: [ast.BitAnd],
    ast.Lt: [ast.LtE, ast.GtE], ast.LtE: [ast.Lt, ast.Gt], ast.Gt: [ast.GtE, ast.LtE],
    ast.GtE: [ast.Gt, ast.Lt], ast.Eq: [ast.NotEq], ast.NotEq: [ast.Eq], ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is], ast.In: [ast.NotIn], ast.NotIn: [ast.In],
    ast.And: [ast.Or], ast.Or: [ast.And],
}
ORDERED = (ast.Sub, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.MatMult)  # not commutative
OTHER_NAMES = {  # of a function or method: what it is replaced by
    "sum": "mean", "mean": "sum", "max": "min mean", "min": "max", "amax": "amin mean",
    "amin": "amax", "argmax": "argmin", "std": "var", "var": "std", "square": "abs",
    "sqrt": "square", "sign": "abs", "exp": "exp2 expm1", "expm1": "exp", "log": "log2 log1p",
    "log1p": "log", "tanh": "sigmoid", "sigmoid": "tanh", "relu": "abs", "erf": "erfc",
    "erfc": "erf", "sin": "cos", "cos": "sin", "cumsum": "cumprod", "tril": "triu",
    "triu": "tril", "zeros": "ones", "ones": "zeros", "zeros_like": "ones_like",
    "ones_like": "zeros_like", "new_zeros": "new_ones",
}
DROPPED = {"T", "mT", "flip", "abs", "clamp", "transpose", "roll", "square", "sqrt", "sort",
           "conj", "cumsum", "diag", "repeat", "reciprocal"}
SYMMETRIC = {"max", "min", "maximum", "minimum", "gcd", "equal", "transpose", "movedim",
             "swapaxes"}


class Mutant(NamedTuple):
    file: str
    line: int
    source: str  # the line in the file
    change: str  # "old -> new", with a number where a line has several that read the same
    code: str    # of the whole file


# --- what is changed ------------------------------------------------------------------------

def changed(node, parent):
    """The nodes that could stand in a node's place."""
    match node:
        case ast.BinOp() | ast.AugAssign() | ast.BoolOp():
            yield from (like(node, op=op()) for op in OPERATORS.get(type(node.op), []))
            if isinstance(node, ast.AugAssign):
                yield ast.Assign([node.target], node.value, lineno=node.lineno)
            elif isinstance(node.op, ORDERED) and not is_even(parent):
                yield ast.BinOp(node.right, node.op, node.left)
        case ast.Compare(ops=ops):
            for i, op in enumerate(ops):
                for other in OPERATORS[type(op)]:
                    yield like(node, ops=[*ops[:i], other(), *ops[i + 1:]])
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(n)):
            yield ast.Constant(n + 1)
            if n != 0 or not isinstance(parent, ast.Subscript | ast.Tuple):
                yield ast.Constant(n - 1)  # x[-1] is often x[0], the only one
        case ast.Constant(value=float(x)):
            yield from map(ast.Constant, [2 * x, 1.001 * x] if x else [1.0])
        case ast.UnaryOp(op=ast.USub() | ast.Not() | ast.Invert()):
            yield node.operand
        case ast.If() | ast.IfExp() | ast.While():
            yield like(node, test=negated(node.test))
        case ast.comprehension(ifs=ifs):
            for i, condition in enumerate(ifs):
                yield like(node, ifs=[*ifs[:i], negated(condition), *ifs[i + 1:]])
        case ast.Attribute():
            for name in OTHER_NAMES.get(node.attr, "").split():
                yield like(node, attr=name)
            if node.attr in ("T", "mT"):
                yield node.value
        case ast.Slice():
            for end in ("lower", "upper", "step"):
                if getattr(node, end) is not None:
                    yield like(node, **{end: None})
        case ast.Return(value=ast.Tuple(elts=elements)):
            for swapped in swaps(elements):
                yield ast.Return(ast.Tuple(swapped, ast.Load()))
        case ast.Call():
            yield from changed_call(node)


def changed_call(node):
    name = getattr(node.func, "attr", getattr(node.func, "id", None))
    owner = getattr(node.func, "value", None)  # x in x.f(...)
    if owner and name in DROPPED and ast.unparse(owner) not in ("torch", "F", "np", "math"):
        yield owner
    if not owner and name in ("sum", "max", "min"):
        other = {"sum": "max", "max": "min", "min": "max"}[name]
        yield like(node, func=ast.Name(other, ast.Load()))
    if name == "range" and len(node.args) == 1:
        yield like(node, args=[ast.BinOp(node.args[0], ast.Sub(), ast.Constant(1))])
    if name not in SYMMETRIC:
        for arguments in swaps(node.args):
            yield like(node, args=arguments)
    for i, keyword in enumerate(node.keywords):
        if keyword.arg not in (None, "strict"):
            yield like(node, keywords=node.keywords[:i] + node.keywords[i + 1:])


def like(node, **fields):
    new = copy.copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


def negated(condition):
    return ast.UnaryOp(ast.Not(), condition)


def swaps(elements):
    """The list with two neighbours exchanged, in every place where that makes a difference."""
    for i, (a, b) in enumerate(pairwise(elements)):
        if ast.unparse(a) != ast.unparse(b) and not isinstance(a, ast.Starred):
            yield [*elements[:i], b, a, *elements[i + 2:]]


def is_even(parent):
    """Whether the sign of what stands below is lost: (a - b)**2, (a - b).abs()."""
    if isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.Pow):
        return ast.unparse(parent.right) == "2"
    return isinstance(parent, ast.Attribute) and parent.attr in ("square", "abs", "norm")


# --- where it is changed --------------------------------------------------------------------

def places(node):
    """(parent, field, index or None, child) of every node below that may be changed."""
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "msg", "ctx") or (
                isinstance(node, ast.keyword) and node.arg == "strict"):  # zip's precaution
            continue
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(child, ast.AST) or isinstance(child, ast.Raise | ast.JoinedStr):
                continue
            yield node, field, index, child
            yield from places(child)


def parse(file):
    text = (ROOT / file).read_text(encoding="utf-8")
    return ast.parse(text), text.splitlines()


def printed(tree):
    """The statements of a file as the syntax tree prints them."""
    return [ast.unparse(statement) for statement in tree.body]


def mutants(file):
    """All mutants of a file, in the order of its lines."""
    tree, lines = parse(file)
    blocks, found, seen = printed(tree), [], set()
    for number, block in enumerate(tree.body):
        inside = [node for node in ast.walk(block) if isinstance(node, ast.FunctionDef)]
        for parent, field, index, child in (place for f in inside for place in places(f)):
            if child in seen:
                continue  # a function inside a function
            seen.add(child)
            line = getattr(child, "lineno", getattr(parent, "lineno", block.lineno))
            for new in changed(child, parent):
                put(parent, field, index, new)
                code = "\n".join([*blocks[:number], ast.unparse(block), *blocks[number + 1:]])
                put(parent, field, index, child)
                found.append(Mutant(file, line, lines[line - 1].strip(),
                                    f"{headline(child)} -> {headline(new)}", code))
    return numbered(sorted(found, key=lambda mutant: mutant.line))


def put(parent, field, index, child):
    if index is None:
        setattr(parent, field, child)
    else:
        getattr(parent, field)[index] = child


def headline(node):
    return ast.unparse(node).strip().splitlines()[0]


def numbered(found):
    count = Counter()
    for mutant in found:
        count[mutant[:4]] += 1
        n = count[mutant[:4]]
        yield mutant._replace(change=mutant.change + (f" ({n})" if n > 1 else ""))


def planted(mistakes):
    """Mistakes in words, (name, file, line, what it becomes), as mutants."""
    for name, file, line, mistake in mistakes:
        text = (ROOT / file).read_text(encoding="utf-8")
        if text.count(line) != 1:
            sys.exit(f"{file}: found {text.count(line)} times, expected once: {line}")
        number = text[:text.index(line)].count("\n") + 1
        yield Mutant(file, number, line, f"{name}: {mistake}", text.replace(line, mistake))


# --- the tests ------------------------------------------------------------------------------

def tests_of(file):
    """pytest's arguments for a mutant of a file: its tests, then the proofs that import it."""
    name = Path(file).stem
    imported = re.compile(rf"^from minidl(\.{name} import| import .*\b{name}\b)", re.M)
    proofs = [path.relative_to(ROOT).as_posix()
              for path in sorted(ROOT.glob("theory/**/test_*.py"))
              if imported.search(path.read_text("utf-8"))]
    return [["-x", FORMULAS[file]], ["-x", *proofs]]


def prepare(folder):
    """One of JOBS processes: it works in its own copy of the sources."""
    tree = Path(folder, str(os.getpid()))
    for name in ("assignments", "minidl", "tests", "theory"):
        shutil.copytree(ROOT / name, tree / name,
                        ignore=shutil.ignore_patterns("__pycache__"))
    for path in (*ROOT.glob("*.py"), *ROOT.glob("*.md"), *ROOT.glob("*.toml")):
        shutil.copy(path, tree)
    os.chdir(tree)
    sys.path[:] = [entry for entry in sys.path if not entry.startswith(str(ROOT))]
    sys.dont_write_bytecode = True  # a stale .pyc would hide the next mutant


def attempt(task):
    """-> the mutant, survived, killed or timed out, its CPU seconds, what pytest printed."""
    mutant, tests, limit = task
    path, log = Path(mutant.file), Path("log")
    original = path.read_bytes()
    path.write_text(mutant.code, encoding="utf-8")
    if not (child := os.fork()):
        run(tests, limit, log)
    try:
        _, status, usage = os.wait4(child, 0)
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise
    path.write_bytes(original)
    late = os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGALRM)
    return (mutant, "survived" if not status else "timed out" if late else "killed",
            usage.ru_utime + usage.ru_stime, log.read_text("utf-8", "replace"))


def run(tests, limit, log):
    """In a process of its own, the tests for `limit` CPU seconds; it does not return."""
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1))
        resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
        signal.alarm(60 + 20 * limit)  # asleep it uses no CPU time
        for stream in (1, 2):
            os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
        import pytest
        os._exit(any(pytest.main(["-q", "-p", "no:cacheprovider", *part]) for part in tests))
    except BaseException:
        os._exit(2)


def attempts(pool, found, tests):
    """What became of each mutant, as they end; tests: file -> pytest's arguments. They must
    pass without any change."""
    limit, files = {}, {repr(tests(mutant.file)): mutant.file for mutant in found}
    unchanged = [Mutant(file, 0, "", "", "\n".join(printed(parse(file)[0])))
                 for file in files.values()]
    for mutant, result, seconds, said in pool.imap_unordered(
            attempt, [(mutant, tests(mutant.file), 900) for mutant in unchanged]):
        limit[repr(tests(mutant.file))] = 10 + int(5 * seconds)
        if result != "survived":
            sys.exit(f"{said[-2000:]}\nwithout any change the tests of {mutant.file} fail")
    return pool.imap_unordered(attempt, [
        (mutant, tests(mutant.file), limit[repr(tests(mutant.file))]) for mutant in found])


# --- the report -----------------------------------------------------------------------------

def equivalent(mutant):
    """Entries of EQUIVALENT that say why a mutant changes nothing."""
    return [entry for entries in EQUIVALENT.values() for entry in entries
            if entry[0] == mutant.file and entry[1] in mutant.source
            and entry[2] in f"{mutant.change};"]  # ; is the end


def described(mutant):
    """A mutant and its changed lines, as the syntax tree prints them."""
    before = "\n".join(printed(parse(mutant.file)[0])).splitlines()
    lines = difflib.unified_diff(before, mutant.code.splitlines(), "", "", n=0)
    return "\n    ".join([f"{mutant.file}:{mutant.line}: {mutant.change}", *(
        line for line in lines if line[0] in "+-" and line[:3] not in ("+++", "---"))])


def of_formulas(pool, found):
    """Change every formula -> whether each mutant was killed or is known as equivalent."""
    files, count, wrong = {mutant.file for mutant in found}, Counter(), []
    for mutant, result, _, _ in attempts(pool, found, tests_of):
        known = result == "survived" and equivalent(mutant)
        count["equivalent" if known else result] += 1
        if not known and result != "killed":
            print(f"{result}\n{described(mutant)}", flush=True)
        if result != "survived" and equivalent(mutant):
            wrong.append(f"listed as equivalent, but {result}: {described(mutant)}")
        if count.total() % 50 == 0 or count.total() == len(found):
            print(f"{count.total()} of {len(found)}: {dict(count)}", flush=True)
    matched = [entry for mutant in found for entry in equivalent(mutant)]
    wrong += [f"listed as equivalent, but is no mutant: {entry}"
              for entries in EQUIVALENT.values() for entry in entries
              if entry[0] in files and entry not in matched]
    killed = count["killed"] + count["timed out"]
    print(*wrong, f"{killed / (count.total() - count['equivalent']):.1%} killed", sep="\n")
    return not wrong and not count["survived"]


def of_pitfalls(pool, found):
    """Plant every common mistake -> whether each makes its trap's tests fail, no other's."""
    tests = [["--tb=no", "-rfE", "tests", "-k", "test_trap_"]]
    right = 0
    for mutant, _, _, said in attempts(pool, found, lambda file: tests):
        failing = set(re.findall(r"^(?:FAILED|ERROR) .*::test_(trap_\d+)_", said, re.M))
        good = failing == {mutant.change.partition(":")[0]}
        right += good
        print(f"{'ok   ' if good else 'WRONG'} {mutant.file}: {mutant.change}\n"
              f"      tests that fail: {', '.join(sorted(failing))}", flush=True)
    print(f"{right} of {len(found)} mistakes make exactly their trap's tests fail")
    return right == len(found)


def of_semantic(pool, found):
    """Plant what small examples hide -> whether tests/test_extremes.py notices each."""
    tests, left = [["-x", "tests/test_extremes.py"]], 0
    for mutant, result, _, _ in attempts(pool, found, lambda file: tests):
        left += result == "survived"
        print(f"{result:<9} {mutant.file}: {mutant.change}", flush=True)
    print(f"{left} of {len(found)} survived")
    return not left


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", metavar="FILE", choices=FORMULAS, help="of one file only")
    parser.add_argument("--pitfalls", metavar="TRAP", type=int, nargs="*",
                        help="common mistakes instead, of these traps or all")
    parser.add_argument("--semantic", action="store_true", help="what small examples hide")
    parser.add_argument("--list", action="store_true", help="print the mutants, run nothing")
    options = parser.parse_args()
    run_all = of_formulas
    if options.semantic:
        run_all, found = of_semantic, list(planted(("semantic", *entry) for entry in SEMANTIC))
    elif options.pitfalls is not None:
        run_all, found = of_pitfalls, list(planted(
            (f"trap_{trap}", *entry) for trap, *entry in PITFALLS
            if not options.pitfalls or trap in options.pitfalls))
    else:
        found = [mutant for file in ([options.only] if options.only else FORMULAS)
                 for mutant in mutants(file)]
    if options.list:
        for mutant in found:
            print(f"{mutant.file}:{mutant.line}: {mutant.change}")
        print(f"{len(found)} mutants")
        return 0

    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS",
                                     "OPENBLAS_NUM_THREADS", "TEST_PROCESSES"), "1"))
    import pytest  # noqa: F401, once, for all forks
    import torch
    torch.set_num_threads(1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    with tempfile.TemporaryDirectory() as folder, multiprocessing.get_context("fork").Pool(
            JOBS, prepare, (folder,)) as pool:
        return not run_all(pool, found)


if __name__ == "__main__":
    sys.exit(main())
