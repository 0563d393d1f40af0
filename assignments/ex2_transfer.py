r"""Exercise 2, task 5: 100 labels, and an encoder that has seen all images without theirs.

    minimise  1/n sum_{i <= n} -log p(y_i | x_i),   n = 100,   p = softmax(MLP(encoder(x))),
    from task 1's encoder as initial guess instead of from random weights

    python assignments/ex2_transfer.py            under 5 minutes on 2 CPU cores

Paired with task 4: the same subsets, seeds, first weights of the MLP, orders and steps; only
the encoder differs, its start and how it learns from there. Task 1's encoder comes from
outputs/ex2_conv_ae if that holds one made with the same settings, and is trained here
otherwise; the first lines say which.

Compared are fine-tuning all of it, leaving the encoder frozen, frozen for half of the steps
and then fine-tuned, and a step ten times smaller for the encoder. Beyond the sheet, the
unlabelled images teach a second time (Sohn et al. 2020, FixMatch): where the network is sure
of an image, it must say the same of it turned and shifted,

    + 1/m sum_{j <= m} [max_c p(c | u_j) > tau] -log p(c_j | changed u_j),
    c_j = argmax_c p(c | u_j),   u_j of the 55,000 training images, their labels unused

These trainings have more steps. What more steps and the start give without the unlabelled
images is measured too, so that each gain told is over a training that differs in one thing.
"""
# sheet: S3.5

import contextlib
import functools
import itertools
import statistics

import _path  # noqa: F401
import torch
import torch.nn.functional as F
from ex2_conv_ae import trained as trained_autoencoder
from ex2_few_labels import AUGMENTED, ROUND, build, curve_point, endless, subset
from ex2_few_labels import train as train_from_random_weights

from minidl.augment import random_affine
from minidl.data import Split
from minidl.evaluation import FRACTION, NATS, nats_and_accuracy
from minidl.frozen import frozen
from minidl.lab import cli, plot
from minidl.lab.results import deviation, markdown, slug
from minidl.lab.run import RunError
from minidl.schedules import one_cycle

RANDOM = {"random weights (task 4)": {}, "random weights, augmented": {"augmented": True}}
STARTED = {"fine-tuned": {}, "frozen": {"still": 1.0},
           "frozen, then fine-tuned": {"still": 0.5},
           "smaller step for the encoder": {"encoder_rate": 0.1},
           "frozen, then fine-tuned, augmented": {"still": 0.5, "augmented": True}}
PLAIN, PLAIN_AUGMENTED = RANDOM
TRANSFER, TRANSFER_AUGMENTED = "frozen, then fine-tuned", "frozen, then fine-tuned, augmented"
PLAIN_LONGER, TRANSFER_LONGER, STRETCH = (
    "random weights, augmented, longer", "fine-tuned, augmented, longer",
    "augmented, unlabelled images")
# what a variant is compared with, where that is not PLAIN: they differ in one thing
BASES = {TRANSFER_AUGMENTED: PLAIN_AUGMENTED, PLAIN_LONGER: PLAIN_AUGMENTED,
         TRANSFER_LONGER: PLAIN_LONGER, STRETCH: TRANSFER_LONGER}
# of the sheet's subset, of which a seed changes the weights and the order, not the images
HEADLINES = {"plain": PLAIN, "transfer": TRANSFER, "stretch": STRETCH}


