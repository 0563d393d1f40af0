"""A script's run: its seeds, its data, its epochs (progress, checkpoint, resume), its results.

    for epoch in run.epochs(epochs, model=model, optimizer=optimizer):
        for x, y in batches(train, batch_size, run.generator):
            loss = l1(model(x), x).mean()
            optimizer.zero_grad(); loss.backward(); optimizer.step()
            run.track(len(x), train_l1=loss)
        run.log(val_l1=evaluate(...))

The loop is the script's own; nothing here calls back into it. Checked in tests/test_run.py.
"""

import copy
import json
import math
import platform
import time
from pathlib import Path

import matplotlib
import numpy
import torch

from minidl import UserError
from minidl.data import load as load_images
from minidl.lab import checkpoint, fast, ranks, stamp
from minidl.lab import network as networks
from minidl.lab.findings import Findings, in_words
from minidl.lab.folder import Folder
from minidl.lab.lending import Lending
from minidl.lab.progress import Line, clock, tell, wrapped
from minidl.lab.results import Results, slug
from minidl.lab.trials import Trials


class RunError(UserError):
    """A run that cannot continue: one sentence."""


class Run(Findings, Lending):
    """One run of a script. Scripts use the methods above the first name that begins with _.

    device, generator (of the order of examples; on the CPU), noise (the generator of a step's
    other draws: on the device; on a CPU it is `generator`), history (of the latest training:
    name -> one value per epoch), results.
    """

    def __init__(self, script, size, settings, *, out, device="cpu", seed=0, sheet_data=None,
                 data="auto", data_dir=None, resume=False):
        self.script, self.size, self.settings = script, size, settings
        file = stamp.ROOT / "assignments" / f"{script}.py"
        self.code = stamp.code_of(file)  # now: it may be edited later
        self.commit = stamp.commit()
        self.device, self.seed = torch.device(device), seed
        self.sheet_data, self.data_dir = sheet_data, data_dir
        self.data = self.wanted_data = data  # load puts the name of what it found into `data`
        self.out, self.resume = Path(out), resume
        self.started, self.seconds_before = time.perf_counter(), 0.0
        self.generator, self.history = torch.Generator(), {}
        on_cpu = self.device.type == "cpu"
        self.noise = self.generator if on_cpu else torch.Generator(self.device)
        self.generators = {"order": self.generator, "noise": self.noise}  # beside torch's
        self.seed_everything(seed)
        self.folder = Folder(self.out, {
            "script": script, "code": self.code, "seed": seed, "device": self.device.type,
            "threads": torch.get_num_threads(), "torch": str(torch.__version__), **settings},
            resume, size)
        self.results = Results(self.out, self.folder.path)
        self.places = {}  # see _place
        self.title, self.bits, self.kept = script, 32, checkpoint.Kept()
        self.only = self.beside = None  # see minidl/lab/lending.py
        self._begin("")

    @property
    def precision(self):
        """The number format in which the networks train on this machine."""
        half = self.bits == 16 and fast.has_bfloat16(self.device)
        return "bfloat16" if half else "float32"

    def made_by(self, name, n):
        """What must be equal to continue a training of n epochs, or to reuse its network."""
        return {"training": name, "epochs": n, "precision": self.precision,
                **self.folder.made_by}

    def seed_everything(self, seed):
        """Restart every generator, so that trainings which are compared start equally."""
        torch.manual_seed(seed)  # weights, dropout; on every device
        for generator in self.generators.values():
            generator.manual_seed(seed)

    def seeded(self, n):
        """Yield n seeds, and restart every generator for each."""
        for seed in range(self.seed, self.seed + n):
            self.seed_everything(seed)
            yield seed

    def network(self, net, bits=32):
        """The network on the run's device, made fast there: minidl/lab/network.py."""
        self.bits = min(bits, self.bits)
        return networks.network(net, self.device, bits)

    def load(self, images=None):
        """The sheet's data set, or what --data names instead; a printed line says which."""
        data = load_images(self.sheet_data, self.wanted_data, self.data_dir,
                           device=self.device, seed=self.seed, images=images, say=tell)
        return self._begin_on(data)

    def load_reviews(self, n=None, vocabulary=20_000):
        """Like `load`, for film reviews; n: how many to train on; vocabulary: its size."""
        from minidl.data import reviews as corpora  # not for images: it reads a grammar
        corpus = corpora.load(self.wanted_data, self.data_dir, device=self.device,
                              seed=self.seed, reviews=n, vocabulary=vocabulary, say=tell)
        return self._begin_on(corpus)

    def trials(self, name, objective):
        """The Trials of a search, logged in the run's folder; a killed search can continue."""
        place = self._place("trials", name)
        logs = [self.folder.path(f"{place}/rank_{rank}.jsonl")
                for rank in range(ranks.rank_and_size()[1])]
        made_by = json.dumps({"search": name, **self.folder.made_by}, sort_keys=True)
        return Trials(objective, logs[0].parent, stamp.mark(made_by))

    def epochs(self, n, name="model", *, every=1, **parts):
        """Yield 1 ... n; after each, print a line and keep a checkpoint of all `parts`.

        every: a line stays after every so many epochs and the last. On a terminal, the lines
        of the other epochs replace each other.

        parts: all that has a state_dict (modules, optimizer, schedule). With --resume, a
        finished training of this name is loaded and yields nothing. An interrupted one
        continues after its last whole epoch, with the generators' states at that time. So a
        run that was killed ends with the same numbers as one that was not.
        """
        self.kept = checkpoint.Kept()
        if self.only:
            yield from self._lend(n, name, every, parts)
            return
        parts = {**parts, "kept": self.kept}
        path = self.folder.path(f"{self._place('checkpoints', name)}.pt")
        made_by = self.made_by(name, n)
        self.history, before, done = {}, 0.0, 0
        start = time.perf_counter()
        if self.resume and path.exists():
            done, self.history, before, self.seconds_before = checkpoint.restore(
                path, made_by, parts, self.generators, self.device,
                "epoch", "history", "seconds", "run_seconds")
            self.started = start = time.perf_counter()
            tell(f"{name}: epoch {done} of {n} is in {path}")
        for epoch in range(done + 1, n + 1):
            self._begin(f"{name}  epoch {epoch:>{len(str(n))}}/{n}",
                        self._step if epoch > done + 1 else 0)
            yield epoch
            if not self._logged:
                self.log()
            seconds, finished = before + time.perf_counter() - start, epoch == n
            checkpoint.save(path, made_by, parts, self.generators, self.device, epoch=epoch,
                            seconds=seconds, history=self.history,
                            run_seconds=self._seconds(), finished=finished)
            last = [f"{key} {values[-1]:.4f}" for key, values in self.history.items()]
            left = f"{clock(seconds)}, {clock(seconds / epoch * (n - epoch))} left"
            words = [words.replace(" ", "\xa0") for words in (self._label, *last, left)]
            say = self._line.done if epoch % every == 0 or finished else self._line.update
            say(wrapped("  ".join(words)))

    def keep(self, name, value):
        """Keep a copy of a tensor or a state_dict in `kept`, by name; it survives a kill. With
        the weights of each epoch, there can be a curve of the test error although the test set
        is read once, last."""
        self.kept[name] = copy.deepcopy(value)

    def track(self, n, **losses):
        """Add a step's losses, means over its n examples; `log` takes the epoch's mean.

        They stay on the device, so that no step waits for a GPU's loss.
        """
        self._step += 1
        for key, loss in losses.items():
            self._tracked.setdefault(key, []).append((loss.detach(), n))
        of = f"/{self._steps}" if self._steps else ""  # known from the second epoch on
        self._line.update(f"{self._label}  step {self._step}{of}")

    def log(self, **values):
        """Record the epoch's values, and the means of what was tracked, in self.history.

        A value is a number, or a tensor of one per example, whose mean is recorded. Raises
        RunError for a value that is not finite, with the epoch and the step.
        """
        self._logged = True
        for key, pairs in self._tracked.items():
            losses = torch.stack([loss for loss, _ in pairs]).cpu().double()
            for step in (~losses.isfinite()).nonzero().flatten().tolist():
                raise self._diverged(key, losses[step].item(), step + 1)
            sizes = torch.tensor([n for _, n in pairs], dtype=torch.float64)
            self._record(key, ((losses * sizes).sum() / sizes.sum()).item())
        for key, value in values.items():
            if isinstance(value, torch.Tensor):
                value = value.cpu().double().mean().item()
            if not math.isfinite(value):
                raise self._diverged(key, value, self._step)
            self._record(key, value)
        self._tracked = {}

    def finish(self):
        """Write results.json; print the claims, then the files."""
        seconds = self._seconds()
        versions = {"python": platform.python_version(), "torch": str(torch.__version__),
                    "numpy": numpy.__version__, "matplotlib": matplotlib.__version__}
        made_of = {"commit": self.commit} if self.commit else {}
        self.results.save({"script": self.script, "size": self.size, "data": self.data,
                           "device": self.device.type,
                           "processor": stamp.processor(self.device),
                           "threads": torch.get_num_threads(),
                           "precision": self.precision,
                           "seed": self.seed, "settings": self.settings,
                           "versions": versions, **made_of, "code": self.code,
                           "seconds": round(seconds, 2)})
        sentences = [f"- {in_words(claim)}" for claim in self.results.claims]
        if self.results.undefined:
            sentences.append("- Not a finite number here, so not recorded: "
                             f"{', '.join(self.results.undefined)}.")
        print(f"\nFound in this {self.size} run:", *map(wrapped, sentences), "", sep="\n")
        tell(f"Wrote {', '.join([*self.results.files, 'results.json'])} to {self.out} "
             f"({clock(seconds)})")

    def _begin_on(self, data):
        """The data are valid; now the folder can become this run's."""
        self.data, self.title = data.name, data.title
        self.folder.agree({"data": data.name, "content": data.digest})
        return data

    def _place(self, kind, name):
        """The folder of a training's or a search's files; no two of a run share one."""
        if (kind, name) in self.places.values():
            raise ValueError(f"{kind}: two are {name!r}, and share all that they resume from")
        place = f"{kind}/{slug(name)}"
        while place in self.places:
            place += "_"
        self.places[place] = kind, name
        return place

    def _begin(self, label, steps=0):
        self._label, self._line, self._steps = label, Line(), steps
        self._step, self._tracked, self._logged = 0, {}, False

    def _record(self, key, value):
        self.history.setdefault(key, []).append(float(value))

    def _diverged(self, key, value, step):
        place = f"{self._label}, step {step}" if step else self._label
        return RunError(f"{place}: {key} is {value}, expected a finite number; "
                        "a smaller --learning-rate is the usual remedy")

    def _seconds(self):
        return self.seconds_before + time.perf_counter() - self.started
