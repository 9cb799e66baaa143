"""Samples that are taken beside work."""

from guest.suites.sampler import Sampler


def test_work_that_is_shorter_than_a_pause_has_a_sample() -> None:
    sampler = Sampler(read=lambda: 7.0, pause_s=3600)
    with sampler.running():
        pass
    assert [value for _, value in sampler.samples] == [7.0]


def test_what_cannot_be_read_is_a_gap() -> None:
    sampler: Sampler[float] = Sampler(read=lambda: None, pause_s=3600)
    with sampler.running():
        pass
    assert sampler.samples == []
