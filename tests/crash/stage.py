"""One till for one run: a real daemon that dies and comes back, its ledger read from the file or the server.

`Stage(scene, logs, case)` has a sandbox, a configuration and a ledger of its own; `call` is a POS that repeats
its call with the same ids until it is answered, and an operator who starts the daemon again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from crash import ledger
from crash.plan import SHARED, Case
from rigs.daemon import PROGRAM as WORKED_EXAMPLE
from rigs.daemon import Logs, Shop, wait_until
from rigs.pos import Pos
from rigs.postgres import Postgres
from rigs.warm import Nursery, Warm
from tilltap.sandbox.service import NewPass

# What a fault's own delay is set to: within `settle`, so that what comes late has come when it is read back.
DELAY_S = 0.4
# How long a call is repeated. A daemon starts in a fifth of a second, a service that hangs is left after 8 s.
PATIENCE_S = 40.0
# A look at a daemon that starts, at a ledger that is being brought up to date.
LOOK_S = 0.03
# A look at a server is a connection to it.
LOOK_SHARED_S = 0.15
# The customer of every story, and one whose only part is to be asked about.
HELD, STRANGER = "zz-secret-cust-held", "zz-secret-cust-stranger"
HELD_POINTS = 4
# A redemption takes the reward's cost, so that one counted twice cannot hide in a balance of nothing.
PROGRAM = WORKED_EXAMPLE.replace('discount = "5.00"', 'discount = "5.00"\non_redeem = "subtract"')


@dataclass
class Scene:
    """What all runs have in common. `postgres` None: only stories on files."""

    nursery: Nursery
    postgres: Postgres | None = None


class Stage(Shop):
    program = PROGRAM

    def __init__(self, scene: Scene, logs: Logs, case: Case, beside: Stage | None = None) -> None:
        self.scene, self.case = scene, case
        self.shared = case.story in SHARED
        self.crash_at = f"{case.point}:{case.count}"
        self.other: Stage | None = None
        self.crashes = 0
        super().__init__(
            logs,
            NewPass(HELD, HELD_POINTS),
            NewPass(STRANGER, 0),
            program=PROGRAM,
            readers="",
            beside=beside,
            till="till-2" if beside else "till-1",
            ledger=beside.ledger if beside else "sqlite:///ledger.db",
        )
        if self.shared and beside is None:
            assert scene.postgres is not None
            self._server = scene.postgres
            self.database = self._server.database().split("/")[3].partition("?")[0]
            self.reach_again()
            self.ledger = f"postgresql://tilltap@/{self.database}?host={self.folder}/server"
            self.configure(PROGRAM)

    def __exit__(self, *how: object) -> None:
        if self.other:
            self.other.__exit__(*how)
        super().__exit__(*how)
        if self.shared and self._own_sandbox:
            self._server.admin(f"DROP DATABASE {self.database} WITH (FORCE)")

    # the daemon

    def launch(self, *, crash_at: str = "") -> Warm:
        self.daemon = self.scene.nursery.launch(
            ["run", "--config", str(self.config)], {"TILLTAP_CRASH_AT": crash_at}, self.logs.new("run")
        )
        return self.daemon

    def curtain(self) -> None:
        """The first start: with the crash point, unless the story sets it later."""
        match self.case.story:
            case "spool":
                self.launch()
            case "freeze":
                self.other = Stage(self.scene, self.logs, self.case, beside=self)
                self.other.launch()
                self.launch(crash_at=f"P4:1:stop,{self.crash_at}")
            case _:
                self.launch(crash_at=self.crash_at)

    def revive(self) -> None:
        """Starts a daemon that a crash point has killed; any other end is a fault of its own."""
        if not self.running:
            assert self.daemon is not None
            assert self.daemon.exit_code == -9, (
                f"ended with {self.daemon.exit_code}: {self.daemon.said()[-3:]}"
            )
            self.crashes += 1
            self.launch()

    # the POS

    def call(self, method: str, **params: Any) -> Any:
        """Its answer, in the end. What is refused for good is an error of the story."""
        until, last = time.monotonic() + PATIENCE_S, ""
        while time.monotonic() < until:
            self.revive()
            try:
                with Pos(self.socket) as pos:
                    reply = pos.call(method, **params)
            except (OSError, EOFError) as error:
                last = type(error).__name__
            else:
                if "result" in reply:
                    return reply["result"]
                last = error = reply["error"].get("data", {})
                # With this fault the service itself says, once, that it does not know the pass.
                lied_to = error.get("code") == "unknown-pass" and self.case.fault == "404"
                if not error.get("retry") and error.get("code") != "offline" and not lied_to:
                    raise AssertionError(f"{method}: {reply['error']}")
            time.sleep(LOOK_S)
        assert self.daemon is not None
        raise AssertionError(
            f"{method} was not answered for {PATIENCE_S:.0f} s: {last}, {self.daemon.said()[-5:]}"
        )

    def arm(self) -> None:
        self.sandbox.fault(self.case.fault, endpoint=self.case.endpoint, seconds=DELAY_S)

    def glance(self) -> None:
        """In every other case the phone is looked at before the next sale: with most faults it has followed."""
        if self.case.count % 2:
            until = time.monotonic() + 2 * DELAY_S
            while time.monotonic() < until and self.running and self._behind() != (0, 0):
                time.sleep(LOOK_S)

    # the ledger, from outside

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What the file (or the server) says, past the daemon."""
        if self.shared:
            return [tuple(row) for row in self._server.admin(query, self.database)]
        return ledger.rows(self.folder / "ledger.db", query)

    def _behind(self) -> tuple[int, int]:
        (found,) = self.rows(ledger.BEHIND)
        return found[0], found[1]

    def drain(self, within: float) -> bool:
        """Until every pass is up to date and read back, with the help a person gives; False: it never was."""
        until = time.monotonic() + within
        helped = 0.0
        while time.monotonic() < until:
            for stage in filter(None, (self, self.other)):
                stage.revive()
            behind, parked = self._behind()
            if not behind and not self._spooled():
                return True
            if time.monotonic() - helped > 1.0:
                helped = time.monotonic()
                if parked:
                    self.call("mirror.retry")
                if self.case.fault == "401":
                    # A refused key is tried again every half minute; any answer that comes through ends the pause.
                    self.call("customer.find", value=STRANGER)
            time.sleep(LOOK_SHARED_S if self.shared else LOOK_S)
        return False

    def _spooled(self) -> int:
        if self.case.story != "spool":
            return 0
        return int(ledger.rows(self.folder / "spool.db", "SELECT count(*) FROM spooled")[0][0])

    # a shared ledger

    def cut_off(self) -> None:
        """This till's way to the server is gone; the server is not."""
        (self.folder / "server").unlink()
        self._server.admin(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{self.database}'"
        )

    def reach_again(self) -> None:
        (self.folder / "server").symlink_to(self._server.folder)

    def age_leases(self) -> None:
        """As if the leases under way had run out."""
        self._server.admin(
            "UPDATE mirror SET lease_until = extract(epoch FROM now()) - 1 WHERE lease_until > 0",
            self.database,
        )

    def lease_owner(self) -> str:
        (row,) = self.rows("SELECT lease_owner FROM mirror WHERE dirty = 1 OR settle IS NOT NULL")[:1] or [
            ("",)
        ]
        return str(row[0])


__all__ = ["HELD", "HELD_POINTS", "STRANGER", "Scene", "Stage", "wait_until"]
