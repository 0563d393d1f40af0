r"""Exercise 2, task 4: only 100 training images have a label.

    python assignments/ex2_few_labels.py            about 1 minute on 2 CPU cores

The network is task 2's. It has thousands of parameters for each label, so it can memorise the
100 images: their loss goes to 0. The loss of held-out images stops falling after a few dozen
steps. This is over-fitting. The held-out accuracy does not fall, so it alone would not show
it. The 100 are the sheet's: the first of the training file (`torch.arange(100)`), 5 images of
one class, 14 of another. A seed changes the weights and the order.

The remedy here is augmentation: each time an image is shown, it is rotated, scaled, sheared
and shifted a little. The network never sees the same image twice, and it learns which changes
do not alter the class. ex2_few_labels_study.py measures how many labels that is worth.

    minimise  1/n sum_{i <= n} -log p(y_i | x_i),   n = 100,   p = softmax(MLP(encoder(x)))
"""
# sheet: S3.4

import _path  # noqa: F401
import torch
import torch.nn.functional as F
from ex2_classifier import MLP
from ex2_conv_ae import Encoder
from torch import nn

from minidl.augment import random_affine
from minidl.data import Split, steps
from minidl.evaluation import nats_and_accuracy
from minidl.lab import averaged, cli, paired
from minidl.schedules import one_cycle

ROUND = 30  # steps between two points of a curve


def main(run,
         seeds: "trainings of each kind; amount" = 5,
         rounds: "rounds of 30 steps in each training; amount" = 10,
         batch_size: "images per step; >= 2" = 50,
         learning_rate: "peak of the one-cycle schedule" = 3e-3,
         filters: "in the first convolution, as in task 1" = 16,
         hidden: "width of the fully connected layer, as in task 1; >= 0" = 256,
         images: "training images used, validation included; amount" = 60_000):
    data = run.load(images)
    few, held_out = data.head(), Split(*(part[:1000] for part in data.val))
    kinds = ("plain", "augmentation")
    nets, histories = ({kind: [] for kind in kinds} for _ in range(2))
    for kind in kinds:
        for seed in run.seeded(seeds):
            classifier = run.network(nn.Sequential(Encoder(12, filters, hidden),
                                                   MLP(C=len(data.classes))))
            optimizer = torch.optim.AdamW(classifier.parameters(), learning_rate,
                                          betas=(0.9, 0.99), weight_decay=0, fused=True)
            schedule = one_cycle(optimizer, rounds * ROUND)
            for _ in run.epochs(rounds, f"{kind}, seed {seed}", classifier=classifier,
                                optimizer=optimizer, schedule=schedule):
                for x, y in steps(few, batch_size, run.generator, ROUND):
                    if kind == "augmentation":
                        x = random_affine(x, run.noise, degrees=15, scale=0.15,
                                          shear=0.2, shift=0.07)
                    loss = F.cross_entropy(classifier(x), y)    # 1/n sum -log p(y_i | x_i)
                    optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
                for name, split in (("train", few), ("val", held_out)):
                    ce, accuracy = nats_and_accuracy(classifier, split)
                    run.log(**{f"{name}_loss": ce, f"{name}_accuracy": accuracy})
            nets[kind].append(classifier)
            histories[kind].append(run.history)

    # --- the test set, read once -------------------------------------------------------------
    test = data.test()
    pairs = {kind: [nats_and_accuracy(net, test) for net in nets[kind]] for kind in kinds}
    ce, accuracy = ({k: [pair[i] for pair in pairs[k]] for k in kinds} for i in (0, 1))
    run.scores("fraction", test_accuracy={"plain": accuracy["plain"],
                                          "best": accuracy["augmentation"]})
    run.scores("nats, mean cross-entropy", table="cross_entropy", test_cross_entropy=ce)

    mean = {kind: averaged(histories[kind]) for kind in kinds}
    for metric, unit in (("loss", "mean cross-entropy, nats"), ("accuracy", "accuracy")):
        run.curves(metric, f"{metric} with 100 labels, mean of the seeds", unit,
                   x=f"rounds of {ROUND} steps", log_y=metric == "loss", **{
                       f"{kind}, {words}": mean[kind][f"{part}_{metric}"]
                       for kind in kinds
                       for part, words in (("train", "training"), ("val", "held out"))})
    end = {(kind, key): [history[key][-1] for history in histories[kind]]
           for kind in kinds for key in mean[kind]}
    gap = {kind: [a - b for a, b in zip(end[kind, "train_accuracy"], end[kind, "val_accuracy"],
                                        strict=True)] for kind in kinds}
    run.scores("fraction, training minus held-out images", table="overfitting",
               overfitting_gap={"plain": gap["plain"], "best": gap["augmentation"]})
    run.claim("Over-fitting: the final accuracy is higher on the 100 than on held-out images.",
              paired(end["plain", "train_accuracy"], end["plain", "val_accuracy"]))
    run.claim("The final loss on held-out images is more than ten times that on the 100.",
              min(end["plain", "val_loss"]) > 10 * max(end["plain", "train_loss"]),
              the_100=mean["plain"]["train_loss"][-1], held_out=mean["plain"]["val_loss"][-1])
    run.claim("Augmentation reduces the gap between training and held-out accuracy.",
              paired(gap["plain"], gap["augmentation"]))
    run.claim("Augmentation raises the test accuracy.",
              paired(accuracy["augmentation"], accuracy["plain"]))


SIZES = {"quick": {"seeds": 1, "rounds": 2, "images": 3000},
         "full": {"seeds": 10, "rounds": 30, "filters": 32, "hidden": 1024}}

if __name__ == "__main__":
    cli.start(main, data="mnist", **SIZES)
