// Looking for a free time, booking it, and what became of that.

import { Problem, call, slotsPath } from "./api.js";
import { calendarText } from "./calendar.js";
import { forget, prepare, settle } from "./command.js";
import { alertBox, announce, button, choice, focusHeading, guard, h, show } from "./dom.js";
import { configuration, insuredId } from "./person.js";
import { countryName, dayText, language, t, timeText, whenText, zoneText } from "./texts.js";

/** How far ahead free times are shown; the API looks at most 62 days ahead. */
const DAYS_AHEAD = 60;

/** How many of the next free times are offered in place of one that was lost. */
const OFFERED = 6;

/** Reasons of a rejection after which another time may work. */
const LOST = new Set(["slot_taken", "slot_withdrawn", "slot_past", "slot_unknown"]);

/** What is looked for, and the appointment that is being moved, where one is. */
export const state = { search: undefined, moving: undefined };

/** Begins to look for a new time for an appointment. */
export function startMoving(appointment) {
  const { countryISO, specialty, center } = appointment.slot;
  state.search = { countryISO, specialty, center };
  state.moving = appointment;
}

function initialSearch() {
  const countries = configuration.countries;
  const country = countries.find((code) => language.endsWith(`-${code}`));
  return { countryISO: country ?? (countries.length === 1 ? countries[0] : ""), specialty: "", center: "" };
}

/** The view in which one chooses country, specialty, center, day and time. `reserve` is called with the command. */
export function showBook(reserve, signal) {
  state.search ??= initialSearch();
  const { search } = state;
  const fields = h("div", { class: "fields" });
  const results = h("div");
  const faults = h("div");
  let catalog;
  let slots = [];
  let cursor;
  let day;

  const guarded = (work) => guard(faults, signal, work);

  const loadCatalog = async () => {
    catalog = undefined;
    results.replaceChildren();
    draw();
    if (!search.countryISO) return;
    try {
      catalog = (await call("GET", `/catalog/${search.countryISO}`, { signal })).body;
    } catch (error) {
      if (error.code !== "catalog_not_found") throw error;
      faults.replaceChildren(alertBox(t("noCatalog")));
      return;
    }
    if (!catalog.specialties.includes(search.specialty)) search.specialty = "";
    draw();
    await loadSlots();
  };

  const loadSlots = async (more = false) => {
    if (!more) {
      slots = [];
      cursor = undefined;
      day = undefined;
    }
    if (!search.specialty) return drawSlots();
    if (!more) results.replaceChildren(h("p", {}, t("loading")));
    const to = new Date(Date.now() + DAYS_AHEAD * 86_400_000).toISOString().slice(0, 10);
    const asked = JSON.stringify(search);
    const { body } = await call("GET", slotsPath({ ...search, to, limit: 100, cursor }), { signal });
    // Somebody who has chosen something else meanwhile waits for that.
    if (asked !== JSON.stringify(search)) return undefined;
    const before = slots.length;
    slots = slots.concat(body.slots);
    cursor = body.pagination.nextCursor;
    day = more ? slots[before]?.start.slice(0, 10) ?? day : slots[0]?.start.slice(0, 10);
    drawSlots();
    return announce(slots.length ? t("free", slots.length) : t("noneFree"));
  };

  const changed = (name, then) => (value) => {
    search[name] = value;
    return guarded(then);
  };

  const draw = () => {
    const focused = document.activeElement?.id;
    const countries = configuration.countries.map((code) => [code, countryName(code)]);
    const pick = [["", t("pick")]];
    const children = [
      choice("country", t("country"), search.countryISO ? countries : pick.concat(countries), search.countryISO,
        (value) => {
          search.specialty = "";
          search.center = "";
          return changed("countryISO", loadCatalog)(value);
        }, { disabled: Boolean(state.moving) }),
    ];
    if (catalog) {
      const specialties = catalog.specialties.map((name) => [name, name]);
      children.push(choice("specialty", t("specialty"), search.specialty ? specialties : pick.concat(specialties), search.specialty,
        (value) => {
          search.center = "";
          return changed("specialty", () => (draw(), loadSlots()))(value);
        }));
      const offering = catalog.practitioners.filter(({ specialty }) => specialty === search.specialty);
      const centers = [...new Set(offering.map(({ center }) => center))].sort((one, other) => one.localeCompare(other, language));
      if (!centers.includes(search.center)) search.center = "";
      if (search.specialty) {
        children.push(choice("center", t("center"), [["", t("anyCenter")], ...centers.map((name) => [name, name])], search.center,
          changed("center", loadSlots)));
      }
    }
    fields.replaceChildren(...children);
    if (focused) document.getElementById(focused)?.focus();
  };

  const drawSlots = () => {
    if (!search.specialty) return results.replaceChildren();
    if (!slots.length) return results.replaceChildren(h("p", { class: "empty" }, t("noneFree")));
    const days = [...new Set(slots.map(({ start }) => start.slice(0, 10)))];
    const options = days.map((each) => {
      const count = slots.filter(({ start }) => start.startsWith(each)).length;
      return [each, `${dayText(each)} (${t("free", count)})`];
    });
    const chosen = choice("day", t("day"), options, day, (value) => {
      day = value;
      drawSlots();
      document.getElementById("day").focus();
      announce(t("free", slots.filter(({ start }) => start.startsWith(day)).length));
    });
    const more = cursor && button(t("moreDays"), () => guarded(() => loadSlots(true)));
    const ofDay = slots.filter(({ start }) => start.startsWith(day));
    return results.replaceChildren(
      h("div", { class: "days" }, chosen, more),
      times(ofDay, t("times", dayText(day)), state.moving, (slot) => reserve(command(slot))),
    );
  };

  const command = (slot) => prepare(insuredId(), slot, { ...search }, state.moving);

  const { moving } = state;
  show(
    h("h1", {}, moving ? t("chooseMove") : t("choose")),
    moving && h("div", { class: "note" },
      h("p", {}, t("moving", whenText(moving.slot, moving.scheduleId))),
      h("a", { class: "button", href: "#appointments" }, t("keepIt"))),
    h("div", { class: "card" }, fields),
    faults,
    results,
  );
  draw();
  focusHeading();
  return guarded(loadCatalog);
}

