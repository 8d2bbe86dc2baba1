// A booking or a move on its way. It is kept in sessionStorage with its `Idempotency-Key` until its outcome is known: after a reload
// the page sends the same request under the same key, which books nothing a second time.

import { Problem, call, pause, retryAfter } from "./api.js";
import { t } from "./texts.js";

const STORE = "command";

/** How long the API is asked to wait for the outcome, in seconds. */
const WAIT = "wait=8";

/** Statuses that only another wish of the person's changes. */
const FINAL = new Set(["completed", "rejected", "cancelled"]);

/** How often a busy service is asked again without the person's doing. */
const ATTEMPTS = 4;

/** Whether an appointment's status stays. */
export const isFinal = (appointment) => FINAL.has(appointment.status);

/** The command that a reload interrupted. */
export function kept() {
  try {
    return JSON.parse(sessionStorage.getItem(STORE)) ?? undefined;
  } catch {
    return undefined;
  }
}

export const forget = () => sessionStorage.removeItem(STORE);

/** Leaves a command to itself that the API has: the person's list shows what becomes of it. */
export function leave() {
  if (kept()?.isAccepted) forget();
}

/** Makes a command and keeps it: to book a slot, or to move an appointment to it. */
export function prepare(insuredId, slot, search, moving) {
  const command = {
    key: crypto.randomUUID(),
    insuredId,
    slot,
    search,
    moving,
    path: moving ? `/appointments/${insuredId}/${moving.appointmentId}/move` : "/appointments",
    body: moving
      ? { scheduleId: slot.scheduleId }
      : { insuredId, scheduleId: slot.scheduleId, countryISO: slot.countryISO },
  };
  sessionStorage.setItem(STORE, JSON.stringify(command));
  return command;
}

/**
 * Sends a command and follows it to its outcome; `tell` hears of each step in words, `accepted` when the API has it. Gives the appointment.
 *
 * A refusal is definitive, and forgets the key; what may have had its effect unheard (no connection, 503, …) keeps it.
 */
export async function settle(command, tell, accepted, signal) {
  try {
    const headers = { "Idempotency-Key": command.key, Prefer: WAIT };
    const response = await insist(() => call("POST", command.path, { body: command.body, headers, signal }), tell, signal);
    sessionStorage.setItem(STORE, JSON.stringify({ ...command, isAccepted: true }));
    accepted();
    const appointment = await follow(response, tell, signal);
    forget();
    return appointment;
  } catch (error) {
    if (error instanceof Problem && !error.isTransient && error.status !== 401) forget();
    throw error;
  }
}

/** Asks for the cancellation and follows it. It needs no key, because it may be repeated. */
export async function cancel(insuredId, appointmentId, tell, signal) {
  const path = `/appointments/${insuredId}/${appointmentId}`;
  const response = await insist(() => call("DELETE", path, { headers: { Prefer: WAIT }, signal }), tell, signal);
  return follow(response, tell, signal);
}

/** Repeats a call while the service says that it is busy. */
async function insist(attempt, tell, signal) {
  for (let count = 1; ; count += 1) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof Problem) || !error.retryAfter || !error.isTransient || count === ATTEMPTS) throw error;
      tell(t("busyRetry", error.retryAfter));
      await pause(error.retryAfter, signal);
    }
  }
}

/** Polls an appointment until its status is final: first after `Retry-After`, then with pauses that double up to 30 seconds. */
async function follow(response, tell, signal) {
  let appointment = response.body;
  let seconds = retryAfter(response.headers) ?? 1;
  let etag;
  while (!isFinal(appointment)) {
    tell(appointment.message);
    await pause(seconds, signal);
    seconds = Math.min(seconds * 2, 30);
    try {
      const path = `/appointments/${appointment.insuredId}/${appointment.appointmentId}`;
      const read = await call("GET", path, { headers: etag ? { "If-None-Match": etag } : {}, signal });
      etag = read.headers.get("ETag") ?? etag;
      appointment = read.body ?? appointment;
    } catch (error) {
      if (!(error instanceof Problem) || !error.isTransient) throw error;
      seconds = Math.max(seconds, error.retryAfter ?? 2);
      tell(error.title);
    }
  }
  return appointment;
}
