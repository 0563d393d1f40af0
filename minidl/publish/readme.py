"""The README's table: exercise, script, theory, figure, and the number that was found.

    python assignments/run_all.py --ledger        writes it anew from results/*.json

No number in it is typed: sheets.HEADLINES names those that a script is known by, and they are
taken from its kept result and formatted here, by their unit. Checked in tests/test_readme.py.
"""

import json
from pathlib import Path
from typing import NamedTuple

from minidl.files import whole_file
from minidl.publish.sheets import HEADLINES

BEGIN, END = "<!-- ledger: python assignments/run_all.py --ledger -->", "<!-- /ledger -->"
FORMS = {  # the beginning of a unit -> how a number is told, and what stands after it
    "fraction": (".2%", ""), "nats": (".2f", " nats"), "mean (": (".5f", ""),
    "mean |": (".4f", ""), "dB": ("+.2f", " dB"), "squared Frechet": (".1f", ""),
    "classes": (".0f", ""), "layers": (".0f", ""), "steps": (".0f", ""), "": (".3g", "")}


class Row(NamedTuple):
    exercise: str   # "" where it is the one above
    script: str     # "" where the answer is theory alone
    figure: str     # the one to look at first
    theory: str     # the proofs that belong to it, theory/test_<name>.py
    words: str      # what the script shows, without a number that it finds


ROWS = [
    Row("exercise 2, task 1", "ex2_conv_ae", "digits", "shapes",
        "a convolutional autoencoder of MNIST, d = 12"),
    Row("", "ex2_conv_ae_study", "collapse", "losses",
        "bottleneck, filters, strides, layers, nonlinearity, d; the L1 collapse"),
    Row("task 2", "ex2_classifier", "hardest", "losses",
        "the same encoder and an MLP: curves, the hardest images"),
    Row("task 3", "ex2_classifier_decoding", "digits", "",
        "the classifier's code decoded: what it keeps of class and style"),
    Row("task 4", "ex2_few_labels", "accuracy", "training",
        "100 labels: over-fitting, and augmentation against it"),
    Row("", "ex2_few_labels_study", "labels", "training",
        "other remedies for over-fitting; accuracy against the number of labels"),
    Row("task 5", "ex2_transfer", "accuracy", "",
        "100 labels from task 1's encoder, paired with task 4"),
    Row("", "ex2_transfer_study", "accuracy", "",
        "a frozen encoder; the unlabelled images used a second time"),
    Row("theory 1", "", "", "lti convolution_algebra", "a convolution is time invariant"),
    Row("theory 2", "", "", "time_invariance time_invariance_of_layers",
        "which layers of a CNN are time invariant, and is the CNN"),
    Row("theory 3", "", "", "jacobian_fc jacobian_conv conv_backward",
        "the Jacobians of a bias, a matrix product, a convolution"),
    Row("homework 1, regression", "hw1_regression", "fit", "losses",
        "an unknown function, its known noise floor, a cross-validated search"),
    Row("classification", "hw1_classification", "errors_by_class", "losses",
        "an MLP and a CNN of Fashion-MNIST; the default size cross-validates"),
    Row("optimizers", "hw1_optimizers", "classification_optimizer", "training",
        "initialisations, optimizers, schedules, regularisation, both tasks; L1 and sparsity"),
    Row("tuning", "hw1_tuning", "trials_Fashion_MNIST", "",
        "grid, random search, untuned settings; over several processes by `torchrun`"),
    Row("features", "hw1_features", "activation_maximisation", "shapes",
        "weights, activations, receptive fields, pictures that excite a unit"),
    Row("homework 2, autoencoder", "hw2_conv_ae", "reconstructions", "linear_autoencoder",
        "convolutional and fully connected, d = 16, beside PCA"),
    Row("", "hw2_conv_ae_study", "test_mse", "training",
        "optimizers; weight decay, dropout, sparse, contractive, noise: error and code"),
    Row("tuning", "hw2_tuning", "trials", "",
        "random search and successive halving at one budget, cross-validated"),
    Row("denoising", "hw2_denoising", "images_Gaussian", "",
        "three kinds of noise, also unseen, beside a median filter, PCA and a linear map"),
    Row("fine-tuning", "hw2_fine_tuning", "speed_few", "",
        "the encoder on labels: accuracy and learning speed, all labels and 1%"),
    Row("latent space", "hw2_latent_space", "codes_t_SNE_2_D", "linear_autoencoder",
        "PCA, t-SNE, lines, new images and why they are not good"),
    Row("VAE", "hw2_vae", "plane", "vae gaussian_kl",
        "the ELBO's two terms, latents in use, samples, the plane of two latents"),
    Row("", "hw2_vae_study", "trade", "vae",
        "what beta trades; posterior collapse, and what repairs it"),
    Row("a report's VAE", "hw2_report_vae", "samples", "vae",
        "its exact network trained anew, samples over the epochs, denoising, PCA"),
    Row("", "hw2_report_vae_search", "searches", "",
        "its genetic search beside random search; what becomes of the settings it names"),
    Row("SimCLR", "hw2_simclr", "views", "gan_simclr",
        "features without labels, on a ladder of frozen linear probes"),
    Row("", "hw2_simclr_study", "augmentations", "gan_simclr", "which augmentation matters"),
    Row("GAN", "hw2_gan", "samples_over_time", "gan_simclr",
        "two players, which classes appear, a distance from real images over time"),
    Row("", "hw2_gan_study", "gradient", "gan_simclr",
        "the generator's two losses, and a discriminator that is ahead"),
    Row("assignment 8, embedding", "asst8_fc_ae", "reconstructions", "losses",
        "the simplest script, to begin with: 784-100-30-100-784 with SELU, beside PCA"),
    Row("", "asst8_fc_ae_study", "loss", "losses",
        "SELU from LeCun's normal and from torch's default weights, by depth"),
    Row("embedding, CNN", "asst8_conv_ae", "sizes", "shapes linear_autoencoder",
        "the convolutional one, exercise 1 and PCA at equal code sizes"),
    Row("exercise 3", "", "", "gaussian_kl vae",
        "the KL of two Gaussians has the VAE's term in it; a VAE's forward pass"),
    Row("recurrent network", "asst8_rnn", "loss", "rnn",
        "film reviews: padding read as text, a start that remembers, a bag of words"),
    Row("", "asst8_rnn_study", "variants", "rnn",
        "how far back the gradient reaches; which part of the remedy lets it learn"),
    Row("1-D CNN", "asst8_text_cnn", "loss", "textcnn shapes",
        "film reviews: all sizes and parameters, the maximum and the mean over time"),
    Row("", "asst8_text_cnn_study", "phrases", "textcnn shapes",
        "which phrases decide, and whether the answer depends on them")]
