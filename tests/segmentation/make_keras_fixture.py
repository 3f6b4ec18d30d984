"""Write random SynthSeg networks as Keras files, and what Keras computes with them.

Run by hand where TensorFlow is installed (``pip install tensorflow-cpu tf-keras``), not by the
tests::

    python tests/segmentation/make_keras_fixture.py tests/segmentation/data

The networks follow the published description; weights and normalisation statistics are random.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np

LEFT = (2, 3, 4, 5, 7, 8, 10, 11, 12, 13, 17, 18, 26, 28)
RIGHT = (41, 42, 43, 44, 46, 47, 49, 50, 51, 52, 53, 54, 58, 60)
LABELS = sorted((0, 14, 15, 16, 24, *LEFT, *RIGHT))


def unet(x, prefix, n_out, features, kernel=3, unskipped=0, levels=5):
    """Logits of a U-Net: skips before normalisation, nearest upsampling, skip first."""
    from tf_keras import layers

    def block(x, name, width):
        for index in range(2):
            x = layers.Conv3D(
                width,
                kernel,
                padding="same",
                activation="elu",
                name=f"{prefix}_conv_{name}_{index}",
            )(x)
        return x

    skips = []
    for level in range(levels):
        skip = block(x, f"downarm_{level}", features * 2**level)
        x = layers.BatchNormalization(name=f"{prefix}_bn_down_{level}")(skip)
        if level < levels - 1:
            skips.append(skip)
            x = layers.MaxPooling3D(2, name=f"{prefix}_maxpool_{level}")(x)
    for step, level in enumerate(reversed(range(levels - 1))):
        x = layers.UpSampling3D(2, name=f"{prefix}_up_{step}")(x)
        if level >= unskipped:
            x = layers.Concatenate(name=f"{prefix}_merge_{step}")([skips[level], x])
        x = block(x, f"uparm_{levels + step}", features * 2**level)
        x = layers.BatchNormalization(name=f"{prefix}_bn_up_{step}")(x)
    return layers.Conv3D(n_out, 1, name=f"{prefix}_likelihood")(x)


def one_hot(logits, name):
    import tensorflow as tf
    from tf_keras import layers

    return layers.Lambda(lambda x: tf.one_hot(tf.argmax(x, -1), x.shape[-1]), name=name)(logits)


def plain(image, features):
    return unet(image, "unet", len(LABELS), features)


def robust(image, features):
    from tf_keras import layers

    groups = one_hot(unet(image, "unet", 5, features), "unet_groups")
    l2l_features = -(-features * 2 // 3)
    denoised = unet(groups, "l2l", 5, l2l_features, kernel=5, unskipped=2)
    both = layers.Concatenate(name="image_and_groups")([image, one_hot(denoised, "l2l_groups")])
    return unet(both, "unet2", len(LABELS), features)


def scores(one_hot, features):
    """Residual encoder, two more convolutions, mean over the volume."""
    from tf_keras import layers

    def convolve(x, name, width, activation="relu"):
        return layers.Conv3D(width, 5, padding="same", activation=activation, name=name)(x)

    x = one_hot
    for level in range(4):
        width = features * 2**level
        deep = convolve(x, f"qc_conv_downarm_{level}_0", width)
        deep = convolve(deep, f"qc_conv_downarm_{level}_1", width, None)
        beside = convolve(x, f"qc_expand_down_merge_{level}", width)
        x = layers.Add(name=f"qc_res_down_merge_{level}")([beside, deep])
        x = layers.Activation("relu", name=f"qc_res_down_merge_act_{level}")(x)
        x = layers.BatchNormalization(name=f"qc_bn_down_{level}")(x)
        x = layers.MaxPooling3D(2, padding="same", name=f"qc_maxpool_{level}")(x)
    for number in range(2):
        x = convolve(x, f"qc_final_conv_{number}", 9)
    return layers.GlobalAveragePooling3D(name="qc_final_pred")(x)


def randomise(model, rng):
    """Weights large enough that every layer matters; statistics that are not zero and one."""
    draws = {
        "kernel": lambda shape: rng.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape),
        "gamma": lambda shape: rng.uniform(0.5, 1.5, shape),
        "moving_variance": lambda shape: rng.uniform(0.5, 1.5, shape),
    }
    for layer in model.layers:
        arrays = []
        for weight in layer.weights:
            name = weight.name.split("/")[-1].partition(":")[0]
            draw = draws.get(name, lambda shape: rng.normal(0, 0.3, shape))
            arrays.append(draw(tuple(weight.shape)))
        layer.set_weights(arrays)


def main():
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    import tf_keras

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shape", type=int, nargs=3, default=(32, 32, 32))
    parser.add_argument("--features", type=int, nargs=2, default=(2, 1), help="plain, robust")
    parser.add_argument("--stride", type=int, default=5, help="of the voxels that are kept")
    options = parser.parse_args()
    swapped = [
        LABELS.index(dict(zip(LEFT + RIGHT, RIGHT + LEFT, strict=True)).get(label, label))
        for label in LABELS
    ]
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, options.shape, dtype=np.uint8)
    for (name, build), features in zip(
        {"unet": plain, "robust": robust}.items(), options.features, strict=True
    ):
        entry = tf_keras.Input((*options.shape, 1))
        model = tf_keras.Model(
            entry, tf_keras.layers.Softmax(name="unet_prediction")(build(entry, features))
        )
        randomise(model, rng)
        model.save_weights(options.folder / f"synthseg_{name}_tiny.h5")
        scaled = (image / np.float32(255))[None, ..., None]
        posteriors = model.predict(scaled, verbose=0)[0]
        mirrored = model.predict(scaled[:, ::-1], verbose=0)[0][::-1][..., swapped]
        some = (slice(None, None, options.stride),) * 3
        np.savez_compressed(
            options.folder / f"synthseg_{name}_tiny.npz",
            image=image,
            stride=options.stride,
            posteriors=posteriors[some],
            averaged=((posteriors + mirrored) / 2)[some],
        )
    groups = rng.integers(0, 9, options.shape, dtype=np.uint8)
    entry = tf_keras.Input((*options.shape, 9))
    model = tf_keras.Model(entry, scores(entry, 2))
    randomise(model, rng)
    model.save_weights(options.folder / "synthseg_qc_tiny.h5")
    predicted = model.predict(np.eye(9, dtype=np.float32)[groups][None], verbose=0)[0]
    np.savez_compressed(options.folder / "synthseg_qc_tiny.npz", groups=groups, scores=predicted)


if __name__ == "__main__":
    main()
