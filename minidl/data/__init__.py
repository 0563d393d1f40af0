"""The data sets: images, film reviews, and the embedded sets that replace them."""

from minidl.data.images import (
    Dataset,
    Split,
    balanced,
    batches,
    first_of_each_class,
    load,
    steps,
    steps_per_epoch,
)
from minidl.data.sources import DataError
from minidl.evaluation import to_unit

__all__ = ["DataError", "Dataset", "Split", "balanced", "batches", "first_of_each_class",
           "load", "steps", "steps_per_epoch", "to_unit"]
