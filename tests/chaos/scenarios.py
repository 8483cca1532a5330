"""The six ways in which a run goes wrong."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One row of the table."""

    name: str
    what: str
    calls: int
    seconds: float
    """In which the live calls begin."""
    cel: str = "postgresql"
    kills: int = 0
    probeable: bool = False
    crm_outages: float = 0.0
    """Seconds between them; 0: none."""
    longest_outage: float = 3.0
    cel_restarts: int = 0
    full_disks: int = 0
    long_outage: float = 0.0
    past: int = 0
    """Calls before the first start, that replays ask for."""
    schedule: tuple[str, ...] = ("300ms", "500ms", *["1s"] * 10, *["2s"] * 40)
    late_rows: float = 0.0
    """Seconds that a second writer holds rows back, behind others of higher ids."""
    grace: float = 0.5
    timeout: float = 1.5
    probe_after: float = 1.0
    workers: int = 4
    sabotage: str = ""
    """One of SABOTAGES, or nothing."""

    @property
    def late(self) -> float:
        """The CRM takes a call at most so long after its connection was cut."""
        return 0.9 * self.probe_after


SABOTAGES = ("unasked", "unordered", "lost-store", "lost-wal")
"""What must make a run fail, so that it is seen to be able to: the CRM is never asked although it could be; no
number is known outside the rows; with each kill the whole store is gone, or what was committed last."""

LONG = (
    Scenario(
        name="kills", what="kill -9; the CRM cannot be asked",
        calls=5000, seconds=420, kills=105, late_rows=0.6, grace=1.5, crm_outages=40,
    ),
    Scenario(
        name="kills-asked", what="kill -9; the CRM can be asked",
        calls=5000, seconds=420, kills=105, late_rows=0.6, grace=1.5, probeable=True, crm_outages=40,
    ),
    Scenario(
        name="cel-restarts", what="the CEL database restarts; kill -9",
        calls=800, seconds=120, cel="mariadb", kills=12, cel_restarts=8, crm_outages=60,
    ),
    Scenario(
        name="full-disk", what="the disk of the store is full at times; kill -9",
        calls=800, seconds=120, cel="sqlite", kills=12, full_disks=8,
    ),
    Scenario(
        name="crm-down", what="the CRM is down for a long while",
        calls=400, seconds=80, long_outage=60, schedule=("300ms", "300ms"),
    ),
    Scenario(
        name="replays", what="replays beside live calls; kill -9",
        calls=800, seconds=120, past=1500, kills=20, crm_outages=60,
    ),
)  # fmt: skip

_SHORT = {
    "kills": {"calls": 400, "seconds": 35, "kills": 9, "crm_outages": 15},
    "kills-asked": {"calls": 400, "seconds": 35, "kills": 9, "crm_outages": 15},
    "cel-restarts": {"calls": 200, "seconds": 25, "kills": 3, "cel_restarts": 3, "crm_outages": 0},
    "full-disk": {"calls": 200, "seconds": 25, "kills": 3, "full_disks": 2},
    "crm-down": {"calls": 100, "seconds": 20, "long_outage": 12},
    "replays": {"calls": 200, "seconds": 25, "kills": 4, "past": 300, "crm_outages": 0},
}

SHORT = tuple(replace(scenario, **_SHORT[scenario.name]) for scenario in LONG)  # type: ignore[arg-type]
