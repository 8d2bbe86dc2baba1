"""What a program does with the API, by the client that openapi-python-client makes of docs/openapi.yaml.

`mypy --strict` checks it against the description; tests/integration/clients.rs runs it and compares what it prints.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol, assert_never, get_args

import httpx
from appointments_client import AuthenticatedClient, Client, models
from appointments_client.api.appointments import (
    book_appointment,
    cancel_appointment,
    list_appointments,
    move_appointment,
    read_appointment,
)
from appointments_client.api.service import read_health
from appointments_client.api.slots import read_catalog, read_slot
from appointments_client.models import (
    Appointment,
    AppointmentList,
    AppointmentRequest,
    AppointmentWithHistory,
    Health,
    MoveRequest,
    Reason,
    Status,
)
from appointments_client.types import UNSET, Response, Unset

settings: dict[str, Any] = json.loads(sys.argv[1])


class Problem(Protocol):
    """What every problem of every operation has; `code` is of a literal type of its own in each."""

    type_: str
    title: str
    detail: str
    instance: str

    @property
    def code(self) -> str: ...


# Every problem code that an operation promises has to be here, and no other: see `check_advice`.
ADVICE = {
    "already_started": "nothing",
    "appointment_not_found": "look again",
    "body_too_large": "mend the program",
    "catalog_not_found": "ask for another country",
    "empty_body": "mend the program",
    "forbidden": "ask somebody else",
    "idempotency_key_reused": "mend the program",
    "internal": "call support",
    "invalid_body": "correct the fields",
    "invalid_cursor": "begin the list anew",
    "invalid_idempotency_key": "mend the program",
    "invalid_json": "mend the program",
    "invalid_parameter": "correct the fields",
    "method_not_allowed": "mend the program",
    "not_an_object": "mend the program",
    "not_cancellable": "read it again",
    "not_found": "mend the program",
    "not_movable": "read it again",
    "query_too_long": "mend the program",
    "request_timeout": "try again",
    "same_slot": "choose another slot",
    "slot_not_found": "choose another slot",
    "temporarily_unavailable": "try again",
    "unauthorized": "sign in",
    "unsupported_media_type": "mend the program",
}


def check_advice() -> None:
    promised: set[str] = set()
    for name in models.__all__:
        if "Response" in name and name.endswith("Code"):
            promised.update(get_args(getattr(models, name)))
    assert promised == set(ADVICE), promised ^ set(ADVICE)


def is_final(status: Status) -> bool:
    match status:
        case "completed" | "rejected" | "cancelled":
            return True
        case "pending" | "failed" | "cancelling":
            return False
        case unknown:
            assert_never(unknown)


def next_step(reason: Reason) -> str:
    match reason:
        case "slot_taken" | "slot_unknown" | "slot_past" | "slot_withdrawn":
            return "choose another slot"
        case "already_booked" | "already_started" | "moved":
            return "nothing"
        case "too_many_open":
            return "cancel another one"
        case "original_not_booked":
            return "book anew"
        case "processing_failed":
            return "wait"
        case "not_processed":
            return "ask again"
        case unknown:
            assert_never(unknown)


def client_of(base_url: str, token: str) -> AuthenticatedClient:
    return AuthenticatedClient(base_url=base_url, token=token, timeout=httpx.Timeout(60), raise_on_unexpected_status=False)


api = client_of(settings["api"], settings["staff"])


def follow(appointment: Appointment, headers: Any) -> Appointment | AppointmentWithHistory:
    """As the description says: after Retry-After, then in growing pauses, until the status is final."""
    pause = min(float(headers.get("retry-after", 1)), 0.1)
    etag: str | Unset = UNSET
    latest: Appointment | AppointmentWithHistory = appointment
    end = time.monotonic() + 60
    while not is_final(latest.status):
        assert time.monotonic() < end, latest.status
        time.sleep(pause)
        pause = min(2 * pause, 1)
        response = read_appointment.sync_detailed(
            appointment.insured_id, appointment.appointment_id, client=api, if_none_match=etag
        )
        etag = response.headers["etag"]
        if isinstance(response.parsed, AppointmentWithHistory):
            latest = response.parsed
            assert latest.history[-1].status == latest.status
        else:
            assert response.status_code == 304, response
    return latest


def book(insured_id: str, schedule_id: int, key: str | Unset = UNSET) -> Appointment | AppointmentWithHistory:
    body = AppointmentRequest(insured_id=insured_id, schedule_id=schedule_id, country_iso="PE")
    response = book_appointment.sync_detailed(client=api, body=body, idempotency_key=key)
    assert isinstance(response.parsed, Appointment), response
    assert response.headers["location"] == f"/appointments/{insured_id}/{response.parsed.appointment_id}"
    return follow(response.parsed, response.headers)


def appointments_of(insured_id: str) -> Iterator[Appointment]:
    cursor: str | Unset = UNSET
    while True:
        page = list_appointments.sync(insured_id, client=api, limit=1, cursor=cursor)
        assert isinstance(page, AppointmentList), page
        yield from page.appointments
        if page.pagination.next_cursor is None:
            return
        cursor = page.pagination.next_cursor


def cancel(insured_id: str, appointment_id: str) -> Appointment | AppointmentWithHistory:
    response = cancel_appointment.sync_detailed(insured_id, appointment_id, client=api, prefer="wait=10")
    assert isinstance(response.parsed, Appointment), response
    return follow(response.parsed, response.headers)


def read(problem: Problem) -> str:
    assert problem.type_ == f"urn:medical-appointments:problem:{problem.code}"
    assert problem.title and problem.detail and problem.instance.startswith("urn:")
    assert ADVICE[problem.code]
    return problem.code


def problem_of(response: Response[Any]) -> str:
    assert response.status_code >= 400 and response.parsed is not None, response
    return read(response.parsed)


def problem_in(operation: str, response: httpx.Response) -> str:
    """Of a request that no generated function sends, by the model of the operation's response."""
    return read(getattr(models, f"{operation}Response{response.status_code}").from_dict(response.json()))


