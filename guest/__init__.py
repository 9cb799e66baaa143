"""Programs that run on the box: the distribution's Python and its standard library only.

A role installs this folder as /usr/local/lib/cube/guest; launchers in /usr/local/bin start it.
"""
