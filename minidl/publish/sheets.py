"""What the five course documents ask for, item by item, and which files answer it.

A script or proof says so in a comment of its own: `# sheet: S3.1, S3.2`. An item's words here
are ours, not the sheet's. tests/test_whole_runs.py checks that each item has an answer.
"""

import re
from pathlib import Path

SHEETS = {"S1": "Homework 1, supervised learning", "S0": "Homework 2, unsupervised learning",
          "S2": "A report on homework 2", "S3": "Exercise 2, autoencoder and transfer",
          "S4": "Assignment 8, embeddings and sequences"}
ITEMS = {
    "S1.1a": "a regression", "S1.1b": "a classification",
    "S1.2": "optimizers and regularisation, on both tasks",
    "S1.3": "hyper-parameters by search and cross-validation, on both tasks",
    "S1.4": "a CNN for the classification",
    "S1.5a": "weight histograms", "S1.5b": "activation profiles", "S1.5c": "receptive fields",
    "S1.6": "further: feature maps, and inputs that maximise an activation",
    "S0.1a": "a convolutional autoencoder, its loss over time, reconstructions",
    "S0.1b": "optimizers and regularisation for it",
    "S0.2": "its hyper-parameters by search, cross-validated",
    "S0.3": "the encoder fine-tuned on labels, against homework 1: accuracy and speed",
    "S0.4a": "the latent space: PCA, t-SNE", "S0.4b": "new samples from latent codes",
    "S0.5a": "advanced: a variational autoencoder", "S0.5b": "advanced: a GAN",
    "S0.5c": "advanced: SimCLR", "S0.6": "denoising",
    "S2.1": "the report's network, trained", "S2.2": "its genetic search",
    "S2.3": "samples and reconstructions after 1, 15 and 30 epochs",
    "S2.4": "its denoising", "S2.5": "PCA of its latents in 2-D and 3-D",
    "S2.6": "its test loss",
    "S3.1": "task 1: an autoencoder; its architecture, d, reconstructions, mean L1",
    "S3.2": "task 2: a classifier on the same encoder; errors and accuracies",
    "S3.3a": "task 3: decoding the classifier; what each encoder is trained to keep",
    "S3.3b": "task 3 (b): variability within a digit",
    "S3.3c": "task 3 (c): separation between digits",
    "S3.4": "task 4: 100 labels; losses, accuracies, over-fitting",
    "S3.5": "task 5: the autoencoder's encoder fine-tuned on them",
    "S3.6": "theory 1: a convolution is time and space invariant",
    "S3.7a": "theory 2 (a): an additive constant", "S3.7b": "theory 2 (b): a nonlinearity",
    "S3.7c": "theory 2 (c): strided pooling", "S3.7d": "theory 2 (d): a CNN of all these",
    "S3.8a": "theory 3 (a): the Jacobian of a bias",
    "S3.8b": "theory 3 (b): of a matrix product", "S3.8c": "theory 3 (c): of a convolution",
    "S4.1": "1: a SELU autoencoder of MNIST; loss history, reconstructions",
    "S4.2": "2: a convolutional one, and the two compared",
    "S4.3a": "3: the KL of two Gaussians reduces to the VAE's term",
    "S4.3b": "3: a VAE's forward pass in pseudo-code",
    "S4.4": "4: a simple RNN: its equations, written, trained on reviews, evaluated",
    "S4.5a": "5: a 1-D CNN's forward pass in equations, and all sizes",
    "S4.5b": "5: the number of its trained parameters",
}
ANSWERS = {  # item -> its script, and the numbers, figures and tables that answer it there
    "S1.1a": ("hw1_regression", "test_mse", "noise_floor_mse", "fit"),
    "S1.1b": ("hw1_classification", "test_accuracy_mlp", "layers_mlp", "loss"),
    "S1.2": ("hw1_optimizers", "test_accuracy_base", "classification_optimizer",
             "classification_regularisation"),
    "S1.3": ("hw1_tuning", "test_accuracy", "cross_validated_random", "trials"),
    "S1.4": ("hw1_classification", "test_accuracy_cnn", "cross_validated_accuracy_cnn",
             "errors_by_class"),
    "S1.5a": ("hw1_features", "weights_before_after"),
    "S1.5b": ("hw1_features", "activation_profile"),
    "S1.5c": ("hw1_features", "receptive_fields_that_agree", "receptive_fields"),
    "S1.6": ("hw1_features", "activation_maximisation"),
    "S0.1a": ("hw2_conv_ae", "test_mse", "loss", "reconstructions"),
    "S0.1b": ("hw2_conv_ae_study", "test_mse_base", "test_mse_SGD", "test_mse"),
    "S0.2": ("hw2_tuning", "cross_validated_mse_random_search", "test_mse", "trials"),
    "S0.3": ("hw2_fine_tuning", "test_accuracy_all_autoencoder_s_weights",
             "test_accuracy_all_homework_1_s_result", "speed_few"),
    "S0.4a": ("hw2_latent_space", "trustworthiness_t_SNE_2_D", "codes_t_SNE_2_D"),
    "S0.4b": ("hw2_latent_space", "new_images"),
    "S0.5a": ("hw2_vae", "test_nats", "samples"),
    "S0.5b": ("hw2_gan", "frechet_distance", "classes_covered", "samples_over_time"),
    "S0.5c": ("hw2_simclr", "probe_accuracy", "probe_accuracy_supervised", "scores"),
    "S0.6": ("hw2_denoising", "psnr_gain_db", "images_Gaussian"),
    "S2.1": ("hw2_report_vae", "test_nats", "loss"),
    "S2.2": ("hw2_report_vae_search", "best_val_nats_genetic_search_Adadelta", "searches"),
    "S2.3": ("hw2_report_vae", "samples", "reconstructions"),
    "S2.4": ("hw2_report_vae", "denoising"),
    "S2.5": ("hw2_report_vae", "latents_2d", "latents_3d"),
    "S2.6": ("hw2_report_vae", "test_nats", "loss"),
    "S3.1": ("ex2_conv_ae", "test_l1", "layers", "digits"),
    "S3.2": ("ex2_classifier", "test_accuracy", "train_accuracy", "error", "accuracy"),
    "S3.3a": ("ex2_classifier_decoding", "test_l1", "autoencoder_test_l1", "digits"),
    "S3.3b": ("ex2_classifier_decoding", "b_within"),
    "S3.3c": ("ex2_classifier_decoding", "c_distance"),
    "S3.4": ("ex2_few_labels", "test_accuracy_plain", "overfitting_gap_plain", "loss",
             "accuracy"),
    "S3.5": ("ex2_transfer", "test_accuracy_transfer", "paired_gain", "loss", "accuracy"),
    "S4.1": ("asst8_fc_ae", "test_mse", "loss", "reconstructions"),
    "S4.2": ("asst8_conv_ae", "test_mse", "test_mse_CNN_30", "reconstructions"),
    "S4.4": ("asst8_rnn", "test_accuracy_last", "loss"),
    "S4.5a": ("asst8_text_cnn", "test_accuracy", "layers_15_14"),
    "S4.5b": ("asst8_text_cnn", "parameters_figure_15_14", "parameters"),
}  # an item that is not here is theory: proven in the files with its tag
NOT_OURS = {"S4.6": "a project idea: three beginnings in assignments/asst8_project_ideas.md"}
HEADLINES = {  # script -> its headline numbers, each with its words in results/README.md
    "ex2_conv_ae": {"test_l1": "test L1", "PCA_test_l1": "clipped PCA"},
    "ex2_conv_ae_study": {"test_l1_base": "test L1 of the base",
                          "black_image_test_l1": "of a black image"},
    "ex2_classifier": {"test_accuracy": "test accuracy"},
    "ex2_classifier_decoding": {"test_l1": "test L1", "autoencoder_test_l1": "autoencoder"},
    "ex2_few_labels": {"test_accuracy_plain": "test accuracy",
                       "test_accuracy_best": "with augmentation"},
    "ex2_few_labels_study": {
        "test_accuracy_plain_300_labels": "test accuracy with 300 labels",
        "test_accuracy_best_100_labels": "with 100, augmented"},
    "ex2_transfer": {"test_accuracy_plain": "test accuracy from random weights",
                     "test_accuracy_transfer": "from task 1's encoder",
                     "paired_gain": "paired gain"},
    "ex2_transfer_study": {"test_accuracy_augmented_longer": "test accuracy with the 100",
                           "test_accuracy_stretch": "and the unlabelled images"},
    "hw1_regression": {"test_mse": "test MSE", "noise_floor_mse": "noise floor",
                       "test_mse_untuned": "untuned"},
    "hw1_classification": {"test_accuracy_mlp": "test accuracy of the MLP",
                           "test_accuracy_cnn": "test accuracy of the CNN"},
    "hw1_optimizers": {"test_accuracy_base": "test accuracy of the base",
                       "test_accuracy_SGD": "of SGD instead"},
    "hw1_tuning": {"test_accuracy": "test accuracy of the best",
                   "test_accuracy_untuned": "untuned"},
    "hw1_features": {"receptive_fields_that_agree": "layers with the computed receptive field",
                     "classified_correctly_smoothness":
                         "maximising inputs classified correctly",
                     "classified_correctly_no_regularisation": "without regularisation"},
    "hw2_conv_ae": {"test_mse": "test MSE", "test_mse_fully_connected": "fully connected",
                    "pca_test_mse": "clipped PCA"},
    "hw2_conv_ae_study": {"test_mse_base": "test MSE of the base",
                          "test_mse_SGD": "of SGD instead"},
    "hw2_tuning": {"test_mse": "test MSE of the best", "test_mse_untuned": "untuned"},
    "hw2_denoising": {"psnr_gain_db": "gain in PSNR"},
    "hw2_fine_tuning": {
        "steps_to_85_all_random_weights": "steps to 85% from random weights",
        "steps_to_85_all_autoencoder_s_weights": "fine-tuned"},
    "hw2_latent_space": {"trustworthiness_t_SNE_2_D": "trustworthiness of t-SNE",
                         "trustworthiness_PCA_2_D": "of PCA in 2-D"},
    "hw2_vae": {"test_nats": "-ELBO of the test images",
                "test_nats_2_latents": "of 2 latents"},
    "hw2_vae_study": {"val_nats_beta_1": "validation -ELBO with beta = 1",
                      "val_nats_beta_784": "784"},
    "hw2_report_vae": {"test_nats": "-ELBO of the test images"},
    "hw2_report_vae_search": {
        "best_val_nats_genetic_search_Adadelta": "validation -ELBO of the genetic search",
        "best_val_nats_random_search_Adadelta": "of random search",
        "test_nats_Adadelta": "test -ELBO with the report's settings",
        "test_nats_hw2_report_vae": "with ours"},
    "hw2_simclr": {"probe_accuracy": "test accuracy of a linear probe",
                   "probe_accuracy_raw_pixels": "raw pixels",
                   "probe_accuracy_supervised": "supervised"},
    "hw2_simclr_study": {"augmentations_all": "validation accuracy with all",
                         "augmentations_without_crop": "without the crop",
                         "augmentations_none": "with none"},
    "hw2_gan": {"frechet_distance": "Fréchet distance", "frechet_floor": "of real images",
                "classes_covered": "classes covered"},
    "hw2_gan_study": {
        "distance_non_saturating_80_ahead": "Fréchet distance, D far ahead",
        "distance_saturating_80_ahead": "saturating"},
    "asst8_fc_ae": {"test_mse": "test MSE", "pca_test_mse": "clipped PCA"},
    "asst8_fc_ae_study": {
        "val_bce_15_layers_LeCun": "validation BCE of 15 layers with LeCun's weights",
        "val_bce_15_layers_default": "with torch's"},
    "asst8_conv_ae": {"test_mse": "test MSE", "test_mse_CNN_30": "30 dimensions",
                      "test_mse_FC_30": "30 dimensions, fully connected"},
    "asst8_rnn": {"test_accuracy_unpacked": "test accuracy at the last (padded) step",
                  "test_accuracy_last": "at the last real word", "test_accuracy_best": "best",
                  "test_accuracy_bag_of_words": "bag of words",
                  "test_accuracy_words_and_pairs": "words and pairs"},
    "asst8_rnn_study": {"val_accuracy_identity_start": "validation accuracy, identity start",
                        "val_accuracy_default_start": "default initialisation",
                        "gradient_per_word_default_start": "its gradient's factor"},
    "asst8_text_cnn": {"test_accuracy": "test accuracy",
                       "test_accuracy_bag_of_words": "bag of words",
                       "test_accuracy_words_and_pairs": "words and pairs"},
}
BEGIN = {  # sheet -> the script to begin with
    "S1": "hw1_classification", "S0": "hw2_conv_ae", "S2": "hw2_report_vae",
    "S3": "ex2_conv_ae", "S4": "asst8_fc_ae"}
TAG = re.compile(r"\s*# sheet: (\w+\.\w+(?:, \w+\.\w+)*)$")


def tags(path):
    """(line, item) of each tag in a file, in order."""
    return [(number, item) for number, line in enumerate(
                Path(path).read_text(encoding="utf-8").splitlines(), 1)
            for match in [TAG.match(line)] if match for item in match[1].split(", ")]


def answers(root):
    """item -> the scripts and proofs tagged with it: the script of ANSWERS comes first."""
    root, found = Path(root), {}
    for path in sorted([*root.glob("assignments/*.py"), *root.glob("theory/**/*.py")]):
        for _, item in tags(path):
            found.setdefault(item, []).append(path)
    for item, (script, *_) in ANSWERS.items():
        found.get(item, []).sort(key=lambda path: path.stem != script)
    return found


def home(script):
    """The first item that a script is the answer to, or None."""
    return next((item for item, (own, *_) in ANSWERS.items() if own == script), None)
