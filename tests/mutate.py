"""Would a test notice? Changes each formula by one token and runs the tests on each change.

    python tests/mutate.py                              everything, half an hour on 2 cores
    python tests/mutate.py --only theory/test_rnn.py    the mutants of one file
    python tests/mutate.py --list                       what would be changed, nothing is run

A mutant is killed if a test fails, or takes far more CPU time than without the change, so
that a busy machine kills none; those are listed as timed out. A survivor is printed with its
diff: either the formula can be wrong without a test noticing, or the change changes nothing;
then it belongs into EQUIVALENT, with the reason. Exit status 0 if nothing else survived.

Changed are all functions of FORMULAS, and in theory/test_*.py the functions at the top level
and those functions and lambdas inside a test that its checks are called with. Not changed are
tests and checks (test*, check*), bounds (*bound*), makers of data (they call ints, reals or
make), controls (they occur in refuted(...) only), docstrings, annotations, decorators, raise
statements, and theory/test_the_proofs.py, which has no formula.
Run are the tests of TESTS and theory/ that import the changed file, the likeliest first. Each
mutant runs in a fork of one process that has imported torch, in a copy of the sources.
"""

import argparse
import ast
import copy
import difflib
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
FORMULAS = ["minidl/conv.py", "minidl/gaussian.py"]
TESTS = ["tests/test_conv.py", "tests/test_gaussian.py"]
JOBS = 2

