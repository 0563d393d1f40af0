"""Exercise 2, tasks 2 and 3: one network for all."""

import ex2_classifier
import ex2_classifier_decoding
import ex2_conv_ae
import pytest

from minidl.lab import flags


@pytest.mark.parametrize("size", ["default", "full"])
def test_tasks_2_and_3_have_task_1s_encoder_and_decoder_and_its_training(size):
    task_1, task_2, task_3 = (flags.settings(script.main, script.SIZES, size) for script in (
        ex2_conv_ae, ex2_classifier, ex2_classifier_decoding))
    for name in ("latent", "filters", "hidden"):
        assert task_2[name] == task_1[name], name
    for name in task_3:  # epochs, batch size, rate, images turned
        assert task_3[name] == task_1[name], name
