"""Every layer that cube.toml enables, in order."""

from pyinfra import host

from deploy.runner import layers

for layer in host.loop(sorted(host.data.layers)):
    layers.apply(layer, run=host.data.layers)