# (file, source line, change): why the change changes nothing that could be seen
EQUIVALENT = {
    ("minidl/conv.py",
     "return conv2d(x.unsqueeze(2), w.unsqueeze(2), b, (1, stride), (0, padding), "
     "(1, dilation),",
     "1 -> 2"): "an image of height 1 has one row of windows",
    ("minidl/conv.py",
     "return conv2d(x.unsqueeze(2), w.unsqueeze(2), b, (1, stride), (0, padding), "
     "(1, dilation),",
     "1 -> 2 (2)"): "a kernel of height 1 has one row",
    ("minidl/conv.py",
     "return conv_transpose2d(x.unsqueeze(2), w.unsqueeze(2), b, (1, stride), (0, padding),",
     "1 -> 2"): "an image of height 1 has one row of windows",
    ("minidl/conv.py",
     "(0, output_padding), groups, (1, dilation)).squeeze(2)",
     "1 -> 2"): "a kernel of height 1 has one row",
    ("minidl/conv.py",
     "return correlate_loops_2d([x], [w], (1, stride), (0, padding), (1, dilation))[0]",
     "1 -> 2"): "an image of height 1 has one row of windows",
    ("minidl/conv.py",
     "return correlate_loops_2d([x], [w], (1, stride), (0, padding), (1, dilation))[0]",
     "1 -> 2 (2)"): "a kernel of height 1 has one row",
    ("minidl/gaussian.py", "if failed.any() or not (S - S.mT <= rounding).all():",
     "S - S.mT <= rounding -> S - S.mT < rounding"): "a tolerance: its edge has no meaning",
    ("minidl/gaussian.py", "if failed.any() or not (S - S.mT <= rounding).all():",
     "S - S.mT -> S.mT - S"): "the matrix has every entry in both signs",
    ("minidl/gaussian.py", "d = (mu2 - mu1).unsqueeze(-1)  # (B, D) -> (B, D, 1): a column",
     "mu2 - mu1 -> mu1 - mu2"): "the quadratic form is even in d",
    ("minidl/gaussian.py",
     "prior = log_normal(z, torch.zeros_like(mu), torch.zeros_like(mu))",
     "log_normal(z, torch.zeros_like(mu), torch.zeros_like(mu)) -> "
     "log_normal(torch.zeros_like(mu), z, torch.zeros_like(mu))"): "even in x - mu",
    ("minidl/gaussian.py", "return log_px_given_z + prior - log_normal(z, mu, logvar)",
     "log_normal(z, mu, logvar) -> log_normal(mu, z, logvar)"): "even in x - mu",
    ("theory/test_linear_autoencoder.py",
     "return torch.linalg.svdvals(X - X.mean(dim=0))[d:].square().sum()",
     "X - X.mean(dim=0) -> X.mean(dim=0) - X"): "X and -X have the same singular values",
    ("theory/test_gan_simclr.py",
     "similarity = [v[i] @ v[j] / (v[i].norm() * v[j].norm()) / tau for j in range(n)]",
     "v[i] @ v[j] -> v[j] @ v[i]"): "the product of two vectors is symmetric",
    ("theory/test_lti.py", "return convolution(padded[:, None], h.flip(0)[None, None])[:, 0]",
     "0 -> -1"): "a vector has one axis",
    ("theory/test_lti.py", "return F.conv1d(padded, h.flip(0)[None, None])[:, 0]",
     "0 -> -1"): "a vector has one axis",
    ("theory/test_lti.py",
     "arrays = ([signal.get(t, 0) for t in range(-7, 8)] for signal in (h, x))",
     "8 -> 9"): "one zero more",
    ("theory/test_lti.py",
     "return np.convolve(x, h).tolist()  # what 64 bits cannot hold stays a Python integer",
     "np.convolve(x, h) -> np.convolve(h, x)"): "convolution is commutative",
    ("theory/test_lti.py", "y = on_Z(dict(enumerate(h)), dict(enumerate(x)))",
     "on_Z(dict(enumerate(h)), dict(enumerate(x))) -> on_Z(dict(enumerate(x)), "
     "dict(enumerate(h)))"): "convolution is commutative",
    ("theory/test_lti.py",
     "return convolution(x[:, None], h.flip(0)[None, None], padding=padding)[:, 0]",
     "0 -> -1"): "a vector has one axis",
    ("theory/test_lti.py",
     'rows = [np.convolve(row, h.numpy(), "valid") for row in x.numpy()]',
     "np.convolve(row, h.numpy(), 'valid') -> np.convolve(h.numpy(), row, 'valid')"):
         "commutative; the longer one need not come first",
    ("theory/test_lti.py",
     "return torch.tensor(convolve_loops(x.tolist(), h.tolist())[len(h) - 1:len(x)], "
     "dtype=D)",
     "convolve_loops(x.tolist(), h.tolist()) -> convolve_loops(h.tolist(), x.tolist())"):
         "convolution is commutative",
    ("theory/test_lti.py",
     "check(convolve, lambda k: basis(k) + basis(k).flip(1))  # symmetric: it passes",
     "1 -> 0"): "the unit matrix looks the same, flipped up or sideways",
    ("theory/test_convolution_algebra.py",
     "return conv1d(x[None, None], h.flip(0)[None, None], padding=len(h) - 1)[0, 0]",
     "0 -> -1"): "a vector has one axis",
    ("theory/test_convolution_algebra.py",
     "return torch.tensor(convolve_loops(x.tolist(), h.tolist()), dtype=D)",
     "convolve_loops(x.tolist(), h.tolist()) -> convolve_loops(h.tolist(), x.tolist())"):
         "convolution is commutative",
    ("theory/test_convolution_algebra.py",
     "return torch.from_numpy(np.convolve(x.numpy(), h.numpy()))",
     "np.convolve(x.numpy(), h.numpy()) -> np.convolve(h.numpy(), x.numpy())"):
         "convolution is commutative",
    ("theory/test_convolution_algebra.py",
     "return waves(len(x)).conj() @ x.to(torch.complex128)",
     "waves(len(x)).conj() @ x.to(torch.complex128) -> x.to(torch.complex128) @ "
     "waves(len(x)).conj()"): "the matrix is symmetric",
    ("theory/test_convolution_algebra.py", "return waves(len(X)) @ X / len(X)",
     "waves(len(X)) @ X -> X @ waves(len(X))"): "the matrix is symmetric",
    ("theory/test_convolution_algebra.py",
     "return F.conv1d(torch.cat([x[1:], x])[None, None], h.flip(0)[None, None])[0, 0]",
     "0 -> -1"): "a vector has one axis",
    ("theory/test_time_invariance.py", "return x * (x > 0)",
     "x > 0 -> x >= 0"): "at 0 both give 0",
    ("theory/test_time_invariance.py",
     "return scale * torch.where(x > 0, x, alpha * (x.exp() - 1))",
     "x > 0 -> x >= 0"): "at 0 both branches give 0",
    ("theory/test_time_invariance.py",
     "check(mean_pool_torch, lambda x: F.conv1d(x[:, None], torch.ones(1, 1, 1, dtype=D),",
     "1 -> 2"): "a second channel, which [:, 0] leaves out",
    ("theory/test_jacobian_fc.py", "return eye(len(x))[starts + x.unfold(0, k, s).argmax(1)]",
     "0 -> -1"): "a vector has one axis",
    ("theory/test_jacobian_conv.py",
     "return torch.tensor([10.0**u for u in range(n)], dtype=D).reshape(shape)",
     "10.0 -> 20.0"): "any base will do that no count reaches",
    ("theory/test_jacobian_conv.py", "arguments[0].dim()]",
     "0 -> 1"): "x and w have the same number of axes",
    ("theory/test_shapes.py",
     "x = conv1d(x[:, None], torch.ones(1, 1, k, dtype=D), None, s, p, d)[:, 0]",
     "1 -> 2"): "a second channel, which [:, 0] leaves out",
    ("theory/test_gaussian_kl.py", "inverse, d = torch.linalg.inv(cov2), mu2 - mu1",
     "mu2 - mu1 -> mu1 - mu2"): "the quadratic form is even in d",
    ("theory/test_gaussian_kl.py",
     "return torch.trace(inverse @ cov1), d @ inverse @ d, len(d), logdet",
     "inverse @ cov1 -> cov1 @ inverse"): "tr(A B) = tr(B A)",
    ("theory/test_gaussian_kl.py",
     "return torch.trace(inverse @ cov1), d @ inverse @ d, len(d), logdet",
     "d @ inverse @ d -> d @ (d @ inverse)"): "the matrix is symmetric",
    ("theory/test_gaussian_kl.py",
     "return torch.trace(inverse @ cov1), d @ inverse @ d, len(d), logdet",
     "d @ inverse -> inverse @ d"): "the matrix is symmetric",
    ("theory/test_vae.py", "return [b + sum(w * v for w, v in zip(row, values, strict=True))",
     "zip(row, values, strict=True) -> zip(values, row, strict=True)"): "w v = v w",
    ("theory/test_losses.py",
     'check(lambda a, b: F.l1_loss(a, b, reduction="none")[:, 0], medians)',
     "F.l1_loss(a, b, reduction='none') -> F.l1_loss(b, a, reduction='none')"):
         "|a - b| = |b - a|",
    ("theory/test_losses.py",
     "check(lambda x: LAM * torch.where(x > 0, x, AL * torch.expm1(x)))",
     "x > 0 -> x >= 0"): "at 0 both branches give 0",
    ("theory/test_training.py",
     "return [v * m / (1 - p) for v, m in zip(x, mask, strict=True)]",
     "zip(x, mask, strict=True) -> zip(mask, x, strict=True)"): "v m = m v",
    ("theory/test_training.py", "return sum(u * v for u, v in zip(a, b, strict=True))",
     "zip(a, b, strict=True) -> zip(b, a, strict=True)"): "u v = v u",
    ("theory/test_training.py",
     "return p / (1 - p) * sum(u**2 * v**2 for u, v in zip(w, x, strict=True))",
     "zip(w, x, strict=True) -> zip(x, w, strict=True)"):
         "a product of squares, in either order",
}

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


