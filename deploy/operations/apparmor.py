"""AppArmor's profiles, compiled before the image boots for the first time."""

from collections.abc import Generator

from pyinfra import host
from pyinfra.api import operation

from deploy.facts.apparmor import FEATURES, PROFILES, Cache

PARSER = f"apparmor_parser --quiet --kernel-features {FEATURES}"


@operation()
def compile_profiles() -> Generator[str, None, None]:
    """Compile every profile for the kernel that the image boots, which then loads them only.

    A kernel that is another one by then compiles them itself. Nothing is loaded here: the
    kernel that runs may be another machine's.
    """
    if host.get_fact(Cache) == "stale":
        yield (
            f"{PARSER} --skip-kernel-load --write-cache {PROFILES}"
            f' && touch "$({PARSER} --print-cache-dir)/.features"'
        )
