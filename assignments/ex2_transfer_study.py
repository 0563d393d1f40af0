r"""Exercise 2, task 5, a study: what do the unlabelled images add, used a second time?

    python assignments/ex2_transfer_study.py            under 5 minutes on 2 CPU cores

Task 1's encoder was trained on all images without labels. Here they are used once more, while
it is fine-tuned on the 100. Where the network is confident about an image u, it should predict
the same class for the augmented image u' (FixMatch, Sohn et al. 2020). The labels of these
images are never used. In the first fifth of the rounds, no prediction is trusted yet. The
baseline is an equally long training on the 100 alone, with the same augmentation.

    minimise  1/n sum_{i <= n} -log p(y_i | x'_i)                                 the 100
            + 1/m sum_{j <= m} [max_c p(c | u_j) > tau] -log p(c_j | u'_j)        the others
    c_j = argmax_c p(c | u_j),   x', u': randomly augmented images,   tau = 0.95
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
WITHOUT, WITH = "augmented, longer", "augmented, unlabelled images"


def main(run,
         seeds: "trainings of each method; amount" = 5,
         rounds: "rounds of 30 steps in each training; amount" = 16,
         batch_size: "labelled images per step; >= 2" = 50,
         learning_rate: "peak of the one-cycle schedule" = 3e-3,
         filters: "in the first convolution, as in task 1" = 16,
         hidden: "width of the fully connected layer, as in task 1; >= 0" = 256,
         images: "training images used, validation included; amount" = 60_000):
    data = run.load(images)
    few, held_out = data.head(), Split(*(part[:1000] for part in data.val))
    pretrained, _ = run.trained("ex2_conv_ae", "autoencoder", filters=filters, hidden=hidden,
                                images=images)
    nets, histories = ({WITHOUT: [], WITH: []} for _ in range(2))
    for method in nets:
        for seed in run.seeded(seeds):
            encoder, mlp = Encoder(12, filters, hidden), MLP(C=len(data.classes))
            encoder.load_state_dict(pretrained.state_dict())
            classifier = run.network(nn.Sequential(encoder, mlp))
            optimizer = torch.optim.AdamW(classifier.parameters(), learning_rate,
                                          betas=(0.9, 0.99), weight_decay=0, fused=True)
            schedule = one_cycle(optimizer, rounds * ROUND)
            for epoch in run.epochs(rounds, f"{method}, seed {seed}", classifier=classifier,
                                    optimizer=optimizer, schedule=schedule):
                tau = 0.95 if epoch > 0.2 * rounds else 1.0
                others = steps(data.train, 128, run.generator, ROUND)   # drawn when asked for
                for x, y in steps(few, batch_size, run.generator, ROUND):
                    if method == WITHOUT:
                        loss = F.cross_entropy(classifier(changed(x, run.noise)), y)
                    else:
                        loss = with_unlabelled(run, classifier, x, y, next(others)[0], tau)
                    optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
                run.log(val_accuracy=nats_and_accuracy(classifier, held_out)[1])
            nets[method].append(classifier)
            histories[method].append(run.history)

    # --- the test set, read once -------------------------------------------------------------
    test = data.test()
    accuracy = {m: [nats_and_accuracy(net, test)[1] for net in nets[m]] for m in nets}
    run.scores("fraction", test_accuracy=accuracy)
    run.scores("fraction", table="unlabelled", test_accuracy_stretch=accuracy[WITH],
               paired_gain=[b - a for a, b in zip(accuracy[WITHOUT], accuracy[WITH],
                                                  strict=True)])
    mean = {method: averaged(histories[method]) for method in nets}
    run.curves("accuracy", "held-out images with 100 labels, mean of the seeds",
               "fraction of images", x=f"rounds of {ROUND} steps",
               **{f"{method}, accuracy": mean[method]["val_accuracy"] for method in nets},
               unlabelled_images_that_are_trusted=mean[WITH]["trusted"])
    run.claim("The unlabelled images raise the test accuracy.",
              paired(accuracy[WITH], accuracy[WITHOUT]))
    run.claim("The unlabelled images remove more than half of the errors.", paired(
        [(1 - a) / 2 for a in accuracy[WITHOUT]], [1 - a for a in accuracy[WITH]]))


def with_unlabelled(run, classifier, x, y, u, tau):
    """The two terms of the loss, for a batch x, y of the 100 and unlabelled images u."""
    with torch.no_grad():
        p, c = classifier(u).softmax(dim=1).max(dim=1)
    x, u = (changed(images, run.noise) for images in (x, u))
    logits, logits_u = classifier(torch.cat([x, u])).split([len(x), len(u)])
    trusted = p > tau
    run.track(len(u), trusted=trusted.float().mean())
    return F.cross_entropy(logits, y) + (
        trusted * F.cross_entropy(logits_u, c, reduction="none")).mean()


def changed(x, generator):
    return random_affine(x, generator, degrees=15, scale=0.15, shear=0.2, shift=0.07)


SIZES = {"quick": {"seeds": 1, "rounds": 2, "batch_size": 25, "images": 1500},
         "full": {"seeds": 10, "rounds": 100, "filters": 32, "hidden": 1024}}

if __name__ == "__main__":
    cli.start(main, data="mnist", **SIZES)
