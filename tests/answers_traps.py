"""The traps of these exercises, on a reader's networks and losses.

    python -m pytest tests --answers FILE

FILE defines what it has of these; any architecture that meets the sheet passes.

    Encoder()                    a module: images (B, 1, 28, 28) -> codes (B, d), d near 12
    Decoder()                    a module: codes (B, d) -> images (B, 1, 28, 28)
    Classifier()                 a module: images (B, 1, 28, 28) -> logits (B, 10)
    loss(x_hat, x)               the mean L1 error: a number, or one for each image
    evaluate(network, x, y, batch_size)   cross-entropy or accuracy, or both, of all images:
                                 x (N, 1, 28, 28), y (N,), read batch_size images at a time
    kl(mu, logvar)               KL(N(mu, s^2) || N(0, I)) in nats, logvar = log s^2: for each
                                 image, or their mean or sum
    freeze(module)               from now on (or within a `with`) nothing in it learns
    read_last_state(h, n)        states h (B, T, H) of texts of n (B,) words -> (B, H)
"""

import contextlib
import inspect
import math

import diagnosis
import torch
import torch.nn.functional as F
from torch import nn


def images(n=20, seed=0):
    """n images: class c is a bright row 2 c + 3."""
    x = torch.rand(n, 1, 28, 28, generator=torch.Generator().manual_seed(seed)) / 4
    y = torch.arange(n) % 10
    x[torch.arange(n), 0, 2 * y + 3] += 0.75
    return x, y


def shape(value, expected):
    return None if tuple(value.shape) == expected else (
        f"its output has the shape {tuple(value.shape)}, expected {expected}")


def without_gradient(net, loss):
    loss.backward()
    names = [name for name, p in net.named_parameters() if p.requires_grad and p.grad is None]
    return f"no gradient reaches {', '.join(names)}" if names else None


def is_a_small_code(Encoder):
    z = Encoder()(images()[0])
    d = z[0].numel()
    return shape(z, (20, d)) or (None if 6 <= d <= 24 else f"d = {d}, the sheet asks for 12")


def gives_images(Encoder, Decoder):
    return shape(Decoder()(Encoder()(images()[0])), (20, 1, 28, 28))


def learns_with_every_parameter(Encoder, Decoder):
    net = nn.Sequential(Encoder(), Decoder())
    x, _ = images()
    return without_gradient(net, F.mse_loss(net(x), x))


def trained(net, loss, enough):
    """The loss when it is below `enough`, or after 300 steps of Adam at two rates."""
    start = {name: value.clone() for name, value in net.state_dict().items()}
    for rate in (1e-2, 1e-3):
        net.load_state_dict(start)
        optimizer = torch.optim.Adam(net.parameters(), rate)
        for _ in range(300):
            now = loss()
            if now < enough:
                return now.item()
            optimizer.zero_grad(); now.backward(); optimizer.step()
    return now.item()


def starts_near_ln_10(Classifier):
    x, y = images(100)
    logits = Classifier()(x)
    first = F.cross_entropy(logits, y).item() if logits.dim() == 2 else math.nan
    return shape(logits, (100, 10)) or (None if abs(first - math.log(10)) < 0.5 else
                                        f"the cross-entropy starts at {first:.2f}, not 2.30")


def has_no_softmax(Classifier):
    net, (x, y) = Classifier(), images()
    if (net(x).sum(1) - 1).abs().max() < 1e-4:
        return "its outputs add up to 1: F.cross_entropy wants logits, before the softmax"
    loss = trained(net, lambda: F.cross_entropy(net(x), y), 0.1)
    return None if loss < 0.1 else (f"after 300 steps on 20 images the cross-entropy is "
                                    f"{loss:.2f}: is there a softmax or sigmoid at the end?")


def reaches_every_parameter(Classifier):
    net, (x, y) = Classifier(), images()
    return without_gradient(net, F.cross_entropy(net(x), y))


def is_the_mean_l1(loss):
    x, x_hat = images(4)[0], images(4, seed=1)[0] / 2
    return compared(loss(x_hat, x), (x_hat - x).abs().flatten(1).mean(1), {
        "the mean squared error": (x_hat - x).square().flatten(1).mean(1),
        "summed, not averaged": (x_hat - x).abs().sum(),
        "summed over the pixels": (x_hat - x).abs().flatten(1).sum(1)})


def is_per_image_in_nats(kl):
    mu = torch.tensor([[1.0, -2, 0.5], [0, 1, 3]])
    logvar = torch.tensor([[0.5, 1, 2], [1, 0.25, -1]])
    right = (mu**2 + logvar.exp() - logvar - 1).sum(1) / 2
    return compared(kl(mu, logvar), right, {
        "its sign is wrong": -right, "averaged over the D dimensions": right / 3,
        "divided by 784": right / 784, "the 1/2 is missing": 2 * right,
        "the - 1 is missing": right + 3 / 2,
        "logvar taken for the standard deviation":
            (mu**2 + logvar**2 - (logvar**2).log() - 1).sum(1) / 2}, sums=True)


