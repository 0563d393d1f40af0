"""Answers that are no formula: witnesses, sizes, a count, folds. Each judge returns what is
wrong in words, or nothing; answers that are equally right are all accepted.
"""

import itertools


def whole(value):
    """An index or a shift, which may come as 1.0; masks of booleans are none."""
    if isinstance(value, bool) or value != int(value):
        raise ValueError
    return int(value)


# --- exercise 2, questions 1 and 2: shifts --------------------------------------------------


def pool(x):
    return lambda t: max(x(2 * t), x(2 * t + 1))


def relu(x):
    return lambda t: max(x(t), 0)


def layer(S, invariant):
    """S: a signal, a function of t, -> a signal. -> judge(answer)."""
    def judge(answer):
        if answer is True:
            return None if invariant else f"it is not: {sides(S, [1], 1)}"
        if answer is False:
            return ("it is time invariant: S T_a x = T_a S x for every x and a" if invariant
                    else "right, it is not; but give a pair (x, a) that shows it")
        try:
            x, a = answer
            x, a = [float(v) for v in x], whole(a)
        except (TypeError, ValueError, OverflowError):
            return "expected True, or a pair (x, a): a list of numbers and a whole number"
        if len(x) + abs(a) > 1000:
            return "expected less than 1000 numbers, and a smaller shift"
        found = sides(S, x, a)
        return None if "differ" in found else f"this shows nothing: {found}"
    return judge


def sides(S, numbers, a):
    """S T_a x and T_a S x in words, where x has the numbers at times 0, 1, 2 ..."""
    def x(t):
        return numbers[t] if 0 <= t < len(numbers) else 0

    def of_shifted(t):
        return S(lambda u: x(u - a))(t)

    reach = 2 * (len(numbers) + abs(a)) + 4
    for t in sorted(range(-reach, reach), key=abs):
        if of_shifted(t) != S(x)(t - a):
            return (f"for x = {numbers}, a = {a} they differ: (S T_a x)[{t}] = "
                    f"{of_shifted(t):g}, (T_a S x)[{t}] = {S(x)(t - a):g}")
    return f"for x = {numbers}, a = {a}, S T_a x and T_a S x are equal"


def zero_padding(answer):
    try:
        x, h, a = answer
        x, h, a = [float(v) for v in x], [float(v) for v in h], whole(a)
    except (TypeError, ValueError, OverflowError):
        return "expected (x, h, a): two lists of numbers and a whole number"

    def C(x):
        return [sum(h[s] * x[t - s] for s in range(len(h)) if 0 <= t - s < len(x))
                for t in range(len(h) // 2, len(h) // 2 + len(x))]

    def T(x):
        return [x[t - a] if 0 <= t - a < len(x) else 0.0 for t in range(len(x))]

    if len(h) % 2 == 0:
        return f"h has {len(h)} values, expected an odd number"
    return None if C(T(x)) != T(C(x)) else f"C T_a x and T_a C x are both {C(T(x))}"


# --- assignment 8, exercise 5: Figure 15.14 -------------------------------------------------


def sizes_with(windows):
    return {"X": (11, 6), "Z2": (windows(2), 4), "Z4": (windows(4), 5), "m2": (4,), "m4": (5,),
            "m": (9,), "logits": (2,)}


SIZES = {"11 - k windows: one is missing": sizes_with(lambda k: 11 - k),
         "as many windows as words: that needs padding": sizes_with(lambda k: 11),
         "windows of 2 k + 1 words": sizes_with(lambda k: 11 - 2 * k),
         "windows that do not overlap": sizes_with(lambda k: 11 // k)}


def sizes(answer):
    right = sizes_with(lambda k: 12 - k)
    if not isinstance(answer, dict) or answer.keys() != right.keys():
        return f"expected a dict with {', '.join(right)}"
    given = {name: tuple(n for n in (size if isinstance(size, list) else [size]) if n != 1)
             for name, size in answer.items()}
    for either_way in given, {name: size[::-1] for name, size in given.items()}:
        if either_way == right:
            return None
        for words, slip in SIZES.items():
            if either_way == slip:
                return words
    return "; ".join(f"{name} is {answer[name]}, expected {list(right[name])}"
                     for name, size in given.items() if size != right[name])


COUNTS = {186: "the biases are not counted", 177: "the last layer is not counted",
          188: "the filters' biases are not counted",
          195: "the last layer's biases are not counted",
          57: "a filter weighs all 6 numbers of a word"}


def parameters(answer):
    return None if answer == 197 else COUNTS.get(answer, f"{answer} is not their number")


# --- homework 1, 3: cross-validation --------------------------------------------------------

FOLDS = [(6, 3), (7, 3), (11, 4)]


def folds(returned):
    for (n, k), value in zip(FOLDS, returned, strict=True):
        if found := fold(value, n, k):
            return f"n = {n}, k = {k}: {found}"
    return None


def fold(pairs, n, k):
    try:
        train, val = ([[whole(i) for i in part] for part in parts]
                      for parts in zip(*pairs, strict=True))
    except (TypeError, ValueError, OverflowError):
        return "expected pairs (training, validation) of lists of indices"
    everything, validated = list(range(n)), sorted(itertools.chain(*val))
    if len(val) != k:
        return f"there are {len(val)} pairs"
    if validated == list(range(1, n + 1)):
        return "the indices start at 1"
    if sorted(itertools.chain(*train)) == everything:
        return "training and validation are exchanged"
    for t, v in zip(train, val, strict=True):
        if both := set(t) & set(v):
            return f"example {min(both)} is trained on and validated on in one fold"
    for i in everything:
        if validated.count(i) != 1:
            return f"example {i} is in {validated.count(i)} validation parts"
    for t, v in zip(train, val, strict=True):
        if sorted(t + v) != everything:
            return f"a fold trains on {sorted(t)}, not on all the others of {sorted(v)}"
    sizes = [len(v) for v in val]
    return f"validation parts of {sizes} examples" if max(sizes) > min(sizes) + 1 else None


JUDGED = {  # name -> its place, what judges it
    "zero_padding": ("exercise 2, 1", zero_padding),
    "additive_constant": ("exercise 2, 2 (a)", layer(lambda x: lambda t: x(t) + 3, True)),
    "pointwise_nonlinearity": ("exercise 2, 2 (b)", layer(relu, True)),
    "strided_pooling": ("exercise 2, 2 (c)", layer(pool, False)),
    "cnn": ("exercise 2, 2 (d)", layer(
        lambda x: pool(relu(lambda t: x(t) - 2 * x(t - 1) + 3)), False)),
    "sizes": ("assignment 8, 5", sizes), "parameters": ("assignment 8, 5", parameters),
    "folds": ("homework 1, 3", folds)}
