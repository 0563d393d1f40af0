"""A checkpoint: all that the rest of a training depends on, in one file."""

import contextlib
import hashlib
import io
import textwrap

import torch

from minidl import UserError
from minidl.files import whole_file

REMEDIES = {"code": " (it was edited since)", "threads": " (OMP_NUM_THREADS sets them)"}


class CheckpointError(UserError):
    """A checkpoint from which a run cannot continue: one sentence."""


class Kept(dict):
    """What a training keeps besides its other parts: name -> a tensor, or a state_dict."""

    def state_dict(self):
        return dict(self)

    def load_state_dict(self, state):
        self.clear()
        self.update(state)


def save(path, made_by, parts, generators, device, **progress):
    """Write the parts' states, every generator's state and the progress (plain values).

    made_by: what must be equal in a run that continues from here. generators: by name.
    """
    states = {name: generator.get_state() for name, generator in generators.items()}
    states["cpu"] = torch.get_rng_state()
    if torch.device(device).type != "cpu":
        states["device"] = on(device).get_rng_state(device)
    data = io.BytesIO()  # not to the disk: torch's error says nothing where it is full
    torch.save({"made_by": made_by, "progress": progress, "generators": states,
                "parts": {name: part.state_dict() for name, part in parts.items()}}, data)
    with whole_file(path) as beside:
        beside.write_bytes(sealed(data.getvalue()))


def sealed(data):
    """A zip file's bytes with their hash as the file's comment, which has been empty."""
    digest = hashlib.sha256(data).hexdigest().encode()
    return data[:-2] + len(digest).to_bytes(2, "little") + digest


def on(device):
    """torch's own module for a device, which has its generator: torch.cuda, torch.mps, ..."""
    return getattr(torch, torch.device(device).type)


def restore(path, made_by, parts, generators, device, *progress):
    """Put parts and generators back as `save` found them; returns the values of `progress`."""
    content = read(path)
    compare(path, content["made_by"], made_by)
    states = content["generators"]
    with _fitting(path):
        if content["parts"].keys() != parts.keys():
            raise KeyError(f"parts {', '.join(content['parts']) or 'none'}")
        found = [content["progress"][name] for name in progress]
    put_back(path, content, parts)
    with _fitting(path):
        for name, generator in generators.items():
            generator.set_state(states[name].cpu())
        torch.set_rng_state(states["cpu"].cpu())
        if torch.device(device).type != "cpu":
            on(device).set_rng_state(states["device"].cpu(), device)
    return found


def put_back(path, content, parts):
    """Load `parts` from a checkpoint's content; CheckpointError where they do not fit."""
    with _fitting(path):
        for name, part in parts.items():
            part.load_state_dict(content["parts"][name])


def read(path, remedy="start without --resume"):
    """The content of a checkpoint; CheckpointError for a damaged or another file."""
    data = path.read_bytes()
    whole = data[:-66] + b"\0\0"  # without its comment
    try:
        if sealed(whole) != data:  # torch.load does not look at the checksums
            raise ValueError("not as it was written")
        content = torch.load(io.BytesIO(whole), map_location="cpu", weights_only=True)
        for name in ("made_by", "progress", "parts", "generators"):
            if not isinstance(content.get(name), dict):
                raise ValueError(f"no {name}")
    except Exception as error:  # torch raises a dozen kinds for a damaged file
        raise CheckpointError(f"{path}: found no complete checkpoint "
                              f"({type(error).__name__}), expected one; {remedy}") from error
    return content


@contextlib.contextmanager
def _fitting(path):
    """Turns any error with the content of a whole checkpoint into a CheckpointError."""
    try:
        yield
    except Exception as error:  # as many kinds as there are parts
        reason = textwrap.shorten(f"{type(error).__name__}: {error}", 150)
        raise CheckpointError(f"{path}: found what does not fit this run's networks ({reason})"
                              ", expected a checkpoint of the same code; start without "
                              "--resume") from error


def compare(path, found, wanted):
    """CheckpointError, with the differences, if a run was made otherwise than wanted."""
    if found != wanted:
        raise CheckpointError(f"{path}: was made with {difference(found, wanted)}; give the "
                              "same, or start without --resume")


def difference(found, wanted):
    """The differences between two runs in words, with a remedy where there is one."""
    keys = [key for key in sorted({*found, *wanted}) if found.get(key) != wanted.get(key)]
    return ", ".join(f"{key} {found.get(key)!r} where this run has {wanted.get(key)!r}"
                     f"{REMEDIES.get(key, '')}" for key in keys)
