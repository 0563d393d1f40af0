r"""Homework 2, a student's report of 2021: its convolutional VAE of MNIST, trained again.

    h = relu(conv(x)),   mu = to_mu(h),   log s^2 = to_logvar(h),   z = mu + s eps in R^20
    logits = t_conv(relu(from_latent(z))),   p(x|z) = Bernoulli(sigmoid(logits))
    minimise  E_x [BCE + KL],   BCE = -log p(x|z),   KL = KL(N(mu, diag(s^2)) || N(0, I))

    python assignments/hw2_report_vae.py         under 5 minutes on 2 CPU cores

The network has the report's layers, named here by their roles: to_mu is its fc21, to_logvar
fc22, from_latent fc3. BCE and KL are sums over pixels and latents, averaged over images. A VAE
trained on clean images takes noise for strokes: in the report a five became an eight. In the
plane of the first two principal components the digits overlap. The reason is the KL: it pulls
the codes towards N(0, I), which has the same variance in every direction.
"""
# sheet: S2.1, S2.3, S2.4, S2.5, S2.6

import _path  # noqa: F401
import torch
from torch import nn

from minidl import losses, noise, pca, schedules
from minidl.data import batches, steps_per_epoch, to_unit
from minidl.gaussian import kl_to_std_normal
from minidl.lab import cli, infer, paired, plot
from minidl.representation import linear_probe, nearest
from minidl.vae import elbo_terms


class ConvVAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 32, 3)
        self.to_mu = nn.Linear(21632, 20)  # 32*26*26: 28x28 without its border
        self.to_logvar = nn.Linear(21632, 20)
        self.from_latent = nn.Linear(20, 21632)
        self.t_conv = nn.ConvTranspose2d(32, 1, 3)

    def encode(self, x):
        h = nn.functional.relu(self.conv(x)).flatten(1)  # (B, 32, 26, 26) -> (B, 21632)
        return self.to_mu(h), self.to_logvar(h)          # (B, 20) each

    def decode(self, z):
        h = nn.functional.relu(self.from_latent(z))      # (B, 21632)
        # a pixel's 32 channels are adjacent units; the linear layer can learn any order
        return self.t_conv(h.view(-1, 26, 26, 32).permute(0, 3, 1, 2))  # (B, 1, 28, 28)

    def forward(self, x):
        mu, logvar = self.encode(x)
        z = mu + (logvar / 2).exp() * torch.randn(mu.shape, device=mu.device)  # mu + s eps
        return self.decode(z), mu, logvar