def changed(node, parent):
    """The nodes that could stand in a node's place."""
    new = copy.copy(node)
    if isinstance(node, ast.BinOp | ast.AugAssign | ast.BoolOp):
        for op in OPERATORS.get(type(node.op), []):
            new.op = op()
            yield new
    if isinstance(node, ast.BinOp) and isinstance(node.op, ORDERED) and not is_even(parent):
        yield ast.BinOp(node.right, node.op, node.left)
    if isinstance(node, ast.AugAssign):
        yield ast.Assign([node.target], node.value, lineno=node.lineno)
    if isinstance(node, ast.Compare):
        for i, op in enumerate(node.ops):
            for other in OPERATORS[type(op)]:
                yield ast.Compare(node.left, [*node.ops[:i], other(), *node.ops[i + 1:]],
                                  node.comparators)
    if isinstance(node, ast.Constant) and type(node.value) is int:
        yield ast.Constant(node.value + 1)
        if node.value != 0 or not isinstance(parent, ast.Subscript | ast.Tuple):
            yield ast.Constant(node.value - 1)  # x[-1] is often x[0], the only one
    if isinstance(node, ast.Constant) and type(node.value) is float:
        yield ast.Constant(2 * node.value if node.value else 1.0)
        if node.value:
            yield ast.Constant(1.001 * node.value)
    if isinstance(node, ast.Constant) and type(node.value) is bool:
        yield ast.Constant(not node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not | ast.Invert):
        yield node.operand
    if isinstance(node, ast.If | ast.IfExp | ast.While):
        new = copy.copy(node)
        new.test = ast.UnaryOp(ast.Not(), node.test)
        yield new
    if isinstance(node, ast.comprehension):
        for i, condition in enumerate(node.ifs):
            new = copy.copy(node)
            new.ifs = [*node.ifs[:i], ast.UnaryOp(ast.Not(), condition), *node.ifs[i + 1:]]
            yield new
    if isinstance(node, ast.Attribute):
        for name in OTHER_NAMES.get(node.attr, "").split():
            yield ast.Attribute(node.value, name, node.ctx)
        if node.attr in ("T", "mT"):
            yield node.value
    if isinstance(node, ast.Slice):
        for end in ("lower", "upper", "step"):
            if getattr(node, end) is not None:
                new = copy.copy(node)
                setattr(new, end, None)
                yield new
    if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
        for elements in swaps(node.value.elts):
            yield ast.Return(ast.Tuple(elements, ast.Load()))
    if isinstance(node, ast.Call):
        yield from changed_call(node)