def compared(given, right, slips, sums=False):
    """Right for each image, or in the mean (or the sum); or what it is."""
    given = torch.as_tensor(given).flatten()

    def is_one_of(value):
        forms = [value, value.mean()[None], *([value.sum()[None]] if sums else [])]
        return any(given.shape == form.shape and torch.allclose(given, form, rtol=1e-4)
                   for form in forms)

    if is_one_of(right):
        return None
    known = [words for words, value in slips.items() if is_one_of(value)]
    return known[0] if known else (
        f"found {diagnosis.text(given)}, expected {diagnosis.text(right)}")


class Probe(nn.Module):
    """A classifier whose dropout and batch normalisation tell in which mode it is."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(784), nn.Dropout(0.5),
                                    nn.Linear(784, 10))

    def forward(self, x):
        return 3 * self.layers(x)


def evaluated(evaluate, batch_size):
    """What evaluate returns, the labels, of which the network finds 12 or more, the logits."""
    torch.manual_seed(0)
    net, (x, y) = Probe().eval(), images(30)
    logits = net(x).detach()
    y = torch.where(y < 4, logits.argmax(1), 9 - y)
    found = evaluate(net.train(), x, y, batch_size)
    values = found if isinstance(found, tuple | list) else [found]
    return torch.tensor([float(value) for value in values]), y, logits


def does_not_depend_on_the_batch_size(evaluate):
    whole, _, _ = evaluated(evaluate, 30)
    for size in (7, 29):  # their last batches have 2 and 1
        if not torch.allclose(part := evaluated(evaluate, size)[0], whole, rtol=1e-4):
            return (f"in batches of {size} it is {part.tolist()}, of 30 {whole.tolist()}: a "
                    "mean of batch means, the last batch alone, or training mode")
    return None


def is_the_mean_over_images(evaluate):
    values, y, logits = evaluated(evaluate, 30)
    entropy, accuracy = F.cross_entropy(logits, y), (logits.argmax(1) == y).float().mean()
    for value in values:
        found = [compared(value, right, {
            "summed, not averaged": 30 * right, "the share of errors": 1 - accuracy,
            "a softmax before the cross-entropy": F.cross_entropy(logits.softmax(1), y)})
            for right in (entropy, accuracy, 100 * accuracy)]
        if None not in found:
            return next((words for words in found if not words.startswith("found")), (
                f"found {value:.4g}, expected {entropy:.4g}, the mean cross-entropy, or "
                f"{accuracy:.4g}, the accuracy"))
    return None


def leaves_the_network_as_it_was(evaluate):
    net, (x, y) = Probe(), images()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    evaluate(net, x, y, 7)
    return changed(before, net) or (None if net.training else "it stays in evaluation mode")


def changed(before, net):
    names = [name for name, value in net.state_dict().items()
             if not torch.equal(value, before[name])]
    return f"changed: {', '.join(names)}" if names else None


def stays_frozen_with_its_buffers(freeze):
    x, _ = images()
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, 12), nn.BatchNorm1d(12))
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    decoder = nn.Sequential(nn.Linear(12, 784), nn.BatchNorm1d(784))
    optimizer = torch.optim.AdamW([*encoder.parameters(), *decoder.parameters()],
                                  weight_decay=0.1)
    found = freeze(encoder)
    with found if hasattr(found, "__enter__") else contextlib.nullcontext():
        decoder.train()
        for _ in range(3):
            loss = (decoder(encoder(x)) - x.flatten(1)).abs().mean()
            optimizer.zero_grad(); loss.backward(); optimizer.step()
    return changed(before, encoder)


def ignores_padding(read_last_state):
    h, n = torch.rand(3, 5, 2), torch.tensor([2, 5, 3])
    longer = torch.cat([h, torch.rand(3, 4, 2)], dim=1)
    found = read_last_state(h, n)
    if wrong := shape(found, (3, 2)):
        return wrong
    if not torch.equal(found, read_last_state(longer, n)):
        return "with more padding it is another state"
    return None if torch.equal(found, h[torch.arange(3), n - 1]) else (
        "it is not the state of the last word, h[b, n[b] - 1]")


LIMIT, DTYPE = 120, torch.float32  # seconds for a trap, some of which train
TRAPS = {f.__name__: (f, list(inspect.signature(f).parameters)) for f in (
    is_a_small_code, gives_images, learns_with_every_parameter,
    starts_near_ln_10, has_no_softmax, reaches_every_parameter, is_the_mean_l1,
    is_per_image_in_nats, is_the_mean_over_images, does_not_depend_on_the_batch_size,
    leaves_the_network_as_it_was, stays_frozen_with_its_buffers, ignores_padding)}
PLACES = {name: ", ".join(needs) for name, (_, needs) in TRAPS.items()}


def calls(name, answers):
    """A trap's one call, where FILE defines what the trap is about."""
    trap, needs = TRAPS[name]
    if any(diagnosis.unanswered(answers.get(need, ...)) for need in needs):
        return None

    def call():
        torch.manual_seed(0)
        return trap(*(answers[need] for need in needs))

    return [call]


def judged(results):
    return {name: ("wrong", words, "") if words else ("correct", "", "")
            for name, (words,) in results.items()}
