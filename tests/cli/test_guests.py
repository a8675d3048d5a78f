"""`console` where there is nothing to join yet: said at once, with the way out."""

from diskyard.api.meta import MACHINE, Key
from diskyard.errors import NotFound
from tests import builders
from tests.cli.conftest import Diskyard, Served


def test_a_console_of_nobody_is_told_at_once(diskyard: Diskyard) -> None:
    done = diskyard("console", "nobody")

    assert isinstance(done.exception, NotFound)
    assert "no machine and no instance 'nobody' in the namespace default" in str(done.exception)


def test_a_console_of_a_machine_that_is_off_says_what_it_waits_for(
    diskyard: Diskyard, served: Served
) -> None:
    served.objects.create(MACHINE, builders.machine("resting"))
    stopped = {"status": {"printableStatus": "Stopped"}}
    served.objects.patch(MACHINE, Key("resting", "default"), stopped, "status")

    done = diskyard("console", "resting", "--timeout", "1")

    assert "resting is Stopped: waiting 1 s for it to run; `diskyard start resting` starts it" in done.stderr