def main(run,
         seeds: "trainings of each variant; amount" = 5,
         rounds: "of 30 steps each, a training; amount" = 10,
         batch_size: "images a step" = 50,
         learning_rate: "the highest of the one-cycle schedule" = 3e-3,
         unlabelled_rounds: "of 30 steps each, with unlabelled images; amount" = 16,
         images: "training images used, validation included; amount" = 60_000):
    if batch_size < 2:
        raise RunError(f"--batch-size {batch_size}: expected 2 or more, for batch "
                       "normalisation")
    data = run.load(images)
    held_out = Split(data.val.x[:1000], data.val.y[:1000])
    encoder, _ = trained_autoencoder(run, data, images)
    run.results.number("pretraining_images", len(data.train.x), "unlabelled images")

    # --- training: paired by subset and seed ------------------------------------------------
    start = functools.partial(fine_tune, encoder=encoder)
    learn = functools.partial(learn_unlabelled, encoder=encoder, unlabelled=data.train)
    variants = [(train, name, rounds, change) for train, group in (
        (train_from_random_weights, RANDOM), (start, STARTED))
        for name, change in group.items()]
    longer = [(train_from_random_weights, PLAIN_LONGER, unlabelled_rounds,
               {"augmented": True}),
              (start, TRANSFER_LONGER, unlabelled_rounds, {"augmented": True}),
              (learn, STRETCH, unlabelled_rounds, {})]
    models, history = {}, {}
    for kind, s in itertools.product(("sheet", "balanced"), range(seeds)):
        seed = run.seed + s
        few = subset(data, kind, 100, seed)
        for train, name, n, change in variants + (longer if kind == "sheet" else []):
            job = kind, name, s
            models[job], history[job] = train(
                run, f"{kind}, {name}, seed {s}", few, held_out, len(data.classes), seed, n,
                batch_size, learning_rate, **change)

    # --- the test set, read once -----------------------------------------------------------
    test = data.test()
    scores = {job: nats_and_accuracy(model, test) for job, model in models.items()}
    title = f"{data.title}, 100 labels"
    compare(run, scores, title, ROUND * rounds, ROUND * unlabelled_rounds)
    draw_curves(run, history, rounds, title)


def fine_tune(run, name, few, held_out, classes, seed, rounds, batch_size, learning_rate, *,
              encoder, still=0.0, encoder_rate=1.0, augmented=False):
    """Train a copy of the encoder and a new MLP on `few`; -> (classifier, history).

    still: for this share of the rounds the encoder is frozen. encoder_rate: its learning rate,
    in that of the MLP.
    """
    classifier = start_from(run, encoder, classes, seed)
    copy, mlp = classifier
    optimizer = torch.optim.AdamW(
        [{"params": copy.parameters(), "lr": encoder_rate * learning_rate},
         {"params": mlp.parameters()}],
        lr=learning_rate, betas=(0.9, 0.99), weight_decay=0.0, fused=True)
    schedule = one_cycle(optimizer, rounds * ROUND)
    for epoch in run.epochs(rounds, name, classifier=classifier, optimizer=optimizer,
                            schedule=schedule):
        with frozen(copy) if epoch <= still * rounds else contextlib.nullcontext(copy.train()):
            mlp.train()
            for x, y in itertools.islice(endless(few, batch_size, run.generator), ROUND):
                if augmented:
                    x = random_affine(x, run.generator, **AUGMENTED)
                loss = F.cross_entropy(classifier(x), y)
                optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
        run.log(**curve_point(classifier, few, held_out))
    return classifier, run.history


def learn_unlabelled(run, name, few, held_out, classes, seed, rounds, batch_size,
                     learning_rate, *, encoder, unlabelled, sure=0.95):
    """Labelled images changed at random, and unlabelled ones that the network is sure of."""
    classifier = start_from(run, encoder, classes, seed)
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=learning_rate,
                                  betas=(0.9, 0.99), weight_decay=0.0, fused=True)
    schedule = one_cycle(optimizer, rounds * ROUND)
    for epoch in run.epochs(rounds, name, classifier=classifier, optimizer=optimizer,
                            schedule=schedule):
        classifier.train()
        steps = zip(endless(few, batch_size, run.generator),
                    endless(unlabelled, 128, run.generator), strict=True)
        for (x, y), (u, _) in itertools.islice(steps, ROUND):
            with torch.no_grad():
                p, c = classifier(u).softmax(dim=1).max(dim=1)
            x, changed = (random_affine(v, run.generator, **AUGMENTED) for v in (x, u))
            logits = classifier(torch.cat([x, changed]))
            trusted = p > sure if epoch > 0.2 * rounds else torch.zeros_like(p)
            loss = F.cross_entropy(logits[:len(x)], y) + (
                trusted * F.cross_entropy(logits[len(x):], c, reduction="none")).mean()
            optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
        run.log(**curve_point(classifier, few, held_out))
    return classifier, run.history


def start_from(run, encoder, classes, seed):
    """Task 4's network of this seed, with the weights of a trained encoder in its encoder."""
    run.seed_everything(seed)
    classifier = build(run, classes).to(run.device)
    classifier[0].load_state_dict(encoder.state_dict())  # copies: the encoder itself stays
    return classifier


