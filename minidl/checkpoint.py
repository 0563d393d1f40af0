"""All that the rest of a training depends on, in one file, written whole."""

import io
import zipfile

import torch

from minidl.files import whole_file


class CheckpointError(Exception):
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
    path.parent.mkdir(exist_ok=True)
    with whole_file(path) as beside:
        torch.save(content, beside)


def restore(path, made_by, parts, generator, device):
    """Put parts and generators back as `save` found them; returns the progress."""
    content = read(path, device)
    if content["made_by"] != made_by:
        difference = _difference(content["made_by"], made_by)
        raise CheckpointError(f"{path}: was made with {difference}; give the same, or start "
                              "without --resume")
    for name, state in content["parts"].items():
        parts[name].load_state_dict(state)
    generators = content["generators"]
    generator.set_state(generators["order"].cpu())
    torch.set_rng_state(generators["cpu"].cpu())
    torch.cuda.set_rng_state_all([state.cpu() for state in generators["cuda"]])
    return content["progress"]


def read(path, device="cpu"):
    """The content of a checkpoint; CheckpointError for a file that is none, or damaged."""
    data = io.BytesIO(path.read_bytes())
    try:
        if bad := zipfile.ZipFile(data).testzip():  # torch.load does not look at the checksums
            raise ValueError(f"{bad} is damaged")
        data.seek(0)
        content = torch.load(data, map_location=device, weights_only=True)
        missing = {"made_by", "progress", "parts", "generators"} - content.keys()
    except Exception as error:  # torch raises a dozen kinds for a damaged file
        raise CheckpointError(f"{path}: found no whole checkpoint ({type(error).__name__}), "
                              "expected one; start without --resume") from error
    if missing:
        raise CheckpointError(f"{path}: found a file without {', '.join(sorted(missing))}, "
                              "expected a checkpoint; start without --resume")
    return content


def _difference(found, wanted):
    """In words, the settings in which two runs differ."""
    return ", ".join(f"{key} {found.get(key)!r} where this run has {wanted.get(key)!r}"
                     for key in sorted({*found, *wanted}) if found.get(key) != wanted.get(key))