PICTURES = {  # scripts whose figure is kept, too; what a reader who cannot see it is told
    "ex2_conv_ae": "Ten test images of MNIST, what the autoencoder makes of 12 numbers each, "
                   "and PCA with as many",
    "hw2_vae": "Digits all over the plane of a variational autoencoder's two latents",
    "hw2_latent_space": "Test images of Fashion-MNIST by t-SNE of an autoencoder's codes",
    "hw2_gan": "Clothes that a GAN makes of the same codes, epoch by epoch",
    "hw1_features": "Pictures that maximise a network's score for each kind of clothing"}
FIRST = "ex2_conv_ae"  # its picture stands at the top


def kept(root):
    """script -> the content of results/<script>_full.json, else of results/<script>.json."""
    found = [json.loads(path.read_text("utf-8"))
             for path in sorted(Path(root, "results").glob("*.json"))]
    return {content["script"]: content
            for content in sorted(found, key=lambda content: content["size"] == "full")}


def picture(row):
    """Where the small copy of a script's figure is kept, in the repository."""
    return f"results/{row.script}_{row.figure}.png"


def section(root):
    """What stands between the two markers: the table, then the pictures that are kept."""
    results = kept(root)
    lines = ["| exercise | script | theory | figure | result |", "|---|---|---|---|---|"]
    lines += [f"| {' | '.join(cells(row, results.get(row.script), root))} |" for row in ROWS]
    lines += [f"\n![{PICTURES[row.script]}]({picture(row)})" for row in ROWS
              if row.script in PICTURES and row.script != FIRST
              and Path(root, picture(row)).is_file()]
    return "\n".join(lines)


def cells(row, content, root):
    """A row's five cells in Markdown."""
    script = f"[`{row.script}`](assignments/{row.script}.py)" if row.script else ""
    theory = ", ".join(f"[{name.replace('_', ' ')}](theory/test_{name}.py)"
                       for name in row.theory.split())
    figure = f"`{row.figure}`" if row.figure else ""
    if Path(root, picture(row)).is_file():
        figure = f"[{figure}]({picture(row)})"
    numbers = headline(row.script, content) if content else ""
    return row.exercise, script, theory, figure, row.words + numbers


def headline(script, content):
    """The numbers that a script is known by, and the size of the run that found them."""
    numbers, size = content["numbers"], content["size"].replace("full", "`--full`")
    told = [f"{words} {number(name, numbers[name])}"
            for name, words in HEADLINES.get(script, {}).items() if name in numbers]
    file = f"results/{script}{'_full' if content['size'] == 'full' else ''}.json"
    return f": {', '.join(told)} ([{size}]({file}))"


def number(name, entry):
    """A number in its unit's form, with its deviation over seeds where it has one."""
    form, after = next(told for unit, told in FORMS.items() if entry["unit"].startswith(unit))
    value, std = entry["value"], entry.get("std")
    if name.startswith("paired") and form == ".2%":  # a difference of shares is no share
        value, std, form, after = 100 * value, std and 100 * std, "+.2f", " points"
    spread = f" ± {format(std, form.lstrip('+'))}" if std else ""
    return format(value, form) + spread + after


def write(root):
    """Put the section into the README, in place of the one that is there."""
    path = Path(root, "README.md")
    before, _, after = parts(path.read_text("utf-8"))
    with whole_file(path) as new:
        new.write_text(f"{before}{BEGIN}\n\n{section(root)}\n\n{END}{after}", "utf-8")


def parts(text):
    """The README before, between and after the two markers."""
    before, rest = text.split(BEGIN)
    between, after = rest.split(END)
    return before, between.strip(), after
