// What a front end does with the API, by the client that openapi-typescript and openapi-fetch make of docs/openapi.yaml.
// `tsc` checks it against the description; tests/integration/clients.rs runs it and compares what it prints.

import assert from "node:assert/strict";
import { request } from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import createClient from "openapi-fetch";
import type { components, operations, paths } from "./schema.js";

type Appointment = components["schemas"]["Appointment"];
type Reason = components["schemas"]["Reason"];
type Status = components["schemas"]["Status"];

// Every problem code of every operation, as the description promises them.
type Codes<Operation> = Operation extends { responses: infer Responses }
  ? {
      [Code in keyof Responses]: Responses[Code] extends {
        content: { "application/problem+json": infer Problem extends components["schemas"]["Problem"] };
      }
        ? Problem["code"]
        : never;
    }[keyof Responses]
  : never;
type ProblemCode = { [Id in keyof operations]: Codes<operations[Id]> }[keyof operations];
type Problem = components["schemas"]["Problem"] & { code: ProblemCode };

// `tsc` refuses a code, a status or a reason that is missing here, or that there is not.
const ADVICE = {
  already_started: "nothing",
  appointment_not_found: "look again",
  body_too_large: "mend the program",
  catalog_not_found: "ask for another country",
  empty_body: "mend the program",
  forbidden: "ask somebody else",
  idempotency_key_reused: "mend the program",
  internal: "call support",
  invalid_body: "correct the fields",
  invalid_cursor: "begin the list anew",
  invalid_idempotency_key: "mend the program",
  invalid_json: "mend the program",
  invalid_parameter: "correct the fields",
  method_not_allowed: "mend the program",
  not_an_object: "mend the program",
  not_cancellable: "read it again",
  not_found: "mend the program",
  not_movable: "read it again",
  query_too_long: "mend the program",
  request_timeout: "try again",
  same_slot: "choose another slot",
  slot_not_found: "choose another slot",
  temporarily_unavailable: "try again",
  unauthorized: "sign in",
  unsupported_media_type: "mend the program",
} as const satisfies Record<ProblemCode, string>;

// `never` where the client's codes are any text, of which the table would prove nothing.
const KNOWN: string extends ProblemCode ? never : ProblemCode[] = Object.keys(ADVICE) as ProblemCode[];

const FINAL = {
  pending: false,
  failed: false,
  completed: true,
  rejected: true,
  cancelling: false,
  cancelled: true,
} as const satisfies Record<Status, boolean>;

const NEXT_STEP = {
  slot_taken: "choose another slot",
  already_booked: "nothing",
  processing_failed: "wait",
  not_processed: "ask again",
  slot_unknown: "choose another slot",
  slot_past: "choose another slot",
  slot_withdrawn: "choose another slot",
  too_many_open: "cancel another one",
  original_not_booked: "book anew",
  already_started: "nothing",
  moved: "nothing",
} as const satisfies Record<Reason, string>;

interface Settings {
  api: string;
  // The same API, once without a database, and once set up wrongly.
  unavailable: string;
  broken: string;
  // Tokens of staff, and of somebody else than the person.
  staff: string;
  other: string;
  person: string;
  rival: string;
  slot: number;
  // An appointment that has begun.
  begun: { insuredId: string; appointmentId: string };
}

const settings: Settings = JSON.parse(process.argv[2] ?? "{}");
const as = (baseUrl: string, token?: string) =>
  createClient<paths>({ baseUrl, headers: token === undefined ? {} : { Authorization: `Bearer ${token}` } });
const api = as(settings.api, settings.staff);

