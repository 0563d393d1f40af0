r"""Homework 2, advanced: what beta does to the VAE of hw2_vae.py, and posterior collapse.

    minimise   E_x [ BCE + beta KL ]

    python assignments/hw2_vae_study.py          under 5 minutes on 2 CPU cores

(d) beta from 1/4 to 16: what a nat of KL buys in BCE. beta = 1 is -ELBO itself; a larger one
pays more for a nat of code than it is worth.
(e) The failure: with BCE as a mean over the 784 pixels and KL as a sum over the latents, as
in many a program, beta is 784. Where no latent is worth its KL, q(z|x) is the prior whatever
x is, and the decoder's best answer is the mean image. Compared are raising beta from 0 in the
first half (warm-up, Sonderby et al. 2016), to the wrong weight and to the right one, and the
right weight after a third of the training with the wrong one.

Every training has the same steps; each is repeated with several seeds, which the trainings
that are compared share. All numbers are of validation images.
"""
# sheet: S0.5a

import itertools
import statistics

import _path  # noqa: F401
import torch
from hw2_vae import NATS, VAE, constant_image, constant_nats, mean, measure, train

from minidl.data import Split, to_unit
from minidl.evaluation import evaluating
from minidl.lab import cli, plot
from minidl.lab.results import deviation, markdown, slug
from minidl.lab.run import RunError
from minidl.vae import active_units

P = 784  # pixels
BETAS = {f"{b:g}": lambda t, b=b: b for b in (0.25, 1, 4, 16)}
WEIGHTS = {  # beta over a training, t from 0 to 1
    "784": lambda t: P,
    "0 to 784": lambda t: P * min(1, 2 * t),
    "784, then 1": lambda t: P if t <= 1 / 3 else 1,
    "0 to 1": lambda t: min(1, 2 * t)}
TRADED, COMPARED = [*BETAS], ["1", *WEIGHTS]
AWAY = "RMS from the mean image"
NUMBERS = {"BCE": ("val_bce", NATS), "KL": ("val_kl", NATS), "-ELBO": ("val_nats", NATS),
           "used": ("active_units", "latents with Var mu > 0.01"),
           AWAY: ("distance_to_mean_image", "RMS per pixel")}


def main(run,
         latent: "D, numbers in the latent code" = 20,
         epochs: "passes over the training images; amount" = 3,
         seeds: "trainings of each kind; amount" = 3,
         batch_size: "images a step" = 128,
         learning_rate: "the highest of the one-cycle schedule" = 8e-3,
         filters: "of the first convolution; each further one has twice as many" = 16,
         hidden: "width of the fully connected layer at the coarsest level" = 256,
         subset: "training images of these; amount" = 15_000,
         precision: "of the products: auto, bfloat16 or float32" = "auto",
         images: "training images used, validation included; amount" = 60_000):
    if latent >= P or batch_size < 2:
        raise RunError(f"--latent {latent} --batch-size {batch_size}: expected fewer numbers "
                       "than the 784 pixels and, for batch normalisation, 2 images or more")
    data = run.load(images)
    few = Split(data.train.x[:subset], data.train.y[:subset])
    networks, scores = {}, {}
    for name, beta in (BETAS | WEIGHTS).items():
        scores[name] = []
        for s in range(seeds):
            run.seed_everything(run.seed + s)
            vae = networks[name] = VAE(latent, filters, hidden).to(run.device)
            train(run, f"beta {name}, seed {s}", vae, few, data.val, epochs, batch_size,
                  learning_rate, precision, beta)
            scores[name].append(score(run, vae, data, precision))
    rows = compare(run, scores)
    title = f"{data.title}, {latent} latents, {len(few.x):,} images, {epochs} epochs"
    run.results.table("beta", list(rows.values()), f"{title}. Validation images, nats an "
                      f"image, means of {seeds} seeds; std: of -ELBO")
    print(markdown(list(rows.values())))
    show_trade(run, rows, title)
    show_collapse(run, data, networks, rows, scores, title)


