r"""Exercise 2, task 3: what is left of an image in the code of a classifier.

    z = classifier's encoder(x), frozen,   x_hat = decoder(z)
    minimise over the decoder alone   E_x 1/784 sum_p |x_hat_p - x_p|

    python assignments/ex2_classifier_decoding.py     under 5 minutes on 2 CPU cores

Task 2's encoder stands still, parameters and running statistics, which is checked bit by bit;
the decoder is task 1's, new, trained like there, in --full as well: for as long, on images
turned alike. Where outputs/ holds the runs of tasks 1 and 2 with the same settings they are
taken, else both are trained first.

The sheet's questions, in the findings: (a) what the two incentives leave in the codes, (b)
where the images of one class vary more, (c) where the classes lie further apart. Codes have no
common unit, so variances and distances are given in shares of a code's own total variance T,
and Fisher's ratio has none. Style (slant, thickness, ink) is measured on the pixels.
"""
# sheet: S3.3a, S3.3b, S3.3c

import _path  # noqa: F401
import torch
from ex2_classifier import trained as trained_classifier
from ex2_conv_ae import PIXEL, Decoder, error_of
from ex2_conv_ae import trained as trained_autoencoder
from torch import nn

from minidl import style
from minidl.augment import random_affine
from minidl.data import batches, steps_per_epoch, to_unit
from minidl.evaluation import evaluate, per_example
from minidl.frozen import frozen
from minidl.lab import cli, plot
from minidl.lab.results import markdown
from minidl.lab.run import RunError
from minidl.losses import l1
from minidl.representation import explained, linear_probe, spread
from minidl.schedules import one_cycle

STYLES = {"slant": style.slant, "thickness": style.thickness, "ink": style.ink}


def main(run,
         epochs: "passes over the training images; amount" = 10,
         batch_size: "images a step" = 128,
         learning_rate: "the highest of the one-cycle schedule" = 8e-3,
         augmented: "share of images turned and slanted, until the last fifth" = 0.0,
         images: "training images used, validation included; amount" = 60_000):
    if batch_size < 2:
        raise RunError(f"--batch-size {batch_size}: expected 2 or more, for batch "
                       "normalisation")
    data = run.load(images)
    encoder, decoder = trained_autoencoder(run, data, images)
    class_encoder, _ = trained_classifier(run, data, images)

    # --- the decoder learns, the classifier's encoder does not -------------------------------
    run.seed_everything(run.seed)
    class_decoder = like(decoder)
    with frozen(class_encoder):
        train(run, data, class_encoder, class_decoder, epochs, batch_size, learning_rate,
              augmented)
    run.results.finding("The classifier's encoder is bit-identical before and after the "
                        f"decoder's training, {len(class_encoder.state_dict())} tensors.")

    # --- the test set, read once -------------------------------------------------------------
    test = data.test()
    networks = {"autoencoder": nn.Sequential(encoder, decoder),
                "classifier": nn.Sequential(class_encoder, class_decoder)}
    codes, shown = {}, {}
    for name, network in networks.items():
        codes[name] = [per_example(lambda x, _, e=network[0]: e(x), split, network)
                       for split in (data.train, test)]
        shown[name] = per_example(lambda x, _, n=network: n(x), test, network)
    x = to_unit(test.x)
    errors = {name: l1(x_hat, x) for name, x_hat in shown.items()}
    title = f"{data.title}, d = {codes['classifier'][1].shape[1]}"
    compare_losses(run, data, test, errors, title)
    answer_a(run, data, test, codes, errors, title)
    spreads = tabulate_spreads(run, data, test, codes, {"input": x} | shown, title)
    answer_b_and_c(run, spreads, data.classes, title)
    draw_loss(run, errors, title)
    draw_digits(run, data, test, {"input": x} | shown, errors, title)


def like(decoder):
    """A new decoder of the same architecture, on the same device."""
    hidden, latent = decoder[0].weight.shape
    filters = decoder[-2].weight.shape[0]
    return Decoder(latent, filters, hidden).to(decoder[0].weight.device)