// Follows an appointment as the description says: after Retry-After, then in growing pauses, until its status is final.
async function follow(appointment: Appointment, retryAfter: string | null): Promise<Appointment> {
  const path = { insuredId: appointment.insuredId, appointmentId: appointment.appointmentId };
  let seconds = Math.min(Number(retryAfter ?? 1), 0.1);
  let etag: string | undefined;
  let latest = appointment;
  for (const end = Date.now() + 60_000; !FINAL[latest.status]; seconds = Math.min(2 * seconds, 1)) {
    assert(Date.now() < end, `still ${latest.status}`);
    await pause(1000 * seconds);
    const header = etag === undefined ? {} : { "If-None-Match": etag };
    const { data, response } = await api.GET("/appointments/{insuredId}/{appointmentId}", { params: { path, header } });
    assert([200, 304].includes(response.status), `${response.status}`);
    etag = response.headers.get("ETag") ?? etag;
    if (data !== undefined) {
      latest = data;
      assert.equal(data.history.at(-1)?.status, data.status);
    }
  }
  return latest;
}

async function book(insuredId: string, scheduleId: number, key?: string): Promise<Appointment> {
  const header = key === undefined ? {} : { "Idempotency-Key": key };
  const body = { insuredId, scheduleId, countryISO: "PE" } as const;
  const { data, error, response } = await api.POST("/appointments", { params: { header }, body });
  if (error !== undefined) {
    throw new Error(`${error.code}: ${error.detail} (${error.instance})`);
  }
  assert.equal(response.headers.get("Location"), `/appointments/${insuredId}/${data.appointmentId}`);
  return follow(data, response.headers.get("Retry-After"));
}

async function list(insuredId: string): Promise<Appointment[]> {
  const found: Appointment[] = [];
  let cursor: string | null | undefined;
  do {
    const query = cursor == null ? { limit: 1 } : { limit: 1, cursor };
    const { data } = await api.GET("/appointments/{insuredId}", { params: { path: { insuredId }, query } });
    assert(data !== undefined);
    found.push(...data.appointments);
    cursor = data.pagination.nextCursor;
  } while (cursor !== null);
  return found;
}

async function cancel({ insuredId, appointmentId }: Appointment): Promise<Appointment> {
  const params = { path: { insuredId, appointmentId }, header: { Prefer: "wait=10" } };
  const { data, response } = await api.DELETE("/appointments/{insuredId}/{appointmentId}", { params });
  assert(data !== undefined);
  return follow(data, response.headers.get("Retry-After"));
}

// A body of which only the beginning comes.
function bookSlowly(): Promise<{ error: unknown }> {
  return new Promise((resolve, reject) => {
    const headers = { Authorization: `Bearer ${settings.staff}`, "Content-Type": "application/json", "Content-Length": 80 };
    const slow = request(`${settings.api}/appointments`, { method: "POST", headers }, async (response) => {
      let text = "";
      for await (const chunk of response) {
        text += chunk;
      }
      slow.destroy();
      resolve({ error: JSON.parse(text) });
    });
    slow.on("error", reject);
    slow.write("{");
  });
}

async function problemOf(response: Promise<{ error?: unknown }>): Promise<Problem> {
  const { error } = await response;
  const problem = error as Problem;
  assert(problem.code in ADVICE, `an unknown problem: ${JSON.stringify(error)}`);
  assert.equal(problem.type, `urn:medical-appointments:problem:${problem.code}`);
  assert(problem.title !== "" && problem.detail !== "" && problem.instance.startsWith("urn:"));
  return problem;
}

const { person, rival, slot } = settings;
const key = `generated-client-${slot}`;
const booked = await book(person, slot, key);
assert.equal(booked.status, "completed", booked.message);
const rejected = await book(rival, slot);
assert(rejected.status === "rejected" && rejected.reason !== undefined, rejected.message);
assert.equal(NEXT_STEP[rejected.reason], "choose another slot");
const listed = await list(person);
assert(listed.some(({ appointmentId }) => appointmentId === booked.appointmentId));
const kept = await book(person, slot + 2);
assert.equal(kept.status, "completed", kept.message);
const cancelled = await cancel(booked);
assert.equal(cancelled.status, "cancelled", cancelled.message);

