"""A network that another script trained: taken from its run, or trained here by its own main.

    autoencoder = run.trained("ex2_conv_ae", "autoencoder")

Checked in tests/test_run.py.
"""

import importlib

import torch
from torch import nn

from minidl.lab import checkpoint, flags, stamp
from minidl.lab.results import Results, slug


class Lending:
    """The part of a Run that takes networks from other scripts, and lends its own."""

    def borrow(self, script, name, n, settings, **parts):
        """Load `parts` as another script's training left them, in its folder beside this one.

        -> True; False where there is no such training, or one that was not finished or not
        made with these settings, n epochs and this run's data, seed, device and torch.
        """
        path = self.out.parent / script / "checkpoints" / f"{slug(name)}.pt"
        made_by = self.made_by(script, n, settings)
        if not path.exists():
            return False
        content = checkpoint.read(path, self.device, "delete it, or run that script again")
        if content["made_by"] != made_by or not content["progress"].get("finished"):
            return False
        checkpoint.put_back(path, content, parts)
        print(f"{name}: taken from {path}, made with the same settings")
        return True

    def trained(self, script, name="model", **changed):
        """The networks of another page's training, in this run's size.

        They are taken from its finished run beside this one. Without one its main runs here
        until the training `name` is done; the others are passed over, and nothing is recorded.
        The generators are then as they were.
        """
        module = importlib.import_module(script)
        settings = flags.settings(module.main, module.SIZES, self.size) | changed
        lender = type(self)(script, self.size, settings, out=self.out / "trained" / script,
                            device=self.device, seed=self.seed, sheet_data=self.sheet_data,
                            data=self.wanted_data, data_dir=self.data_dir,
                            resume=self.resume)
        lender.results, lender.only, lender.borrower = Unheard(lender.out), name, self
        state = self.generator.get_state(), torch.get_rng_state()
        try:
            module.main(lender, **settings)
        except _Lent as lent:
            self.generator.set_state(state[0])
            torch.set_rng_state(state[1])
            return lent.networks[0] if len(lent.networks) == 1 else lent.networks
        raise ValueError(f"{script} has no training {name!r}")

    def _lend(self, n, name, every, parts):
        """The epochs of a page that runs for another: of the training that is wanted."""
        if name != self.only:
            self.history = {}
            return
        found = {key: part for key, part in parts.items() if isinstance(part, nn.Module)}
        if not self.borrower.borrow(self.script, name, n, self.settings, **found):
            self.only = None
            yield from self.epochs(n, name, every=every, **parts)
        raise _Lent(list(found.values()))

    def made_by(self, script, n, settings):
        """What a training must share to go on, or to be borrowed."""
        own = script == self.script  # as it was when the run began
        code = self.code if own else stamp.code_of(self.file_of(script))
        return {"script": script, "code": code, "data": self.data, "content": self.content,
                "seed": self.seed, "epochs": n, "device": self.device.type,
                "torch": str(torch.__version__), **settings}

    @staticmethod
    def file_of(script):
        return stamp.ROOT / "assignments" / f"{script}.py"


class _Lent(Exception):
    """The training that another script wanted is done: its networks."""

    def __init__(self, networks):
        self.networks = networks


class Unheard(Results):
    """Results that nobody wants: of a page that runs for another."""

    def number(self, *_, **__):
        pass

    finding = figure = table = text = number