def train(run, data, encoder, decoder, epochs, batch_size, learning_rate, augmented):
    """Minimise the mean L1 error over the decoder; the encoder is frozen."""
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=learning_rate, betas=(0.9, 0.97),
                                  fused=True)
    schedule = one_cycle(optimizer, epochs * steps_per_epoch(data.train, batch_size))
    autoencoder = nn.Sequential(encoder, decoder)
    for epoch in run.epochs(epochs, "decoder of the classifier's code", encoder=encoder,
                            decoder=decoder, optimizer=optimizer, schedule=schedule):
        decoder.train()  # not the encoder: its batch statistics would move
        for x, _ in batches(data.train, batch_size, run.generator):
            if augmented and epoch <= 0.8 * epochs:  # as in task 1
                x = random_affine(x, run.generator, degrees=10, scale=0.1, shear=0.1,
                                  share=augmented)
            x_hat = decoder(encoder(x))
            loss = l1(x_hat, x).mean()
            optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
            run.track(len(x), train_l1=loss)
        run.log(val_l1=evaluate(error_of(autoencoder), data.val, autoencoder))


def compare_losses(run, data, test, errors, title):
    """Both errors, beside that of a code that tells the class and nothing else."""
    x, y = to_unit(test.x), test.y
    by_class = torch.stack([to_unit(data.train.x[data.train.y == c].median(dim=0).values)
                            for c in range(len(data.classes))])  # the best x_hat of a class
    class_only = l1(by_class[y], x)
    ae, classifier, only = (e.double().mean().item() for e in (
        errors["autoencoder"], errors["classifier"], class_only))
    lost = (classifier - ae) / (only - ae)
    number = run.results.number
    number("test_l1", classifier, PIXEL, n=len(y))
    number("autoencoder_test_l1", ae, PIXEL, n=len(y))
    number("class_median_test_l1", only, PIXEL, n=len(y))
    number("lost_on_the_way_to_the_class_median", lost, "fraction")
    run.results.finding(
        f"{title}: the same decoder has test L1 {classifier:.4f} from the classifier's code, "
        f"{classifier / ae:.2f} times the autoencoder's {ae:.4f}. A code that told the class "
        f"alone would allow {only:.4f}, each class's median image"
        + (f": {lost:.0%} of the way from the autoencoder to there is lost."
           if ae < min(classifier, only) else "."))
    worse = (errors["classifier"] > errors["autoencoder"]).double().mean().item()
    run.results.finding(f"The autoencoder is better for {worse:.1%} of the test images.")


