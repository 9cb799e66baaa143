"""What makes a bare Debian or Ubuntu a Cube: five layers of roles, applied by pyinfra.

Run from the project's folder: ``pyinfra inventory.py deploy/site.py``, one layer
(``deploy/layer1.py``) or one role (``deploy.roles.docker.docker``).
"""
