// Queues, dead letters, tables, errors, and hops to break.
import { age, call, clock, make, shown, the } from "./page.js";

const badge = (id, number) => {
  the(id).hidden = number === 0;
  the(id).textContent = number;
};

const link = (text, href) => make("a", { href }, text);

/** Changes a list only where its content changed, so that the focus and what is open stay. */
const keys = new Map();
function list(id, empty, entries, key, item) {
  const place = the(id);
  const wanted = entries.map(key);
  const text = JSON.stringify(wanted);
  if (empty) the(empty).hidden = entries.length > 0;
  if (keys.get(id) === text) return;
  keys.set(id, text);
  const opened = new Set([...place.querySelectorAll("details[open]")].map((details) => details.dataset.key));
  place.replaceChildren(...entries.map(item));
  for (const details of place.querySelectorAll("details")) details.open = opened.has(details.dataset.key);
}

function payload(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

export const lineText = (line) => `${clock(line.at)} ${line.level} ${line.service}: ${line.message}${line.reason ? ` (${line.reason})` : ""}`;

function letterItem(letter) {
  return make("li", { class: "card error", "data-message": letter.messageId },
    make("strong", {}, letter.queue), ` · ${letter.kind ?? "unreadable"} · message ${letter.messageId}`,
    make("p", { class: "ERROR reason" }, letter.reason ?? "No log line says why."),
    letter.traceId ? make("p", { class: "ids" }, link(`trace ${letter.traceId}`, `#bookings=${letter.traceId}`)) : null,
    make("details", { "data-key": `p${letter.messageId}` }, make("summary", {}, "Payload"), make("pre", { tabindex: "0", role: "region", "aria-label": "Payload" }, payload(letter.body))),
    make("details", { "data-key": `l${letter.messageId}` }, make("summary", {}, `Log lines (${letter.lines.length})`),
      make("pre", { tabindex: "0", role: "region", "aria-label": "Log lines" }, letter.lines.map(lineText).join("\n"))),
    make("button", { onclick: shown(() => redrive(letter.messageId)) }, "Redrive …"));
}

function givenUpItem(entry) {
  return make("li", { class: "card warn", "data-appointment": entry.appointmentId },
    make("strong", {}, `${entry.country} ${entry.status}`), ` · appointment ${entry.appointmentId} of ${entry.insuredId}`,
    make("p", { class: "ids" }, `${entry.command}, asked next at ${entry.next} · `, link(`trace ${entry.traceId}`, `#bookings=${entry.traceId}`)),
    make("button", { onclick: shown(() => redrive(entry.appointmentId)) }, "Redrive …"));
}

/** Redrives a dead letter or what was given up, by its id; everything without one. */
async function redrive(only) {
  const query = only ? `?only=${encodeURIComponent(only)}` : "";
  const { steps } = await call(`redrive${query}`);
  the("preview-steps").replaceChildren(...(steps.length ? steps : ["There is nothing to put back."]).map((step) => make("li", {}, step)));
  the("confirm").disabled = steps.length === 0;
  const dialog = the("preview");
  dialog.returnValue = "";
  dialog.showModal();
  await new Promise((done) => dialog.addEventListener("close", done, { once: true }));
  if (dialog.returnValue === "yes") await call(`redrive${query}`, "POST");
}

const HOPS = { topic: "Topic (SNS)", bus: "Event bus (EventBridge)" };

function hopItem({ hop, broken }) {
  const name = HOPS[hop] ?? `Database of ${hop.replace("database-", "")}`;
  const change = shown(async (event) => {
    event.currentTarget.disabled = true;
    await call(`hops/${hop}/${broken ? "heal" : "break"}`, "POST");
  });
  return make("li", { class: `card ${broken ? "error" : ""}`, "data-hop": hop },
    make("span", { class: "name" }, name), make("span", { class: broken ? "ERROR" : "good" }, broken ? "broken" : "works"),
    make("button", { class: broken ? undefined : "danger", "aria-label": `${broken ? "Heal" : "Break"}: ${name}`, onclick: change }, broken ? "Heal" : "Break"));
}

/** Takes in where the stack is. */
export function take(state) {
  const { queues } = state.messages;
  the("queue-rows").replaceChildren(...queues.map((queue) => {
    const bad = queue.deadLetters && queue.visible + queue.hidden > 0;
    return make("tr", { class: bad ? "bad" : undefined }, make("th", { scope: "row" }, queue.name),
      make("td", { class: "number" }, String(queue.visible)), make("td", { class: "number" }, String(queue.hidden)), make("td", { class: "number" }, age(queue.oldestSeconds)));
  }));
  const waiting = queues.filter((queue) => !queue.deadLetters).reduce((sum, queue) => sum + queue.visible + queue.hidden, 0);
  badge("waiting", waiting);
  badge("dead", state.letters.length + state.givenUp.length);
  badge("broken", state.hops.filter((hop) => hop.broken).length);
  list("letter-list", "no-letters", state.letters, (letter) => [letter.messageId, letter.reason, letter.lines.length], letterItem);
  list("given-up-list", "no-given-up", state.givenUp, (entry) => entry, givenUpItem);
  list("hop-list", null, state.hops, (hop) => hop, hopItem);
  const counts = Object.entries(state.countries).flatMap(([country, rows]) => {
    const words = (counts) => Object.entries(counts).map(([what, count]) => `${count} ${what}`).join(", ") || "none";
    const text = rows.error ?? `appointments: ${words(rows.appointments)}; slots: ${words(rows.slots)}`;
    return [make("dt", {}, country), make("dd", { class: rows.error ? "ERROR" : undefined }, text)];
  });
  the("counts").replaceChildren(...counts);
  const countries = Object.keys(state.countries);
  if (the("country").options.length !== countries.length) {
    the("country").replaceChildren(...countries.map((country) => make("option", { value: country }, country)));
  }
  const problems = the("connection");
  problems.textContent = state.problems.length ? state.problems.join("; ") : "live";
  problems.className = state.problems.length ? "ERROR" : "live";
}

const errors = [];

/** Takes in errors and warnings, latest first. */
export function takeLines(lines) {
  errors.unshift(...lines);
  errors.length = Math.min(errors.length, 300);
  badge("failing", errors.filter((line) => line.level === "ERROR").length);
  list("error-list", "no-errors", errors, (line) => [line.at, line.message, line.traceId], (line) => make("li", { class: `card ${line.level.toLowerCase()}` },
    make("strong", { class: line.level }, line.level), ` ${clock(line.at)} `, make("strong", {}, line.service), `: ${line.message}`,
    line.reason ? make("p", { class: "reason" }, line.reason) : null,
    line.traceId ? make("p", { class: "ids" }, link(`trace ${line.traceId}`, `#bookings=${line.traceId}`), line.appointmentId ? ` · appointment ${line.appointmentId}` : "") : null));
}

/** Forgets the errors, before all of them come anew. */
export const forgetLines = () => {
  errors.length = 0;
};

let page = 0;

async function showTable() {
  const { rows, rowsPerPage } = await call(`tables/${the("country").value}/${the("table").value}?page=${page}`);
  const names = rows.length ? Object.keys(rows[0]) : [];
  the("row-names").replaceChildren(make("tr", {}, ...names.map((name) => make("th", { scope: "col" }, name))));
  the("rows").replaceChildren(...rows.map((row) => make("tr", {}, ...names.map((name) => make("td", {}, row[name] === null ? "–" : String(row[name]))))));
  the("page-number").textContent = rows.length ? `page ${page + 1}` : `page ${page + 1}: no rows`;
  the("previous").disabled = page === 0;
  the("next").disabled = rows.length < rowsPerPage;
}

const turn = (to) => shown(() => {
  page = to();
  return showTable();
});
the("choose").addEventListener("submit", turn(() => 0));
the("previous").addEventListener("click", turn(() => Math.max(page - 1, 0)));
the("next").addEventListener("click", turn(() => page + 1));
the("redrive-all").addEventListener("click", shown(() => redrive(null)));
