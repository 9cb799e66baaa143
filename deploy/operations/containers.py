"""Containers that run while their engine is restarted."""

from shlex import quote

from deploy.runner.allowed import advice, allows

HARM = "stop-containers"
_REFUSAL = (
    "a restart of Docker would end the containers that run: stop them, or set live-restore to true"
    " in /etc/docker/daemon.json and run systemctl reload docker (a swarm has no live-restore),"
    f" {advice(HARM)}"
)
#: Succeeds where a restart ends no container. Source: docs.docker.com, "Live restore".
LIVE_ON = (
    "{ ! systemctl is-active --quiet docker.service"
    " || [ \"$(docker info --format '{{.LiveRestoreEnabled}}' 2>/dev/null)\" = true ]"
    ' || [ -z "$(docker ps -q 2>/dev/null)" ]'
    f" || {{ echo {quote(_REFUSAL)} >&2; false; }}; }}"
)
#: Packages whose upgrade restarts the engine. Source: their postinst, deb-systemd-invoke restart.
ENGINES = ("docker.io", "docker-ce", "moby-engine")


def spared() -> str:
    """Return a command that fails where a restart of Docker would end containers.

    Empty where that is allowed.
    """
    return "" if allows(HARM) else LIVE_ON