def compare(run, scores, title, steps, more_steps):
    """Mean and deviation over the seeds; gains over the variant that differs in one thing."""
    rows, mean, accuracy, ce = [], run.results.mean, {}, {}
    for (kind, name, _), (loss, share) in scores.items():
        accuracy.setdefault((kind, name), []).append(share)
        ce.setdefault((kind, name), []).append(loss)

    def told(kind, name):
        values = accuracy[kind, name]
        return (f"test accuracy {statistics.mean(values):.1%} +- {deviation(values):.1%}, "
                f"cross-entropy {statistics.mean(ce[kind, name]):.3f} nats")

    run.results.finding(
        f"{title}, the sheet's own: {PLAIN}, {told('sheet', PLAIN)}; task 1's encoder, "
        f"{TRANSFER}, {told('sheet', TRANSFER)}. All train for {steps} steps; "
        f"those called longer, and those with unlabelled images, for {more_steps}.")
    for (kind, name), values in accuracy.items():
        base = BASES.get(name, PLAIN)
        gains = [b - a for a, b in zip(accuracy[kind, base], values, strict=True)]
        gain, spread = statistics.mean(gains), deviation(gains)
        rows.append({"subset": kind, "encoder": name, "test accuracy": statistics.mean(values),
                     "std": deviation(values),
                     "test cross-entropy": statistics.mean(ce[kind, name]),
                     "paired with": base, "paired gain": gain, "std of the gain": spread})
        mean(f"test_accuracy_{slug(name)}_{kind}", values, FRACTION)
        mean(f"test_cross_entropy_{slug(name)}_{kind}", ce[kind, name], NATS)
        mean(f"paired_gain_{slug(name)}_{kind}", gains, FRACTION)
        if (kind, name) == ("sheet", TRANSFER):
            mean("paired_gain", gains, FRACTION)
        if name != PLAIN:
            run.results.finding(
                f"{title}, {kind} subset, {name}: {told(kind, name)}; paired "
                f"{100 * gain:+.1f} +- {100 * spread:.1f} points against {base}, better for "
                f"{sum(g > 0 for g in gains)} of {len(gains)} seeds.")
    for key, name in HEADLINES.items():
        mean(f"test_accuracy_{key}", accuracy["sheet", name], FRACTION)
        mean(f"test_cross_entropy_{key}", ce["sheet", name], NATS)
    run.results.table("transfer", rows, f"{title}: accuracy and cross-entropy, means over "
                      "seeds; the gain is paired by subset and seed")
    print(markdown(rows))


def draw_curves(run, history, rounds, title):
    """Over training time, the mean of the seeds, the sheet's own subset."""
    steps = [ROUND * (i + 1) for i in range(rounds)]
    end, first = {}, {}
    for metric, unit in (("loss", "mean cross-entropy, nats"),
                         ("accuracy", "accuracy, share of images")):
        lines = {}
        for (split, what), name in itertools.product(
                (("val", "held out"), ("train", "the 100")), (PLAIN, *STARTED)):
            runs = [h[f"{split}_{metric}"] for (kind, n, _), h in history.items()
                    if (kind, n) == ("sheet", name)]
            mean = [statistics.mean(at) for at in zip(*runs, strict=True)]
            if split == "val" or name in (PLAIN, TRANSFER):
                lines[f"{name}, {what}"] = (steps, mean)
            end[name, split, metric], first[name, split, metric] = mean[-1], mean[0]
        run.results.figure(metric, plot.curves(
            lines, f"{title} (the sheet's own): {metric}, mean of the seeds", "steps", unit,
            log_y=metric == "loss"))
    run.results.finding(
        f"Over training time, the sheet's own subset: after {steps[0]} steps "
        f"{first[PLAIN, 'val', 'accuracy']:.1%} of held-out images are told right from random "
        f"weights, {first[TRANSFER, 'val', 'accuracy']:.1%} with task 1's encoder frozen. At "
        f"the end they tell {end[PLAIN, 'train', 'accuracy']:.1%} and "
        f"{end[TRANSFER, 'train', 'accuracy']:.1%} of the 100 right, with a loss on held-out "
        f"images of {end[PLAIN, 'val', 'loss']:.3f} and {end[TRANSFER, 'val', 'loss']:.3f}.")


SIZES = {"quick": {"seeds": 1, "rounds": 2, "unlabelled_rounds": 2, "batch_size": 25,
                   "images": 1500},
         "full": {"seeds": 10, "rounds": 20, "unlabelled_rounds": 100}}

if __name__ == "__main__":
    cli.start(main, data="mnist", **SIZES)
