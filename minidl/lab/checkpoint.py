"""All that the rest of a training depends on, in one file, written whole."""

import contextlib
import io
import textwrap
import zipfile

import torch

from minidl import UserError
from minidl.files import whole_file


class CheckpointError(UserError):
    """A checkpoint that cannot be gone on from: one sentence."""


class Snapshots(dict):
    """A module's weights after each epoch: epoch -> its state_dict.

    With them the curve of the test error is drawn when all is chosen and trained, so that the
    test set is read once, last, and yet over training time. A part of `run.epochs`.
    """

    def take(self, epoch, module):
        self[epoch] = {name: t.detach().clone() for name, t in module.state_dict().items()}

    def state_dict(self):
        return dict(self)

    def load_state_dict(self, state):
        self.clear()
        self.update(state)


def save(path, made_by, parts, generator, **progress):
    """Write the parts' states, every generator's state and the progress (plain values).

    made_by: the settings that another run must share to go on from here.
    """
    content = {"made_by": made_by, "progress": progress,
               "parts": {name: part.state_dict() for name, part in parts.items()},
               "generators": {"order": generator.get_state(), "cpu": torch.get_rng_state(),
                              "cuda": torch.cuda.get_rng_state_all()}}
    data = io.BytesIO()
    torch.save(content, data)  # not to the disk: torch's error says nothing where it is full
    with whole_file(path) as beside:
        beside.write_bytes(data.getbuffer())


def restore(path, made_by, parts, generator, device):
    """Put parts and generators back as `save` found them; returns the progress."""
    content = read(path, device)
    compare(path, content["made_by"], made_by)
    put_back(path, content, {name: parts.get(name) for name in content["parts"]})
    with _fitting(path):
        generators = content["generators"]
        generator.set_state(generators["order"].cpu())
        torch.set_rng_state(generators["cpu"].cpu())
        torch.cuda.set_rng_state_all([state.cpu() for state in generators["cuda"]])
    return content["progress"]


def put_back(path, content, parts):
    """Load `parts` from a checkpoint's content; CheckpointError where they do not fit."""
    with _fitting(path):
        for name, part in parts.items():
            part.load_state_dict(content["parts"][name])


def read(path, device="cpu", remedy="start without --resume"):
    """The content of a checkpoint; CheckpointError for a file that is none, or damaged."""
    data = io.BytesIO(path.read_bytes())
    try:
        if data.read(4) != b"PK\3\4":  # torch's older format: before 2.6 it could run code
            raise ValueError("no zip file")
        if bad := zipfile.ZipFile(data).testzip():  # torch.load does not look at the checksums
            raise ValueError(f"{bad} is damaged")
        data.seek(0)
        content = torch.load(data, map_location=device, weights_only=True)
        lacking = [name for name in ("made_by", "progress", "parts", "generators")
                   if not isinstance(content.get(name), dict)]
    except Exception as error:  # torch raises a dozen kinds for a damaged file
        raise CheckpointError(f"{path}: found no whole checkpoint ({type(error).__name__}), "
                              f"expected one; {remedy}") from error
    if lacking:
        raise CheckpointError(f"{path}: found a file without {', '.join(lacking)}, "
                              f"expected a checkpoint; {remedy}")
    return content


@contextlib.contextmanager
def _fitting(path):
    """Makes whatever goes wrong with what a whole checkpoint holds a CheckpointError."""
    try:
        yield
    except Exception as error:  # as many kinds as there are parts
        reason = textwrap.shorten(f"{type(error).__name__}: {error}", 150)
        raise CheckpointError(f"{path}: found what does not fit this run's networks ({reason})"
                              ", expected a checkpoint of the same code; start without "
                              "--resume") from error


def compare(path, found, wanted):
    """CheckpointError, with the differences, where a run was made otherwise than wanted."""
    if found != wanted:
        raise CheckpointError(f"{path}: was made with {_difference(found, wanted)}; give the "
                              "same, or start without --resume")


def _difference(found, wanted):
    """In words, the settings in which two runs differ."""
    return ", ".join(f"{key} {found.get(key)!r} where this run has {wanted.get(key)!r}"
                     for key in sorted({*found, *wanted}) if found.get(key) != wanted.get(key))