def changed_call(node):
    name = getattr(node.func, "attr", getattr(node.func, "id", None))
    owner = getattr(node.func, "value", None)  # x in x.f(...)
    if owner and name in DROPPED and ast.unparse(owner) not in ("torch", "F", "np", "math"):
        yield owner
    if isinstance(node.func, ast.Name) and name in ("sum", "max", "min"):
        yield ast.Call(ast.Name({"sum": "max", "max": "min", "min": "max"}[name], ast.Load()),
                       node.args, node.keywords)
    if name == "range" and len(node.args) == 1:
        yield ast.Call(node.func, [ast.BinOp(node.args[0], ast.Sub(), ast.Constant(1))], [])
    if name not in SYMMETRIC:
        for arguments in swaps(node.args):
            yield ast.Call(node.func, arguments, node.keywords)
    for i, keyword in enumerate(node.keywords):
        if keyword.arg not in (None, "strict"):
            yield ast.Call(node.func, node.args, node.keywords[:i] + node.keywords[i + 1:])


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


def functions(tree, file):
    """The functions and lambdas to change: see above."""
    if file in FORMULAS:
        return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    found = []
    used = {node.id for node in without_controls(tree) if isinstance(node, ast.Name)}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            found += handed_over(node)
        elif isinstance(node, ast.FunctionDef) and node.name in used and is_formula(node):
            found.append(node)
    return found


def is_formula(node):
    calls = {ast.unparse(call.func) for call in ast.walk(node) if isinstance(call, ast.Call)}
    return not (node.name.startswith("check") or "bound" in node.name
                or calls & {"ints", "reals", "make"})


def without_controls(node):
    """All nodes below, except the controls: the arguments of refuted(...) after the first."""
    todo = [node]
    while todo:
        node = todo.pop()
        yield node
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "refuted":
            todo += node.args[:1]
        else:
            todo += ast.iter_child_nodes(node)


