"""A batch that stands still, in virtual time."""

from hypothesis import given
from hypothesis import strategies as st

from stoker_worker.domain.watchdog import TIMES, Progress, Watchdog

PATIENCE = 120.0


class Watched:
    """A watchdog that looks every second at a batch; it must never look at the real clock."""

    def __init__(self) -> None:
        self.dog = Watchdog(PATIENCE, interval=1.0)
        self.now = 1000.0
        self.at = Progress(0, "a", 0)

    def steps(self, count: int, every: int) -> None:
        """So many steps, each after so many seconds."""
        for _ in range(count):
            assert self.still(every) is None
            self.at = Progress(self.at.batch, self.at.key, self.at.steps + 1)

    def still(self, seconds: int) -> float | None:
        """What the last look says after so many seconds without a step."""
        said = None
        for _ in range(seconds):
            self.now += 1
            said = self.dog.look(self.now, self.at)
        return said

    def stopped(self, seconds: float) -> None:
        """The whole process stands still, and the look that was due comes when it goes on."""
        self.now += seconds
        assert self.dog.look(self.now, self.at) is None


def test_a_batch_without_a_step_is_hung_once_its_time_is_over() -> None:
    watched = Watched()
    watched.steps(3, every=2)

    assert watched.still(119) is None
    assert watched.still(3) == PATIENCE + 1


def test_what_may_take_its_time_in_any_case_has_it() -> None:
    watched = Watched()
    watched.at = Progress(-1, None, 0, least=300.0)

    assert watched.still(300) is None
    assert watched.still(2) == 301


def test_each_step_starts_the_time_anew() -> None:
    watched = Watched()

    watched.steps(50, every=100)

    assert watched.still(119) is None


def test_a_model_of_long_steps_is_given_many_times_its_longest() -> None:
    watched = Watched()
    watched.steps(3, every=10)

    assert watched.still(TIMES * 10) is None
    assert watched.still(25) is not None


def test_long_steps_of_one_key_say_nothing_of_another() -> None:
    watched = Watched()
    watched.steps(3, every=50)
    watched.at = Progress(1, "b", 0)

    assert watched.still(122) is not None


def test_a_process_that_stood_still_is_not_hung_when_it_goes_on() -> None:
    watched = Watched()
    watched.steps(1, every=1)
    watched.still(100)

    watched.stopped(3600)

    assert watched.still(120) is None
    assert watched.still(2) is not None


def test_the_time_that_a_process_stood_still_is_no_pause_of_its_model() -> None:
    watched = Watched()
    watched.steps(1, every=1)
    watched.stopped(3600)
    watched.steps(1, every=1)

    assert watched.still(123) is not None


def test_nothing_hangs_while_nothing_runs() -> None:
    watched = Watched()
    for _ in range(1000):
        watched.now += 1
        assert watched.dog.look(watched.now, None) is None

    assert watched.still(120) is None


@given(st.lists(st.tuples(st.floats(0.01, 300), st.booleans(), st.booleans()), max_size=200))
def test_no_batch_is_hung_that_was_watched_for_less_than_its_time(course: list[tuple[float, bool, bool]]) -> None:
    dog = Watchdog(PATIENCE, interval=1.0)
    now = watched = 0.0
    steps = 0
    for seconds, stepped, running in course:
        now += seconds
        steps += stepped
        watched = watched + seconds if seconds <= 2.0 and not stepped and running else 0.0
        said = dog.look(now, Progress(0, "a", steps) if running else None)
        assert said is None or PATIENCE < said <= watched + 2.0
