"""Roles that say which packages they need, so that a layer installs all of them in one call.

A role is one function. What must lie on the disk before its packages (settings that a daemon
reads when it is started for the first time) stands above its `yield`, everything else below:

    @role("Docker")
    def docker() -> Packages:
        put_atomic(...)
        yield ("docker.io",)
        systemd.units(...)

Each call of apt costs seconds beside the packages: it reads its lists, and runs the triggers of
libraries, manual pages and systemd. A role that needs no packages is a plain `@deploy`; one that
installs them itself, but has something to begin before the roles above it go on, yields none.
"""

from collections.abc import Callable, Generator, Sequence

from pyinfra.api import deploy
from pyinfra.api.exceptions import DeployError

from deploy.operations import apt

#: What the body of a role is: it yields the names of its packages, once.
Packages = Generator[Sequence[str], None, None]


class Started:
    """A role under way on one host."""

    def __init__(self, title: str, steps: Packages) -> None:
        """Begin with nothing done.

        Args:
            title: what stands before the names of its operations.
            steps: its body.
        """
        self._title = title
        self._steps = steps
        #: Names of its packages; known once `before_packages` was called.
        self.packages: Sequence[str] = ()

    def before_packages(self) -> None:
        """Add the operations that come before its packages."""

        @deploy(self._title)
        def first() -> None:
            self.packages = next(self._steps, ())

        first()

    def after_packages(self) -> None:
        """Add all other operations.

        Raises:
            DeployError: it yields packages a second time.
        """

        @deploy(self._title)
        def rest() -> None:
            for more in self._steps:
                raise DeployError(
                    f"the role {self._title} yields its packages twice: of {', '.join(more)} let"
                    " apt.install make an operation"
                )

        rest()


class Role:
    """A role as a layer takes it in two parts; called, it is applied alone."""

    def __init__(self, title: str, body: Callable[[], Packages]) -> None:
        """Keep the body.

        Args:
            title: what stands before the names of its operations.
            body: yields the names of its packages, once.
        """
        self.title = title
        self.body = body
        self.__name__ = body.__name__  # pyinfra's command line shows it
        self.__doc__ = body.__doc__

    def start(self) -> Started:
        """Begin with it on the current host; no operation is added yet."""
        return Started(self.title, self.body())

    def __call__(self) -> None:
        """Add all of its operations for the current host."""
        started = self.start()
        started.before_packages()
        if started.packages:
            name = f"Install the packages of {self.__name__}"
            apt.install(name=name, packages=started.packages)
        started.after_packages()


def role(title: str) -> Callable[[Callable[[], Packages]], Role]:
    """Make a role of a function that yields its packages."""
    return lambda body: Role(title, body)