def handed_over(test):
    """The functions and lambdas that a test calls its checks with, directly or in a loop."""
    values = []
    for node in without_controls(test):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("check"):
            values += node.args + [keyword.value for keyword in node.keywords]
        if isinstance(node, ast.For) and isinstance(node.iter, ast.Tuple | ast.List):
            values += node.iter.elts
    flat = [part for value in values
            for part in (value.elts if isinstance(value, ast.Tuple | ast.List) else [value])]
    names = {value.id for value in flat if isinstance(value, ast.Name)}
    inner = [node for node in ast.walk(test) if isinstance(node, ast.FunctionDef)
             and node is not test and node.name in names and is_formula(node)]
    return inner + [value for value in flat if isinstance(value, ast.Lambda)]


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
    blocks, to_change, found, seen = printed(tree), functions(tree, file), [], set()
    for number, block in enumerate(tree.body):
        inside = set(ast.walk(block))
        for function in inside.intersection(to_change):
            for parent, field, index, child in places(function):
                if child in seen:
                    continue  # a function inside a function
                seen.add(child)
                for new in changed(child, parent):
                    put(parent, field, index, new)
                    code = [*blocks[:number], ast.unparse(block), *blocks[number + 1:]]
                    put(parent, field, index, child)
                    line = getattr(child, "lineno", getattr(parent, "lineno", function.lineno))
                    change = f"{headline(child)} -> {headline(new)}"
                    found.append(Mutant(file, line, lines[line - 1].strip(), change,
                                        "\n".join(code)))
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
        key = mutant[:4]
        count[key] += 1
        number = f" ({count[key]})" if count[key] > 1 else ""
        yield mutant._replace(change=mutant.change + number)


def theory():
    return [f"theory/{path.name}" for path in sorted((ROOT / "theory").glob("test_*.py"))]


def tests_of(file):
    """The tests to run on a mutant of a file: its own first, then all that import the file."""
    module = file.removesuffix(".py").replace("/", ".")
    names = {module, module.removeprefix("theory.")}
    importing = [test for test in TESTS + theory() if test == file or names & imported(test)]
    stem = Path(file).stem.removeprefix("test_")
    return sorted(importing, key=lambda test: not test.endswith(f"test_{stem}.py"))