/** Free times to choose one of. `choose` is called with the slot. */
function times(slots, legend, moving, choose) {
  const missing = h("div");
  const options = slots.map((slot) => h("label", { class: "time" },
    h("input", { type: "radio", name: "slot", value: slot.scheduleId }),
    h("span", { class: "hour" }, timeText(slot.start)),
    h("span", {}, slot.practitioner, h("br"), h("small", {}, slot.center))));
  const submit = (event) => {
    event.preventDefault();
    const id = new FormData(event.target).get("slot");
    const slot = slots.find(({ scheduleId }) => String(scheduleId) === id);
    if (slot) return choose(slot);
    missing.replaceChildren(alertBox(t("chooseTime")));
    return event.target.querySelector("input")?.focus();
  };
  const zones = [...new Set(slots.map(zoneText))].join(", ");
  return h("form", { class: "card", novalidate: true, onsubmit: submit },
    h("fieldset", { "aria-describedby": "zone" },
      h("legend", {}, legend),
      h("p", { class: "hint", id: "zone" }, t("local", zones)),
      h("div", { class: "times" }, options)),
    missing,
    h("button", { class: "primary" }, moving ? t("move") : t("reserve")));
}

/** The view of a command on its way, and then of its outcome. `reserve` is called with the command for another time. */
export async function showOutcome(command, reserve, signal) {
  const step = h("p", {}, "");
  const tell = (text) => {
    step.textContent = text;
    announce(text);
  };
  const canLeave = h("p", { class: "hint", hidden: true }, t("canLeave"));
  const heading = command.moving ? t("movingNow") : t("booking");
  show(
    h("h1", {}, heading),
    h("div", { class: "card" },
      details(command.slot),
      h("progress", { "aria-label": heading }),
      step,
      canLeave),
  );
  focusHeading();
  try {
    const appointment = await settle(command, tell, () => (canLeave.hidden = false), signal);
    state.moving = undefined;
    await showSettled(appointment, command, reserve, signal);
  } catch (error) {
    if (signal.aborted) return;
    if (!(error instanceof Problem)) throw error;
    showFailure(error, command, reserve, signal);
  }
}

