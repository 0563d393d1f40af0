r"""Homework 2: does a pretrained encoder make a classifier more accurate, or train faster?

    minimise  E -log p(y | x),   p = softmax(MLP(encoder(x))),   over encoder and MLP,
    from hw2_conv_ae.py's encoder, trained without labels, or from random weights

    python assignments/hw2_fine_tuning.py     under 5 minutes on 2 CPU cores, after hw2_conv_ae

The encoder is trained with the autoencoder's weights or random ones. The third network, of
about the same size, is homework 1's CNN. All see the same images in the same order. Each is
trained with all labels and with 1%, at the best of three rates on validation. "At an edge" in
their table says that another rate may be better. Learning speed: the steps until 85% of 1,000
validation images are classified correctly, checked every 20 steps; no row if a training never
reached it. Homework 1 itself trains its CNN for longer.
"""
# sheet: S0.3

import itertools
import math

import _path  # noqa: F401
import torch
import torch.nn.functional as F
from ex2_classifier import MLP
from hw1_classification import CNN
from torch import nn

from minidl import tune
from minidl.data import Split, balanced, steps
from minidl.evaluation import nats_and_accuracy
from minidl.features import with_new_weights
from minidl.lab import averaged, cli, infer, layers, paired
from minidl.schedules import one_cycle

SCRATCH, PRETRAINED, HOMEWORK_1 = "random weights", "autoencoder's weights", "homework 1's CNN"
USUAL = (1e-2, 3e-3, 3e-2)  # rates: the middle one first
RATES = {"few": {SCRATCH: (1e-1, 3e-2, 3e-1), PRETRAINED: (3e-3, 1e-3, 1e-2),
                 HOMEWORK_1: USUAL},
         "all": {SCRATCH: (3e-3, 1e-3, 1e-2), PRETRAINED: USUAL, HOMEWORK_1: USUAL}}
EVERY = 20  # steps between two evaluations on validation images


def cnn_of_size(n, C):
    """Homework 1's CNN, with as many filters as n parameters allow."""
    return CNN(next(f for f in itertools.count(1)
                    if layers.parameter_count(CNN(f + 1, C)) > n), C)


def train(run, name, net, known, held_out, rate):
    """Minimise the cross-entropy on `known`; accuracy on `held_out` after every few steps."""
    rounds = run.settings["rounds" if name.startswith("few") else "all_rounds"]
    optimizer = torch.optim.AdamW(net.parameters(), rate, betas=(0.9, 0.99), fused=True)
    schedule = one_cycle(optimizer, rounds * EVERY)
    for _ in run.epochs(rounds, name, every=rounds, net=net, optimizer=optimizer,
                        schedule=schedule):
        for x, y in steps(known, run.settings["batch_size"], run.generator, EVERY):
            loss = F.cross_entropy(net(x), y)
            optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
        if held_out:
            run.log(val_accuracy=nats_and_accuracy(net, held_out)[1])


def steps_to_85(history):
    """Steps until the validation accuracy is first 85% or more; nan if it never is."""
    enough = [accuracy >= 0.85 for accuracy in history["val_accuracy"]]
    return EVERY * (enough.index(True) + 1) if any(enough) else math.nan


def main(run,
         seeds: "trainings of each network, with 1% of the labels; amount" = 4,
         all_seeds: "trainings of each network, with all labels; amount" = 3,
         rounds: "rounds of 20 steps, with 1% of the labels; amount" = 10,
         all_rounds: "rounds of 20 steps, with all labels; amount" = 22,
         batch_size: "images per step; >= 2" = 128,
         rates: "learning rates tried for each network and number of labels; amount" = 3,
         images: "training images used, validation included; amount" = 60_000):
    data = run.load(images)
    C, looked_at = len(data.classes), Split(*(part[:1000] for part in data.val))
    encoder, _ = run.trained("hw2_conv_ae", "convolutional", images=images)
    result = run.trained("hw1_classification", "CNN", images=images)

    def learn(labels, name, seed, rate, held_out=None):
        """Train a new network; the same seed gives the same labels in the same order."""
        known = data.train if labels == "all" else balanced(
            data.train, C, C * max(1, round(0.01 * len(data.train.y) / C)), seed)
        run.seed_everything(seed)
        if name == HOMEWORK_1:
            net = cnn_of_size(layers.parameter_count(encoder), C)
        else:
            net = nn.Sequential(with_new_weights(encoder), MLP(16, C=C))
            if name == PRETRAINED:      # the weights are copied: `encoder` stays as it is
                net[0].load_state_dict(encoder.state_dict())
        job = f"{labels} labels, {name}, rate {rate:g}, seed {seed}"
        train(run, job, run.network(net, bits=16), known, held_out, rate)
        return net

    # --- each network's rate, chosen on validation; then a training for every seed -----------
    chosen, nets, speed = [], {}, {}
    for labels, trainings in (("few", seeds), ("all", all_seeds)):
        lines = {}
        for name, grid in RATES[labels].items():
            val = {rate: nats_and_accuracy(learn(labels, name, run.seed + 1000, rate),
                                           data.val)[1] for rate in sorted(grid[:rates])}
            best, job, histories = max(val, key=val.get), f"{labels} {name}", []
            chosen.append({"labels and network": job} | tune.chosen(val, best))
            nets[job] = []
            for seed in range(run.seed, run.seed + trainings):
                nets[job].append(learn(labels, name, seed, best, looked_at))
                histories.append(run.history)
            lines[name], speed[job] = averaged(histories), list(map(steps_to_85, histories))
        run.curves(f"speed_{labels}", f"{labels} labels, mean of the seeds",
                   "accuracy, validation images", x=f"evaluations, one per {EVERY} steps",
                   **{name: line["val_accuracy"] for name, line in lines.items()})
    run.table("rates", chosen, "Learning rates, chosen on validation")
    run.scores(f"steps, counted in {EVERY}s", table="speed", steps={
        job: EVERY * (all_rounds if job.startswith("all") else rounds) for job in speed},
        steps_to_85={job: n for job, n in speed.items() if math.isfinite(sum(n))})

    # --- the test set, read once -------------------------------------------------------------
    test = data.test()
    accuracy = {job: [nats_and_accuracy(net, test)[1] for net in nets[job]] for job in nets}
    run.scores("fraction", test_accuracy=accuracy | {
        "all homework 1's result": infer(result, test.x).argmax(dim=1) == test.y})
    for labels in ("few", "all"):
        scratch, ours, theirs = (accuracy[f"{labels} {name}"] for name in RATES[labels])
        run.claim(f"With {labels} labels, the encoder is more accurate from the autoencoder's "
                  "weights than from random weights.", paired(ours, scratch))
        run.claim(f"With {labels} labels, homework 1's CNN of the same size is more accurate "
                  "than either encoder.", paired(theirs, max(ours, scratch, key=sum)))
    slow, fast, theirs = (speed[f"all {name}"] for name in RATES["all"])
    for steps_of, words in ((slow, "from random ones"), (theirs, "with homework 1's CNN")):
        run.claim("With all labels, 85% takes fewer steps from the autoencoder's weights than "
                  f"{words}.", paired(steps_of, fast))


SIZES = {"quick": {"seeds": 1, "all_seeds": 1, "rounds": 1, "all_rounds": 1, "rates": 1,
                   "images": 1500},
         "full": {"seeds": 10, "all_seeds": 3, "rounds": 40, "all_rounds": 100}}

if __name__ == "__main__":
    cli.start(main, data="fashion-mnist", **SIZES)
