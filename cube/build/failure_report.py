"""What becomes of a build that failed: a line in the log, a report, and the real cause."""

import contextlib
import shutil
from collections.abc import Iterator

from cube.build import doctor, report
from cube.build.timeline import Timeline
from cube.config import Spec
from cube.config.workspace import Workspace
from cube.runtime import log
from cube.runtime.errors import DISK_FULL, MAKE_ROOM, CubeError, HostError

#: With less than this, what failed has failed for lack of space.
FULL_BYTES = 32 * 1024**2


@contextlib.contextmanager
def explained(spec: Spec, work: Workspace, timeline: Timeline) -> Iterator[None]:
    """Tell a failure in the block where it will be looked for; name a full disk as the cause.

    Raises:
        CubeError: what the block raised, or the full disk behind it.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise full_disk(work, str(error)) from error
    except CubeError as error:
        log.debug(f"error: {error.message}\n{error.details}\n{error.hint}")
        if shutil.disk_usage(work.root).free < FULL_BYTES:
            raise full_disk(work, f"{error.message}\n{error.details}") from error
        write_report(spec, work, timeline, error)
        raise


def full_disk(work: Workspace, details: str) -> HostError:
    """Build the error for a full disk."""
    return HostError(
        f"the disk that holds {work.root} is full",
        hint=f"{MAKE_ROOM}; a build needs {doctor.DISK_GIB} GiB; build.dir in cube.toml may be on"
        " a larger disk",
        details=details,
    )


def write_report(spec: Spec, work: Workspace, timeline: Timeline, error: CubeError) -> None:
    """Write how far the build came; what was published before stays as it is."""
    stages = list(timeline.stages().values())
    data = {
        "image": {"name": work.name, "version": spec.image.version},
        "links": [reuse.entry for reuse in timeline.reuses],
        "seconds": timeline.now(),
        **timeline.as_data(slowest=report.SLOWEST),
    }
    stage = stages[-1].text if stages else "before stage 1"
    failure = report.Failure(
        stage=stage, message=error.message, hint=error.hint, details=error.details
    )
    work.work.mkdir(parents=True, exist_ok=True)
    report.write(work.failure, data, failure)
    log.info(f"failure report: {work.failure}")