def imported(file):
    names = set()
    for node in ast.walk(parse(file)[0]):
        if isinstance(node, ast.ImportFrom):
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def start(tree, tests, limit):
    """Fork a process that runs the tests in a copy of the sources for `limit` CPU seconds."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1))
        resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
        log = os.open(tree / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(tree)
        sys.dont_write_bytecode = True  # a stale .pyc would hide the next mutant
        sys.path[:] = [entry for entry in sys.path if not entry.startswith(str(ROOT))]
        import pytest
        for part in (tests[:1], tests[1:]):
            if part and pytest.main(["-x", "-q", "-p", "no:cacheprovider", *part]) != 0:
                os._exit(1)
        os._exit(0)
    except BaseException:
        os._exit(2)


def outcome(pid, deadline):
    """Survived, killed, timed out, or None while it runs; and the CPU seconds it took."""
    done, status, usage = os.wait4(pid, os.WNOHANG)
    if not done and time.monotonic() > deadline:  # asleep: it uses no CPU time
        os.killpg(pid, signal.SIGKILL)
        return "timed out", os.wait4(pid, 0)[2].ru_utime
    if not done:
        return None, 0
    timed_out = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU
    result = "survived" if status == 0 else "timed out" if timed_out else "killed"
    return result, usage.ru_utime + usage.ru_stime


def run(tasks, limit, report):
    """Run pairs (mutant, tests), JOBS at a time, each in a copy of the sources."""
    running = {}
    with tempfile.TemporaryDirectory() as folder:
        original = Path(folder, "original")
        for part in ("minidl", "theory", "tests"):
            shutil.copytree(ROOT / part, original / part,
                            ignore=shutil.ignore_patterns("__pycache__"))
        for path in [ROOT / "pyproject.toml", *ROOT.glob("*.py")]:
            shutil.copy(path, original)
        free = [shutil.copytree(original, Path(folder, str(job))) for job in range(JOBS)]
        tasks = list(reversed(tasks))
        try:
            while tasks or running:
                while tasks and free:
                    mutant, tests = tasks.pop()
                    tree, seconds = free.pop(), limit(mutant.file)
                    (tree / mutant.file).write_text(mutant.code, encoding="utf-8")
                    deadline = time.monotonic() + 60 + 20 * seconds
                    running[start(tree, tests, seconds)] = mutant, tree, deadline
                for pid, (mutant, tree, deadline) in list(running.items()):
                    result, seconds = outcome(pid, deadline)
                    if result:
                        del running[pid]
                        report(mutant, result, seconds, tree / "log")
                        shutil.copy(original / mutant.file, tree / mutant.file)
                        free.append(tree)
                time.sleep(0.01)
        finally:
            for pid in running:  # interrupted
                os.kill(pid, signal.SIGKILL)


def diff(mutant):
    """The changed lines, as the syntax tree prints them."""
    before = "\n".join(printed(parse(mutant.file)[0]))
    lines = difflib.unified_diff(before.splitlines(), mutant.code.splitlines(), "", "", n=0)
    return [line for line in lines if line[0] in "+-" and line[:3] not in ("+++", "---")]


def baseline(files, tests):
    """The CPU seconds that the unchanged tests take, file by file; they must pass."""
    seconds, failed = {}, []

    def report(mutant, result, duration, log):
        seconds[mutant.file] = duration
        if result != "survived":
            failed.append(mutant.file)
            print(log.read_text(encoding="utf-8")[-2000:])

    run([(Mutant(file, 0, "", "", "\n".join(printed(parse(file)[0]))), tests[file])
         for file in files], lambda file: 300, report)
    if failed:
        sys.exit(f"the tests fail without any change: {', '.join(sorted(failed))}")
    return seconds


def main():
    everything = FORMULAS + [file for file in theory() if file != "theory/test_the_proofs.py"]
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", metavar="FILE", choices=everything, help="of one file only")
    parser.add_argument("--list", action="store_true", help="print the mutants, run nothing")
    options = parser.parse_args()
    files = [options.only] if options.only else everything
    found = [mutant for file in files for mutant in mutants(file)]
    if options.list:
        for mutant in found:
            print(f"{mutant.file}:{mutant.line}: {mutant.change}")
        print(f"{len(found)} mutants")
        return 0

    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    import pytest  # noqa: F401, once, for all forks
    import torch
    torch.set_num_threads(1)

    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    tests = {file: tests_of(file) for file in files}
    seconds = baseline(files, tests)
    results, survivors, wrong = Counter(), [], []

    def report(mutant, result, duration, log):
        results[result] += 1
        reason = EQUIVALENT.get((mutant.file, mutant.source, mutant.change))
        if result == "survived" and reason is None:
            survivors.append(mutant)
        if result == "timed out" or (result == "survived" and reason is None):
            print(result, *describe(mutant), sep="\n", flush=True)
        elif result != "survived" and reason is not None:
            wrong.append(f"listed as equivalent, but {result}: {describe(mutant)[0]}")
        if results.total() % 50 == 0 or results.total() == len(found):
            print(f"{results.total()} of {len(found)}: {dict(results)}", flush=True)

    began = time.monotonic()
    run([(mutant, tests[mutant.file]) for mutant in found],
        lambda file: 10 + int(5 * seconds[file]), report)
    keys = {(mutant.file, mutant.source, mutant.change) for mutant in found}
    wrong += [f"listed as equivalent, but is no mutant: {key}" for key in EQUIVALENT
              if key[0] in files and key not in keys]
    killed = results["killed"] + results["timed out"]
    equivalent = results["survived"] - len(survivors)
    minutes = (time.monotonic() - began) / 60
    print(f"{len(found)} mutants in {minutes:.1f} minutes: {killed} killed "
          f"({results['timed out']} by the time limit), {equivalent} equivalent, "
          f"{len(survivors)} survived; score {killed / max(1, len(found) - equivalent):.1%}")
    print(*wrong, sep="\n", end="\n" if wrong else "")
    return 1 if survivors or wrong else 0


def describe(mutant):
    return [f"{mutant.file}:{mutant.line}: {mutant.change}",
            *(f"    {line}" for line in diff(mutant))]


if __name__ == "__main__":
    sys.exit(main())