def score(run, vae, data, precision):
    """BCE, KL, -ELBO, used latents; how far the decoded images are from the mean image."""
    found = measure(run, vae, data.val, precision)
    with torch.no_grad(), evaluating(vae):
        away = vae(to_unit(data.val.x[:500])) - constant_image(data)
    cost, kl = mean(found.bce), mean(found.kl)
    return {"BCE": cost, "KL": kl, "-ELBO": cost + kl,
            "used": float(active_units(found.mu).sum()),
            AWAY: away.square().mean().sqrt().item()}


def compare(run, scores):
    """-> name -> its row of the table: means over the seeds."""
    rows = {}
    for name, found in scores.items():
        rows[name] = {"beta": name}
        for key in found[0]:
            values = [one[key] for one in found]
            rows[name][key] = statistics.mean(values)
            if key == "-ELBO":
                rows[name]["std"] = deviation(values)
            number, unit = NUMBERS[key]
            run.results.mean(f"{number}_beta_{slug(name)}", values, unit)
    return rows


# --- (d) what beta trades -------------------------------------------------------------------

def show_trade(run, rows, title):
    betas, traded = [float(name) for name in TRADED], [rows[name] for name in TRADED]
    run.results.figure("trade", plot.curves(
        {term: (betas, [row[term] for row in traded]) for term in ("BCE", "KL", "-ELBO")},
        f"{title}: what beta trades", "beta", f"{NATS}, validation", log_x=True))
    best = min(traded, key=lambda row: row["-ELBO"])
    for low, high in itertools.pairwise(traded):
        run.results.finding(
            f"From beta {low['beta']} to {high['beta']}: KL {low['KL']:.1f} to "
            f"{high['KL']:.1f} nats ({high['KL'] - low['KL']:+.1f}), BCE {low['BCE']:.1f} to "
            f"{high['BCE']:.1f} ({high['BCE'] - low['BCE']:+.1f}); latents used "
            f"{low['used']:.1f} to {high['used']:.1f}.")
    run.results.finding(f"{title}: BCE + KL is least at beta {best['beta']}, "
                        f"{best['-ELBO']:.1f} +- {best['std']:.1f} nats.")


# --- (e) posterior collapse -----------------------------------------------------------------

def show_collapse(run, data, networks, rows, scores, title):
    """The last seed's images; for every weight whether its latents are used."""
    x, constant = to_unit(data.val.x[:14]), constant_image(data)
    shown = [networks[name] for name in COMPARED]
    with torch.no_grad(), evaluating(*shown):
        decoded = {f"beta {name}": vae(x) for name, vae in zip(COMPARED, shown, strict=True)}
    run.results.figure("collapse", plot.image_rows(
        {"input": x, **decoded, "mean image": constant.expand_as(x)},
        f"{title}: validation images"))
    level = constant_nats(data, data.val)
    run.results.number("val_constant_nats", level, NATS, n=len(data.val.x))
    for name in COMPARED:
        row, n = rows[name], len(scores[name])
        gone = sum(one["used"] == 0 for one in scores[name])
        run.results.finding(
            f"beta {name}: {'COLLAPSED, ' if gone else ''}no latent is used in {gone} of {n} "
            f"trainings; KL {row['KL']:.3f}, -ELBO {row['-ELBO']:.1f} nats (the best constant "
            f"image has {level:.1f}); reconstructions are {row[AWAY]:.3f} from the mean image "
            "(RMS per pixel).")
    for name, base in (("0 to 784", "784"), ("784, then 1", "1"), ("0 to 1", "1")):
        change = [b["-ELBO"] - a["-ELBO"]
                  for a, b in zip(scores[base], scores[name], strict=True)]
        run.results.finding(
            f"beta {name} instead of {base}: -ELBO {statistics.mean(change):+.2f} +- "
            f"{deviation(change):.2f} nats, paired by seed.")


SIZES = {"quick": {"epochs": 1, "seeds": 1, "subset": 500, "images": 1500},
         "full": {"epochs": 10, "subset": 60_000}}

if __name__ == "__main__":
    cli.start(main, data="mnist", **SIZES)