def answer_a(run, data, test, codes, errors, title):
    """(a) What the incentives leave in the codes: class and style, read linearly."""
    rows, number = [], run.results.number
    x, test_x = to_unit(data.train.x), to_unit(test.x)
    styles = {s: (f(x), f(test_x)) for s, f in STYLES.items()}
    for name, (z, test_z) in codes.items():
        probe = linear_probe(z, data.train.y)
        accuracy = (probe(test_z).argmax(dim=1) == test.y).double().mean().item()
        told = {s: explained(z, t, data.train.y, test_z, test_t, test.y)
                for s, (t, test_t) in styles.items()}
        number(f"{name}_linear_accuracy", accuracy, "fraction", n=len(test.y))
        for s, share in told.items():
            number(f"{name}_R2_{s}", share, "share of the variance inside the classes")
        rows.append({"code of the": name, "linear accuracy": accuracy}
                    | {f"R^2 of {s}": share for s, share in told.items()})
    run.results.table("a_class_and_style", rows, "What a linear map reads from each code: the "
                      f"class, and the style inside the classes. {title}")
    print(markdown(rows))
    ae, classifier = rows
    keys = [f"R^2 of {s}" for s in STYLES]
    run.results.finding(
        f"(a) The class is read linearly from the autoencoder's code with "
        f"{ae['linear accuracy']:.2%}, from the classifier's with "
        f"{classifier['linear accuracy']:.2%}; of the style inside the classes a linear map "
        "tells " + ", ".join(f"{ae[k]:.0%} against {classifier[k]:.0%} of the {s}"
                             for k, s in zip(keys, STYLES, strict=True))
        + ". Cross-entropy pays for the class alone, reconstruction for all that moves ink.")
    unusual = torch.zeros(len(test.y), device=test.y.device)
    for _, s in styles.values():  # how far from the class's mean style, in deviations
        for c in test.y.unique():
            here = test.y == c
            unusual[here] += ((s[here] - s[here].mean()) / s[here].std().clamp(min=1e-6)) ** 2
    extra = errors["classifier"] - errors["autoencoder"]
    order = unusual.argsort()
    tenth = max(1, len(order) // 10)
    plain, odd = extra[order[:tenth]].mean().item(), extra[order[-tenth:]].mean().item()
    number("extra_l1_usual_style", plain, PIXEL, n=tenth)
    number("extra_l1_unusual_style", odd, PIXEL, n=tenth)
    run.results.finding(
        f"(a) The gap and the style: over the tenth of the test images nearest to their "
        f"class's mean style the classifier's code costs {plain:.4f} more than the "
        f"autoencoder's, over the tenth furthest from it {odd:.4f}.")


def tabulate_spreads(run, data, test, codes, pictures, title):
    """How the classes lie in each code and in its images; -> name -> Spread."""
    spaces = {f"{name}'s code": z for name, (_, z) in codes.items()} | {
        "input images" if name == "input" else f"{name}'s images": x
        for name, x in pictures.items()}
    spreads = {name: spread(z, test.y) for name, z in spaces.items()}
    rows, per_class = [], []
    for name, s in spreads.items():
        apart, within = pairs(s) / s.total**0.5, s.within / s.total
        rows.append({"space": name, "within / T": (1 / (1 + s.fisher)),
                     "mean distance / sqrt T": apart.mean().item(),
                     "least distance / sqrt T": apart.min().item(), "Fisher": s.fisher,
                     "T": s.total})
        key = name.replace("'s", "").replace(" ", "_")
        run.results.number(f"within_share_{key}", rows[-1]["within / T"], "share of T")
        run.results.number(f"class_distance_{key}", rows[-1]["mean distance / sqrt T"],
                           "square roots of T")
        run.results.number(f"fisher_{key}", s.fisher, "between / within")
        per_class.append({"space": name} | {str(data.classes[c]): w.item()
                                            for c, w in enumerate(within)})
    run.results.table("b_c_spread", rows, "Variance inside the classes, distance between "
                      f"them, Fisher's ratio; T: total variance. Test images, {title}")
    run.results.table("b_within_by_class", per_class,
                      f"Variance inside each class, in shares of T. Test images, {title}")
    print(markdown(rows))
    return spreads


def answer_b_and_c(run, spreads, classes, title):
    """(b) variability inside the classes, (c) distances between them: where, and why."""
    (code, class_code), (image, class_image) = (
        [spreads[f"{name}'s {kind}"] for name in ("autoencoder", "classifier")]
        for kind in ("code", "images"))
    x, C, finding = spreads["input images"], len(code.within), run.results.finding
    share, class_share = (1 / (1 + s.fisher) for s in (code, class_code))
    within, class_within, x_within = (s.within.mean() for s in (image, class_image, x))
    finding(
        f"(b) Inside the classes lies {share:.0%} of the autoencoder's code's variance, "
        f"{class_share:.0%} of the classifier's; the autoencoder's is higher for "
        f"{(code.within / code.total > class_code.within / class_code.total).sum()} of {C} "
        "classes. In the reconstructions, in the pixels' own unit, the mean variance inside a "
        f"class is {within:.2f} from the autoencoder against {class_within:.2f} from the "
        f"classifier's code (input {x_within:.2f}), higher for "
        f"{(image.within > class_image.within).sum()} of {C}.")
    read = {s: run.results.numbers[f"classifier_R2_{s}"]["value"] for s in STYLES}
    most = max(read, key=read.get)
    finding(
        "(b) Why: to be reconstructed, two images of a class must be told apart, to be "
        "classified they need not; and where a code does not tell them apart, the decoder's "
        "best answer in L1 is a median, which varies less. That the autoencoder's classes "
        f"vary more is {found(share > class_share, within > class_within)}. It does not show "
        f"that the classifier's code holds no style: of the {most} {read[most]:.0%} is read "
        "from it (a). Nor, without a common unit, which code varies more in itself.")
    apart, class_apart = ((pairs(s) / s.total**0.5).mean() for s in (code, class_code))
    drawn, class_drawn, x_drawn = (pairs(s).mean() for s in (image, class_image, x))
    finding(
        f"(c) The classes' means lie {class_apart:.2f} sqrt(T) apart in the classifier's "
        f"code, {apart:.2f} in the autoencoder's; Fisher's ratio is {class_code.fisher:.2f} "
        f"against {code.fisher:.2f}. In the reconstructions it is {class_image.fisher:.2f} "
        f"against {image.fisher:.2f} (input {x.fisher:.2f}), and in the pixels' own unit the "
        f"means lie {class_drawn:.2f} against {drawn:.2f} apart (input {x_drawn:.2f}).")
    finding(
        "(c) Why: an MLP can be the surer of a class the further its codes lie from the "
        "others'; a reconstruction asks for no more distance than the images have. That the "
        "classifier's classes lie further apart is "
        f"{found(class_apart > apart, class_drawn > drawn)}. Of a code this is no second "
        "measurement beside (b): W + B = T, the variance that is not inside the classes is "
        "between them. And each network was trained once.")
    run.results.figure("b_within", plot.bars(
        {name: [w / s.total for w in s.within.tolist()] for name, s in spreads.items()
         if name.endswith("code")}, classes, f"{title}: variance inside each class",
        "class", "share of the code's total variance"))


def pairs(s):
    """The distances between the classes' means of a Spread, each pair's once."""
    return s.distance[*torch.triu_indices(*s.distance.shape, 1)]


def found(codes, images):
    return (f"{'' if codes else 'not '}found in the codes and {'' if images else 'not '}found "
            "in the reconstructions")


def draw_loss(run, errors, title):
    epochs = range(1, len(run.history["val_l1"]) + 1)
    levels = {f"{name}, test": e.double().mean().item() for name, e in errors.items()}
    run.results.figure("loss", plot.curves(
        {"training, while it learns": (epochs, run.history["train_l1"]),
         "validation": (epochs, run.history["val_l1"])} | levels,
        f"{title}: L1 of the decoder of the classifier's code", "epoch", PIXEL, log_y=True))


def draw_digits(run, data, test, pictures, errors, title):
    """The first six test images of each class; and the 20 where the two errors differ most."""
    first = torch.cat([(test.y == c).nonzero()[:6, 0] for c in test.y.unique()])
    extra = errors["classifier"] - errors["autoencoder"]
    for name, what, index in (
            ("digits", "the first six test images of each class", first),
            ("differ_most", "the test images where the two L1 errors differ most",
             extra.abs().argsort(descending=True)[:20])):
        labels = [f"{data.classes[test.y[i]]}\n{extra[i]:+.3f}" for i in index]
        run.results.figure(name, plot.image_rows(
            {row: x[index] for row, x in pictures.items()},
            f"{title}: {what}\nbelow: class, L1 of the classifier's less the autoencoder's",
            labels))


SIZES = {"quick": {"epochs": 2, "images": 1500},
         "full": {"epochs": 60, "learning_rate": 5e-3, "augmented": 0.5}}  # as in task 1

if __name__ == "__main__":
    cli.start(main, data="mnist", **SIZES)
