"""The dashboard cube-top: this box on one screen.

It needs python3-rich and python3-psutil beside the standard library. What cannot be read is left
out or named; nothing here needs root, a GPU or a clever terminal.
"""
