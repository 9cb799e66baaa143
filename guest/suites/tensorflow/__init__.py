"""TensorFlow: devices, operations against float64, memory, a training step."""