const path = { insuredId: person };
const move = ({ insuredId, appointmentId }: Appointment, scheduleId: number) =>
  api.POST("/appointments/{insuredId}/{appointmentId}/move", {
    params: { path: { insuredId, appointmentId } },
    body: { scheduleId },
  });
const sound = { insuredId: person, scheduleId: slot, countryISO: "PE" } as const;
const send = (raw: string, headers: Record<string, string> = {}) =>
  api.POST("/appointments", { body: sound, bodySerializer: () => raw, headers });
const plain = async (path: string, init: RequestInit = {}) => ({ error: await (await fetch(settings.api + path, init)).json() });
const provoked: Record<ProblemCode, () => Promise<{ error?: unknown }>> = {
  already_started: () => api.DELETE("/appointments/{insuredId}/{appointmentId}", { params: { path: settings.begun } }),
  appointment_not_found: () =>
    api.GET("/appointments/{insuredId}/{appointmentId}", {
      params: { path: { ...path, appointmentId: "01890f3e-6b7c-7cc2-98c4-dc0c0c07398f" } },
    }),
  body_too_large: () => send(`"${"x".repeat(4096)}"`),
  catalog_not_found: () => api.GET("/catalog/{countryISO}", { params: { path: { countryISO: "PE" } } }),
  empty_body: () => send(""),
  forbidden: () => as(settings.api, settings.other).GET("/appointments/{insuredId}", { params: { path } }),
  idempotency_key_reused: () =>
    api.POST("/appointments", { params: { header: { "Idempotency-Key": key } }, body: { ...sound, scheduleId: slot + 1 } }),
  internal: () => as(settings.broken, settings.staff).GET("/appointments/{insuredId}", { params: { path } }),
  invalid_body: () => api.POST("/appointments", { body: { ...sound, scheduleId: 0 } }),
  invalid_cursor: () => api.GET("/appointments/{insuredId}", { params: { path, query: { cursor: "x" } } }),
  invalid_idempotency_key: () =>
    api.POST("/appointments", { params: { header: { "Idempotency-Key": "k".repeat(129) } }, body: sound }),
  invalid_json: () => send("{"),
  invalid_parameter: () => api.GET("/appointments/{insuredId}", { params: { path, query: { limit: 0 } } }),
  method_not_allowed: () => plain("/appointments", { method: "PUT" }),
  not_an_object: () => send("[]"),
  not_cancellable: () =>
    api.DELETE("/appointments/{insuredId}/{appointmentId}", {
      params: { path: { insuredId: rival, appointmentId: rejected.appointmentId } },
    }),
  not_found: () => plain("/nowhere"),
  not_movable: () => move(cancelled, slot + 3),
  query_too_long: () => api.GET("/appointments/{insuredId}", { params: { path, query: { cursor: "x".repeat(1100) } } }),
  request_timeout: bookSlowly,
  same_slot: () => move(kept, kept.scheduleId),
  slot_not_found: () =>
    api.GET("/slots/{countryISO}/{scheduleId}", { params: { path: { countryISO: "PE", scheduleId: slot } } }),
  temporarily_unavailable: () => as(settings.unavailable, settings.staff).GET("/appointments/{insuredId}", { params: { path } }),
  unauthorized: () => as(settings.api).GET("/appointments/{insuredId}", { params: { path } }),
  unsupported_media_type: () => send(JSON.stringify(sound), { "Content-Type": "text/plain" }),
};
const codes: string[] = [];
for (const [code, provoke] of Object.entries(provoked)) {
  const problem = await problemOf(provoke());
  assert.equal(problem.code, code, `${problem.code} in place of ${code}: ${problem.detail}`);
  if (problem.code === "invalid_body") {
    assert.equal(problem.errors?.[0]?.field, "scheduleId");
  }
  codes.push(problem.code);
}
assert.deepEqual(codes.sort(), KNOWN.sort());
const health = await api.GET("/health");
assert.equal(health.data?.status, "ok");
console.log(JSON.stringify({ booked: booked.status, rejected: rejected.reason, cancelled: cancelled.status, codes }));
