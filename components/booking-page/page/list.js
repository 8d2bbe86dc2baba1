// The person's appointments: what became of each, and what can be done about it.

import { call, pause } from "./api.js";
import { calendarLink, details, startMoving } from "./book.js";
import { cancel, isFinal } from "./command.js";
import { announce, button, focusHeading, guard, h, show } from "./dom.js";
import { insuredId } from "./person.js";
import { statusText, t, whenText, zoneText } from "./texts.js";

/** Statuses from which an appointment can be cancelled. */
const CANCELLABLE = new Set(["pending", "completed", "failed"]);

/** How many appointments are read at once. */
const PAGE = 20;

/** The view of the list. It follows what is not settled yet. */
export async function showList(signal) {
  const items = h("ul", { class: "list", "aria-busy": "true" });
  const faults = h("div");
  const more = h("div");
  let appointments = [];
  let cursor;
  let opened = [];

  const guarded = (work) => guard(faults, signal, work);

  const page = async (limit, from) => {
    const query = new URLSearchParams({ limit, ...(from ? { cursor: from } : {}) });
    return (await call("GET", `/appointments/${insuredId()}?${query}`, { signal })).body;
  };

  const load = async () => {
    // As many as are shown already, of which the API gives a hundred at once.
    const first = await page(Math.min(Math.max(appointments.length, PAGE), 100));
    appointments = first.appointments;
    cursor = first.pagination.nextCursor;
    draw();
  };

  const loadMore = async () => {
    const next = await page(PAGE, cursor);
    appointments = appointments.concat(next.appointments);
    cursor = next.pagination.nextCursor;
    draw();
  };

  const draw = () => {
    // What the last drawing made for downloads.
    for (const url of opened) URL.revokeObjectURL(url);
    opened = [];
    const focused = document.activeElement?.id;
    items.replaceChildren(...appointments.map(item));
    opened = [...items.querySelectorAll("a[download]")].map((link) => link.href);
    more.replaceChildren(...[
      !appointments.length && h("p", { class: "empty" }, t("none"), " ", h("a", { href: "#book" }, t("choose"))),
      cursor && button(t("more"), () => guarded(loadMore)),
    ].filter(Boolean));
    if (focused) document.getElementById(focused)?.focus();
  };

  const item = (appointment) => {
    const { appointmentId, slot, scheduleId, status, message } = appointment;
    const when = whenText(slot, scheduleId);
    const hasBegun = slot && Date.parse(slot.startsAt) <= Date.now();
    const named = (action) => ({ "aria-label": t("ofAppointment", action, when) });
    const actions = [
      status === "completed" && slot && calendarLink(appointment, t("ofAppointment", t("calendar"), when)),
      status === "completed" && slot && !hasBegun && button(t("reschedule"), () => {
        startMoving(appointment);
        location.hash = "#book";
      }, { id: `move-${appointmentId}`, ...named(t("reschedule")) }),
      CANCELLABLE.has(status) && !hasBegun && button(t("cancel"), () => ask(appointment, when), { id: `cancel-${appointmentId}`, ...named(t("cancel")) }),
    ].filter(Boolean);
    return h("li", { class: "card", id: appointmentId, "data-status": status },
      h("h2", {}, when),
      slot && h("p", { class: "hint" }, t("local", zoneText(slot))),
      h("p", { class: "badge" }, statusText(appointment)),
      h("p", { class: "message" }, message),
      details(slot, { isTimed: false }),
      actions.length > 0 && h("div", { class: "actions" }, actions));
  };

  const ask = (appointment, when) => {
    const dialog = h("dialog", { "aria-labelledby": "question", "aria-describedby": "consequence" },
      h("h2", { id: "question" }, t("cancelQuestion")),
      h("p", { id: "consequence" }, t("cancelWhy", when)),
      h("form", { method: "dialog", class: "actions" },
        h("button", { value: "no", autofocus: true }, t("cancelNo")),
        h("button", { value: "yes", class: "danger" }, t("cancelYes"))));
    dialog.addEventListener("close", () => {
      dialog.remove();
      if (dialog.returnValue === "yes") guarded(() => withdraw(appointment));
      else document.getElementById(`cancel-${appointment.appointmentId}`)?.focus();
    });
    document.getElementById("main").append(dialog);
    dialog.showModal();
  };

  const withdraw = async (appointment) => {
    const settled = await cancel(appointment.insuredId, appointment.appointmentId, (text) => {
      announce(text);
      const shown = document.getElementById(appointment.appointmentId);
      shown?.querySelector(".message")?.replaceChildren(text);
      shown?.querySelector(".actions")?.remove();
    }, signal);
    announce(settled.message);
    await load();
    const heading = document.getElementById(appointment.appointmentId)?.querySelector("h2");
    if (heading) {
      heading.tabIndex = -1;
      heading.focus();
    }
  };

  show(h("h1", {}, t("list")), faults, items, more);
  focusHeading();
  await guarded(load);
  items.setAttribute("aria-busy", "false");
  for (let seconds = 2; !signal.aborted; seconds = Math.min(seconds * 2, 30)) {
    const unsettled = appointments.some((appointment) => !isFinal(appointment));
    if (!unsettled) return;
    try {
      await pause(seconds, signal);
    } catch {
      return;
    }
    // Nothing moves under a question that is open.
    if (!document.querySelector("dialog")) await guarded(load);
  }
}
