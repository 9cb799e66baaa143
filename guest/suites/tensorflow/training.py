"""A training under MirroredStrategy. It runs in TensorFlow's environment."""

import math
from typing import Any

from guest.suites.tensorflow.devices import devices_of
from guest.suites.work import hand_back


def train(job: dict[str, Any]) -> None:
    """Train under MirroredStrategy; tell losses and how equal the copies are."""
    import numpy as np
    import tensorflow as tf

    tf.keras.utils.set_random_seed(1)
    strategy = tf.distribute.MirroredStrategy(devices_of(job))
    with strategy.scope():
        model = tf.keras.Sequential(
            [
                tf.keras.layers.Conv2D(8, 3, activation="relu"),
                tf.keras.layers.Flatten(),
                tf.keras.layers.Dense(10),
            ]
        )
        model.build((None, 16, 16, 3))
        optimizer = tf.keras.optimizers.SGD(0.05)
    copies = strategy.num_replicas_in_sync
    source = np.random.default_rng(1)
    images = source.standard_normal((8 * copies, 16, 16, 3)).astype("float32")
    labels = source.integers(0, 10, 8 * copies)

    def part(context: Any) -> Any:
        first = 8 * context.replica_id_in_sync_group
        return images[first : first + 8], labels[first : first + 8]

    batch = [
        strategy.experimental_distribute_values_from_function(
            lambda context, at=at: tf.constant(part(context)[at])
        )
        for at in (0, 1)
    ]

    @tf.function  # type: ignore[untyped-decorator, unused-ignore]
    def step(x: Any, y: Any) -> Any:
        def one(x: Any, y: Any) -> Any:
            with tf.GradientTape() as tape:
                each = tf.nn.sparse_softmax_cross_entropy_with_logits(y, model(x, training=True))
                loss = tf.nn.compute_average_loss(each, global_batch_size=8 * copies)
            grads = tape.gradient(loss, model.trainable_variables)
            optimizer.apply_gradients(zip(grads, model.trainable_variables, strict=True))
            return loss

        return strategy.reduce("SUM", strategy.run(one, args=(x, y)), axis=None)

    losses = [float(step(*batch)) for _ in range(job["steps"])]
    different = []
    for variable in model.trainable_variables:
        values = [one.numpy() for one in strategy.experimental_local_results(variable.value)]
        if len(values) != copies or any((one != values[0]).any() for one in values):
            different.append(variable.path)
    hand_back(
        job,
        {
            "losses": [one if math.isfinite(one) else None for one in losses],
            "copies": copies,
            "variables": len(model.trainable_variables),
            "different": different,
        },
    )