def train(run, name, data, epochs, batch_size, learning_rate):
    """-> a network, its history, and for some epochs 20 samples and 20 reconstructions."""
    vae = run.network(ConvVAE(), bits=16)
    # Adam moves each weight by about the rate. So a sum of 21,632 products moves much further
    # than a sum of 9 or 20 (Yang and Hu 2021), and is given a quarter of the rate
    wide = (vae.to_mu, vae.to_logvar)
    optimizer = torch.optim.AdamW(
        [{"params": layer.parameters(), "lr": learning_rate / (4 if layer in wide else 1)}
         for layer in vae.children()], betas=(0.9, 0.98), weight_decay=0, fused=True)
    schedule = schedules.one_cycle(optimizer, epochs * steps_per_epoch(data.train, batch_size))
    z = torch.randn(20, 20, generator=torch.Generator().manual_seed(run.seed)).to(run.device)
    for epoch in run.epochs(epochs, name, vae=vae, optimizer=optimizer, schedule=schedule):
        for x, _ in batches(data.train, batch_size, run.generator):
            logits, mu, logvar = vae(x)
            bce = losses.bce(logits, x).mean()          # of sums over pixels
            kl = kl_to_std_normal(mu, logvar).mean()    # of sums over latents
            loss = bce + kl
            optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
            run.track(len(x), train_bce=bce, train_kl=kl)
        val = elbo_terms(vae.encode, vae.decode, data.val.x, run.seed)
        run.log(val_bce=val.bce.mean(), val_kl=val.kl.mean())
        if epoch in {1, (epochs + 1) // 2, epochs}:     # 1, 15, 30 of 30
            codes = torch.cat([z, val.mu[:20]])
            run.keep(f"epoch {epoch}", infer(vae.decode, codes).sigmoid())
    return vae, run.history, run.kept


def main(run,
         epochs: "passes over the training images; amount" = 8,
         seeds: "trainings, each with another seed; amount" = 1,
         batch_size: "images per step" = 128,
         learning_rate: "peak of the one-cycle schedule" = 8e-3,
         images: "training images used, validation included; amount" = 60_000):
    data = run.load(images)
    run.layers(ConvVAE().to(run.device), to_unit(data.val.x[:1]))
    trainings = [train(run, f"plain VAE, seed {seed}", data, epochs, batch_size, learning_rate)
                 for seed in run.seeded(seeds)]
    vae, history, kept = trainings[0]
    run.pictures("samples", "mean images of the same 20 draws z ~ N(0, I)",
                 **{epoch: images[:20] for epoch, images in kept.items()})
    run.pictures("reconstructions", "mean images at the mean codes of validation images",
                 x=to_unit(data.val.x[:20]),
                 **{epoch: images[20:] for epoch, images in kept.items()})
    # --- PCA of the z of 20,000 training images; validation digits classified from it --------
    z, val_z = (elbo_terms(vae.encode, vae.decode, x, run.seed).z
                for x in (data.train.x[:20_000], data.val.x))
    code, y, correct = pca.fit(z, 20), data.train.y[:20_000], {}
    z, val_z = code.encode(z), code.encode(val_z)
    for d in (2, 3, 20):
        probe = linear_probe(z[:, :d], y)
        correct[f"{d}"] = (probe(val_z[:, :d]).argmax(dim=1) == data.val.y).cpu().double()
    run.scores("fraction, by components", table="projections", probe_accuracy=correct)
    run.claim("A linear classifier is more accurate with 20 principal components than with 2.",
              paired(correct["20"], correct["2"]))
    for d, n in ((2, len(z)), (3, min(2000, len(z)))):
        run.results.figure(f"latents_{d}d", plot.scatter(
            z[:n, :d], y[:n], data.classes, f"{run.title}: PCA of {n:,} training images' z",
            [f"component {i + 1}, {code.explained[i]:.1%} of the variance" for i in range(d)]))

    # --- the test set, read once -------------------------------------------------------------
    test, reported = data.test(), 100.99326
    found = [elbo_terms(net.encode, net.decode, test.x, run.seed) for net, *_ in trainings]
    bce, kl = ([terms[i].mean().item() for terms in found] for i in (0, 1))
    nats = [sum(terms) for terms in zip(bce, kl, strict=True)]
    run.scores("nats per image", test_nats=nats, test_bce=bce, test_kl=kl)
    run.curves("loss", "the two terms of the loss", "nats per image", log_y=True, **history)
    run.claim("The report's network reaches a lower test loss here than in the report.",
              paired([reported] * seeds, nats) if data.name == "mnist" else None)
    # --- denoising: an image is classified as its nearest training image ---------------------
    x, train_x, error, same = to_unit(test.x[:1000]), to_unit(data.train.x), {}, {}
    noisy = noise.gaussian(x, 0.5, torch.Generator().manual_seed(run.seed))
    mu = infer(lambda x: vae.encode(x)[0], noisy)
    outputs = {"noisy image": noisy, "plain VAE": infer(vae.decode, mu).sigmoid()}
    for name, x_hat in outputs.items():
        error[name] = losses.mse(x_hat, x)
        same[name] = (data.train.y[nearest(x_hat, train_x)[1]] == test.y[:1000]).cpu().double()
    run.scores("MSE; fraction of equal digits", table="denoising", mse=error, same_digit=same)
    run.pictures("denoising", "test images, Gaussian noise of level 0.5",
                 clean_image=x[:20], **{name: x_hat[:20] for name, x_hat in outputs.items()})
    run.claim("The VAE's output is nearer to the clean image than the noisy image is.",
              paired(error["noisy image"], error["plain VAE"]))
    run.claim("The noisy image is classified correctly more often than the VAE's output.",
              paired(same["noisy image"], same["plain VAE"]))


SIZES = {"quick": {"epochs": 2, "images": 1500}, "full": {"epochs": 30, "seeds": 3}}

if __name__ == "__main__":
    cli.start(main, data="mnist", **SIZES)
