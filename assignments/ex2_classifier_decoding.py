r"""Exercise 2, task 3: how much of a digit is left in the code of a classifier?

    python assignments/ex2_classifier_decoding.py     under 5 minutes once tasks 1, 2 have run

The decoder is trained as in task 1. Only the encoders differ: in their loss, and because task
2's saw augmented images. For comparison: from the class alone, the best image is its median.

(a) Cross-entropy rewards the class alone. The L1 error counts every pixel: the code must
contain how a digit is written. The class matters only where it changes pixels. A linear
classifier measures how much of the class is in each code.
(b) To be reconstructed, two images of a class need two codes; to be classified they do not. If
several images share a code, the best decoding in L1 is their median, which varies less.
(c) The MLP is more certain the further a code lies from those of other classes. A
reconstruction needs no more distance than the images have.

A code has no unit: its within-class variances W_c are compared with its total variance T, its
distances with sqrt T. T is the within-class plus the between-class variance, so for a code (b)
and (c) say the same. Reconstructions have the unit of a pixel and show each separately.

    z = encoder(x), of task 2 and fixed,   x_hat = decoder(z), new, with task 1's layers
    minimise over the decoder alone   E_x 1/784 sum_p |x_hat_p - x_p|
"""
# sheet: S3.3a, S3.3b, S3.3c

import copy

import _path  # noqa: F401
import torch
from torch import nn

from minidl import augment, schedules
from minidl.data import batches, first_of_each_class, steps_per_epoch, to_unit
from minidl.frozen import frozen
from minidl.lab import cli, infer, paired
from minidl.losses import l1
from minidl.representation import linear_probe, spread


def main(run,
         epochs: "passes over the training images; amount" = 10,
         batch_size: "images per step; >= 2" = 128,
         learning_rate: "peak of the one-cycle schedule" = 8e-3,
         augmented: "share of augmented images, in the first 80% of epochs; 0 to 1" = 0.0,
         images: "training images used, validation included; amount" = 60_000):
    data = run.load(images)
    autoencoder = run.trained("ex2_conv_ae", "autoencoder", images=images)
    encoder, _ = run.trained("ex2_classifier", "classifier", images=images)
    run.seed_everything(run.seed)
    decoder = copy.deepcopy(autoencoder[1])             # task 1's layers ...
    for layer in decoder:
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()                    # ... with new random weights
    decoding, val_x = nn.Sequential(encoder, decoder), to_unit(data.val.x)

    optimizer = torch.optim.AdamW(decoder.parameters(), learning_rate, betas=(0.9, 0.97),
                                  fused=True)
    schedule = schedules.one_cycle(optimizer, epochs * steps_per_epoch(data.train, batch_size))
    with frozen(encoder):       # with its running statistics; an error where one changes
        for epoch in run.epochs(epochs, "decoder of the classifier's code", encoder=encoder,
                                decoder=decoder, optimizer=optimizer, schedule=schedule):
            for x, _ in batches(data.train, batch_size, run.generator):
                if augmented and epoch <= 0.8 * epochs:
                    x = augment.random_affine(x, run.noise, degrees=10, scale=0.1,
                                              shear=0.1, share=augmented)
                loss = l1(decoding(x), x).mean()        # |x_hat - x|, over pixels and images
                optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
                run.track(len(x), train_l1=loss)
            run.log(val_l1=l1(infer(decoding, val_x), val_x))

    # --- the test set, read once and last: both losses, and that of the class alone ----------
    test, nets = data.test(), {"autoencoder": autoencoder, "classifier": decoding}
    x, y = to_unit(test.x), test.y
    x_hat = {name: infer(net, x) for name, net in nets.items()}
    error = {name: l1(x_hat[name], x) for name in nets}
    medians = torch.stack([data.train.x[data.train.y == c].median(dim=0).values
                           for c in range(len(data.classes))])
    run.scores("mean |x - x_hat| per pixel", test_l1=error["classifier"],
               autoencoder_test_l1=error["autoencoder"],
               class_median_test_l1=l1(to_unit(medians)[y], x))
    run.curves("loss", "loss history, decoder of the classifier's code",
               "mean |x - x_hat| per pixel", log_y=True)
    six = first_of_each_class(y, 6)
    run.pictures("digits", "six test images of each class, and their reconstructions",
                 x=x[six], **{name: images[six] for name, images in x_hat.items()})
    run.claim("Decoding the classifier's code gives a larger error than the autoencoder's.",
              paired(error["classifier"], error["autoencoder"]))

    z = {name: infer(net[0], x) for name, net in nets.items()}
    probes = {name: linear_probe(infer(net[0], data.train.x), data.train.y)
              for name, net in nets.items()}
    right = {name: (probes[name](z[name]).argmax(dim=1) == y).cpu().double()
             for name in nets}
    run.scores("fraction", table="a_class",
               **{f"{name}_linear_accuracy": values for name, values in right.items()})
    run.claim("(a) A linear classifier is more accurate on the classifier's code than on the "
              "autoencoder's.", paired(right["classifier"], right["autoencoder"]))
    answer_b_and_c(run, data.classes, y, z, x_hat | {"input": x})


def answer_b_and_c(run, classes, y, codes, images):
    """The variance inside the classes and the distance between them, in codes and images."""
    codes, images = ({name: spread(values, y) for name, values in space.items()}
                     for space in (codes, images))
    spaces = ({f"{name} code": s for name, s in codes.items()}
              | {f"{name} images": s for name, s in images.items()})
    run.scores("share of T", table="b_within",
               within_share={name: 1 / (1 + s.fisher) for name, s in spaces.items()})
    run.scores("square roots of T", table="c_distance", class_distance={
        name: (s.pairs / s.total**0.5).mean().item() for name, s in spaces.items()})
    run.bars("b_within", "variance of the codes", "in a class / of all codes", classes,
             **{name: s.within / s.total for name, s in codes.items()})
    within = {name: s.within.mean() for name, s in images.items()}
    apart = {name: s.pairs.mean() for name, s in images.items()}
    in_codes = codes["autoencoder"].fisher < codes["classifier"].fisher  # F = B/W, W+B = T
    run.claim("(b) Within a class, the autoencoder's codes and reconstructions vary more.",
              in_codes and within["autoencoder"] > within["classifier"], **within)
    run.claim("(c) Classes lie further apart in the classifier's codes and reconstructions.",
              in_codes and apart["classifier"] > apart["autoencoder"], **apart)


SIZES = {"quick": {"epochs": 2, "images": 1500},
         "full": {"epochs": 60, "learning_rate": 5e-3, "augmented": 0.5}}  # as in task 1

if __name__ == "__main__":
    cli.start(main, data="mnist", **SIZES)
