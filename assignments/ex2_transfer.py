r"""Exercise 2, task 5: 100 labels, and an encoder pretrained on all images, without labels.

    python assignments/ex2_transfer.py            under 5 minutes on 2 CPU cores

"plain" is task 4: random weights. "transfer" starts from task 1's encoder and fine-tunes all
of it. The two are paired: the same 100 images, seeds, initial weights of the MLP, orders and
steps. Only the start of the encoder differs. All have the same learning rate. Both are also
trained on augmented images.

When does pretraining help? The autoencoder's code holds the shape of a digit in 12 dimensions.
There, images of one digit lie nearer to each other than as pixels, so the labels have less to
teach. But the decoder needs the position and the slant of a digit, so the code contains them,
too. Augmentation teaches that they do not matter for the class, from either start. Then the
pretrained encoder has less to add. ex2_transfer_study.py uses the unlabelled images once more.

    minimise  1/n sum_{i <= n} -log p(y_i | x_i),   n = 100,   p = softmax(MLP(encoder(x))),
    from task 1's encoder as initial guess instead of from random weights
"""
# sheet: S3.5

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
METHODS = ("plain", "transfer", "plain, augmented", "transfer, augmented")


def main(run,
         seeds: "trainings of each method; amount" = 5,
         rounds: "rounds of 30 steps in each training; amount" = 10,
         batch_size: "images per step; >= 2" = 50,
         learning_rate: "peak of the one-cycle schedule" = 3e-3,
         filters: "in the first convolution, as in task 1" = 16,
         hidden: "width of the fully connected layer, as in task 1; >= 0" = 256,
         images: "training images used, validation included; amount" = 60_000):
    data = run.load(images)
    few, held_out = data.head(), Split(*(part[:1000] for part in data.val))
    pretrained, _ = run.trained("ex2_conv_ae", "autoencoder", filters=filters, hidden=hidden,
                                images=images)
    nets, histories = ({method: [] for method in METHODS} for _ in range(2))
    for method in METHODS:
        for seed in run.seeded(seeds):
            encoder, mlp = Encoder(12, filters, hidden), MLP(C=len(data.classes))
            if "transfer" in method:    # the weights are copied: `pretrained` stays as it is
                encoder.load_state_dict(pretrained.state_dict())
            classifier = run.network(nn.Sequential(encoder, mlp))
            optimizer = torch.optim.AdamW(classifier.parameters(), learning_rate,
                                          betas=(0.9, 0.99), weight_decay=0, fused=True)
            schedule = one_cycle(optimizer, rounds * ROUND)
            for _ in run.epochs(rounds, f"{method}, seed {seed}", classifier=classifier,
                                optimizer=optimizer, schedule=schedule):
                for x, y in steps(few, batch_size, run.generator, ROUND):
                    if "augmented" in method:
                        x = random_affine(x, run.noise, degrees=15, scale=0.15,
                                          shear=0.2, shift=0.07)
                    loss = F.cross_entropy(classifier(x), y)    # 1/n sum -log p(y_i | x_i)
                    optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
                for name, split in (("train", few), ("val", held_out)):
                    ce, accuracy = nats_and_accuracy(classifier, split)
                    run.log(**{f"{name}_loss": ce, f"{name}_accuracy": accuracy})
            nets[method].append(classifier)
            histories[method].append(run.history)

    # --- the test set, read once -------------------------------------------------------------
    test = data.test()
    pairs = {m: [nats_and_accuracy(net, test) for net in nets[m]] for m in METHODS}
    ce, accuracy = ({m: [pair[i] for pair in pairs[m]] for m in METHODS} for i in (0, 1))
    val = {m: [history["val_accuracy"][-1] for history in histories[m]] for m in METHODS}
    run.scores("fraction", test_accuracy=accuracy, val_accuracy=val)
    run.scores("rank on validation, 1 is the best", table="rank", rank={
        m: 1 + sum(sum(val[other]) > sum(val[m]) for other in METHODS) for m in METHODS})
    run.scores("nats, mean cross-entropy", table="cross_entropy", test_cross_entropy=ce)
    gain, gain_augmented = (
        [b - a for a, b in zip(accuracy[plain], accuracy[transfer], strict=True)]
        for plain, transfer in (METHODS[:2], METHODS[2:]))
    run.scores("fraction", table="gain", paired_gain=gain,
               paired_gain_augmented=gain_augmented)

    mean = {method: averaged(histories[method]) for method in METHODS}
    for metric, unit in (("loss", "mean cross-entropy, nats"), ("accuracy", "accuracy")):
        run.curves(metric, f"{metric} with 100 labels, mean of the seeds", unit,
                   x=f"rounds of {ROUND} steps", log_y=metric == "loss", **{
                       f"{method}, {words}": mean[method][f"{part}_{metric}"]
                       for part, words in (("train", "training"), ("val", "held out"))
                       for method in METHODS if part == "val" or method in METHODS[:2]})
    run.claim("From task 1's encoder, the test accuracy is higher than from random weights.",
              paired(accuracy["transfer"], accuracy["plain"]))
    run.claim("Augmentation raises the test accuracy more than the pretrained encoder does.",
              paired(accuracy["plain, augmented"], accuracy["transfer"]))
    run.claim("With augmentation, the pretrained encoder is harmful: random weights give a "
              "higher test accuracy.",
              paired(accuracy["plain, augmented"], accuracy["transfer, augmented"]))


SIZES = {"quick": {"seeds": 1, "rounds": 2, "batch_size": 25, "images": 1500},
         "full": {"seeds": 10, "rounds": 20, "filters": 32, "hidden": 1024}}

if __name__ == "__main__":
    cli.start(main, data="mnist", **SIZES)