/** What went wrong on the way. What may have been recorded is tried again under the same key, also by itself once there is a connection. */
function showFailure(error, command, reserve, signal) {
  const again = () => {
    removeEventListener("online", again);
    if (!signal.aborted) reserve(command);
  };
  if (error.isTransient) addEventListener("online", again);
  const discard = () => {
    removeEventListener("online", again);
    forget();
    location.hash = "#appointments";
  };
  show(
    h("h1", {}, t(error.isTransient ? "unfinished" : "notBooked")),
    alertBox(error.title, error.detail, error.isTransient && h("p", {}, t("onceOnly"))),
    h("div", { class: "actions" },
      error.isTransient && button(t("again"), again, { class: "primary" }),
      error.isTransient && button(t("forget"), discard),
      !error.isTransient && h("a", { class: "button", href: "#book" }, t("another")),
      !error.isTransient && h("a", { class: "button", href: "#appointments" }, t("toList"))),
  );
  focusHeading();
}

async function showSettled(appointment, command, reserve, signal) {
  const slot = appointment.slot ?? command.slot;
  const isBooked = appointment.status === "completed";
  const isLost = appointment.status === "rejected" && LOST.has(appointment.reason);
  const title = isBooked ? t(command.moving ? "moved" : "booked") : t(appointment.status === "rejected" ? "notBooked" : "otherOutcome");
  const offered = h("div");
  show(
    h("h1", {}, title),
    h("div", { class: `card ${isBooked ? "good" : "bad"}` },
      h("p", { class: "message" }, appointment.message),
      details(slot),
      isBooked && calendarLink({ ...appointment, slot })),
    offered,
    h("div", { class: "actions" },
      h("a", { class: "button", href: "#appointments" }, t("toList")),
      h("a", { class: "button", href: "#book" }, t("another"))),
  );
  focusHeading();
  announce(appointment.message);
  if (isLost) await offerNext(offered, command, reserve, signal);
}

/** The next free times of the same search, in place of the one that was lost. */
async function offerNext(box, command, reserve, signal) {
  const { slot, search, moving } = command;
  const from = Date.parse(slot.startsAt) > Date.now() ? slot.start : undefined;
  const asked = { ...search, from, limit: OFFERED + 1 };
  try {
    let free = (await call("GET", slotsPath(asked), { signal })).body.slots;
    if (!free.length && search.center) free = (await call("GET", slotsPath({ ...asked, center: "" }), { signal })).body.slots;
    const others = free.filter(({ scheduleId }) => scheduleId !== slot.scheduleId).slice(0, OFFERED);
    if (!others.length) return box.replaceChildren(h("p", { class: "empty" }, t("noneFree")));
    const form = times(others, t("nextFree"), moving, (next) => reserve(prepare(command.insuredId, next, search, moving)));
    // They may be of several days.
    form.querySelectorAll(".hour").forEach((hour, index) => (hour.textContent = whenText(others[index])));
    form.classList.add("offered");
    return box.replaceChildren(form);
  } catch (error) {
    if (signal.aborted) return undefined;
    if (!(error instanceof Problem)) throw error;
    return box.replaceChildren(alertBox(error.title, error.detail));
  }
}

/** When, where and with whom; without the time where that is said already. */
export function details(slot, { isTimed = true } = {}) {
  if (!slot) return null;
  const rows = [
    ...(isTimed ? [[t("when"), [whenText(slot), h("br"), h("small", {}, t("local", zoneText(slot)))]]] : []),
    [t("specialty"), [slot.specialty]],
    [t("practitioner"), [slot.practitioner]],
    [t("center"), [slot.center]],
  ];
  return h("dl", {}, rows.map(([term, what]) => h("div", {}, h("dt", {}, term), h("dd", {}, what))));
}

/** A link that saves the appointment for the calendar. */
export function calendarLink(appointment, label) {
  const summary = `${appointment.slot.specialty}, ${appointment.slot.practitioner}`;
  const file = new Blob([calendarText(appointment, summary, new Date())], { type: "text/calendar;charset=utf-8" });
  const name = `${appointment.slot.start.slice(0, 10)}.ics`;
  return h("a", { class: "button", href: URL.createObjectURL(file), download: name, "aria-label": label }, t("calendar"));
}
