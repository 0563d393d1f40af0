"""Exercise 2: one network for all of its tasks."""

import ex2_classifier
import ex2_classifier_decoding
import ex2_conv_ae
import ex2_few_labels
import ex2_transfer
import ex2_transfer_study
import pytest

from minidl.lab import flags


@pytest.mark.parametrize("size", ["default", "full"])
def test_tasks_2_to_5_have_task_1s_encoder_and_task_3_its_training_too(size):
    task_1, task_3, *others = (flags.settings(script.main, script.SIZES, size) for script in (
        ex2_conv_ae, ex2_classifier_decoding, ex2_classifier, ex2_few_labels, ex2_transfer,
        ex2_transfer_study))
    assert task_3.items() <= task_1.items()  # epochs, batch size, rate, images turned
    for other in others:
        for name in ("filters", "hidden", "images"):
            assert other[name] == task_1[name], name