person: str = settings["person"]
rival: str = settings["rival"]
slot: int = settings["slot"]
key = f"generated-client-{slot}"

check_advice()
booked = book(person, slot, key)
assert booked.status == "completed", booked
rejected = book(rival, slot)
assert rejected.status == "rejected" and not isinstance(rejected.reason, Unset), rejected
assert next_step(rejected.reason) == "choose another slot"
assert booked.appointment_id in [one.appointment_id for one in appointments_of(person)]
kept = book(person, slot + 2)
assert kept.status == "completed", kept
cancelled = cancel(person, booked.appointment_id)
assert cancelled.status == "cancelled", cancelled

ABSENT = "01890f3e-6b7c-7cc2-98c4-dc0c0c07398f"


def slowly() -> Iterator[bytes]:
    yield b"{"
    time.sleep(3)
    yield b"}"


def post(content: bytes | Iterator[bytes], media_type: str = "application/json") -> str:
    response = api.get_httpx_client().post("/appointments", content=content, headers={"Content-Type": media_type})
    return problem_in("BookAppointment", response)


def booking(schedule_id: int, key: str | Unset = UNSET) -> str:
    body = AppointmentRequest(insured_id=person, schedule_id=schedule_id, country_iso="PE")
    return problem_of(book_appointment.sync_detailed(client=api, body=body, idempotency_key=key))


def move(appointment_id: str, schedule_id: int) -> str:
    body = MoveRequest(schedule_id=schedule_id)
    return problem_of(move_appointment.sync_detailed(person, appointment_id, client=api, body=body))


def listing(client: AuthenticatedClient | Client, limit: int | Unset = UNSET, cursor: str | Unset = UNSET) -> str:
    return problem_of(list_appointments.sync_detailed(person, client=client, limit=limit, cursor=cursor))


plain = api.get_httpx_client()
begun: dict[str, str] = settings["begun"]
provoked: dict[str, Callable[[], str]] = {
    "already_started": lambda: problem_of(
        cancel_appointment.sync_detailed(begun["insuredId"], begun["appointmentId"], client=api)
    ),
    "appointment_not_found": lambda: problem_of(read_appointment.sync_detailed(person, ABSENT, client=api)),
    "body_too_large": lambda: post(b'"' + b"x" * 4096 + b'"'),
    "catalog_not_found": lambda: problem_of(read_catalog.sync_detailed("PE", client=api)),
    "empty_body": lambda: post(b""),
    "forbidden": lambda: listing(client_of(settings["api"], settings["other"])),
    "idempotency_key_reused": lambda: booking(slot + 1, key),
    "internal": lambda: listing(client_of(settings["broken"], settings["staff"])),
    "invalid_body": lambda: booking(0),
    "invalid_cursor": lambda: listing(api, cursor="x"),
    "invalid_idempotency_key": lambda: booking(slot, "k" * 129),
    "invalid_json": lambda: post(b"{"),
    "invalid_parameter": lambda: listing(api, limit=0),
    "method_not_allowed": lambda: problem_in("BookAppointment", plain.put("/appointments")),
    "not_an_object": lambda: post(b"[]"),
    "not_cancellable": lambda: problem_of(
        cancel_appointment.sync_detailed(rival, rejected.appointment_id, client=api)
    ),
    "not_found": lambda: problem_in("ListAppointments", plain.get("/nowhere")),
    "not_movable": lambda: move(booked.appointment_id, slot + 3),
    "query_too_long": lambda: listing(api, cursor="x" * 1100),
    "request_timeout": lambda: post(slowly()),
    "same_slot": lambda: move(kept.appointment_id, kept.schedule_id),
    "slot_not_found": lambda: problem_of(read_slot.sync_detailed("PE", slot, client=api)),
    "temporarily_unavailable": lambda: listing(client_of(settings["unavailable"], settings["staff"])),
    "unauthorized": lambda: listing(Client(base_url=settings["api"])),
    "unsupported_media_type": lambda: post(b"{}", "text/plain"),
}
codes = []
for expected, provoke in provoked.items():
    code = provoke()
    assert code == expected, f"{code} in place of {expected}"
    codes.append(code)

health = read_health.sync(client=api)
assert isinstance(health, Health) and health.status == "ok", health
print(
    json.dumps(
        {"booked": booked.status, "rejected": rejected.reason, "cancelled": cancelled.status, "codes": codes}
    )
)
