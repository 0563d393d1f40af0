"""A network that another script trained: taken from its run, or trained here by its own main.

    autoencoder = run.trained("ex2_conv_ae", "autoencoder")

Checked in tests/test_run.py.
"""

import importlib

import torch
from torch import nn

from minidl.lab import checkpoint, flags
from minidl.lab.progress import tell
from minidl.lab.results import Results, slug


class Lending:
    """The part of a Run that takes networks from other scripts, and lends its own."""

    def trained(self, script, name="model", **changed):
        """The networks of another script's training, in this run's size.

        They are taken from its finished run beside this one. Without one, its main runs here
        until the training `name` is done; it skips other trainings and records nothing.
        Afterwards the generators have their earlier states.
        """
        module = importlib.import_module(script)
        settings = flags.settings(module.main, module.SIZES, self.size) | changed
        devices = [] if self.device.type == "cpu" else [self.device]
        with torch.random.fork_rng(devices, device_type=self.device.type):
            lender = type(self)(script, self.size, settings, out=self.out / "trained" / script,
                                device=self.device, seed=self.seed, data_dir=self.data_dir,
                                sheet_data=self.sheet_data, data=self.wanted_data,
                                resume=self.resume)
            lender.results, lender.only, lender.beside = Unheard(lender.out), name, self.out
            try:
                module.main(lender, **settings)
            except _Lent as lent:
                return lent.networks[0] if len(lent.networks) == 1 else lent.networks
        raise ValueError(f"{script} has no training {name!r}")

    def _lend(self, n, name, every, parts):
        """The epochs of a script that runs for another one: those of the wanted training."""
        if name != self.only:
            self.history = {}
            return
        networks = {key: part for key, part in parts.items() if isinstance(part, nn.Module)}
        path = self.beside.parent / self.script / "checkpoints" / f"{slug(name)}.pt"
        if not (path.exists() and self._take(path, self.made_by(name, n), networks)):
            self.only = None
            yield from self.epochs(n, name, every=every, **parts)
        raise _Lent(list(networks.values()))

    def _take(self, path, made_by, networks):
        """Whether `networks` could be loaded from an equal, finished training."""
        content = checkpoint.read(path, "delete it, or run that script again")
        if not content["progress"].get("finished"):
            return False
        if content["made_by"] != made_by:
            difference = checkpoint.difference(content["made_by"], made_by)
            tell(f"{path} was made with {difference}: not used, the network is trained here; "
                 "run that script again to share its network")
            return False
        checkpoint.put_back(path, content, networks)
        tell(f"Taken from {path}, made with the same settings")
        return True


class _Lent(Exception):
    """Raised when the training that another script wants is done; with its networks."""

    def __init__(self, networks):
        self.networks = networks


class Unheard(Results):
    """Results that are not recorded: those of a script that runs for another."""

    def number(self, *_, **__):
        pass

    figure = table = text = number
