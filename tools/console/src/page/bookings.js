// The bookings, each with its hops as bars over time.
import { call, clock, draw, make, shown, the } from "./page.js";

const KINDS = [
  ["intake", "intake"],
  ["appointment", "country's worker"],
  ["confirmation", "confirmation"],
  ["wait", "wait before it: topic, bus, queue, start of a function"],
  ["edge-host", "host"],
  ["other", "other"],
];
const KEPT = 100;
const ROW = 20;

/** Bookings by trace. */
const all = new Map();
/** What was searched for: the traces found, or nothing. */
let found = null;
/** The traces that are open. */
const open = new Set();

function kind(hop) {
  if (hop.part === "wait") return "wait";
  if (hop.service.startsWith("appointment-pe") || hop.service.startsWith("appointment-cl")) return "appointment";
  return KINDS.some(([name]) => name === hop.service) ? hop.service : "other";
}

/** A time span: `4.2 ms`, `229 ms`, `35.7 s`. */
const took = (ms) => (ms < 10 ? `${ms.toFixed(1)} ms` : ms < 10000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(1)} s`);

function bar(hop, x, y, width, height) {
  const classes = [kind(hop), hop.part === "call" ? "inner" : "", hop.level === "ERROR" ? "failed" : ""].filter(Boolean).join(" ");
  return draw("rect", { class: classes, x, y, width, height });
}

/** All hops in one row, for the list. */
function overview(booking) {
  const scale = 100 / Math.max(booking.durationMs, 1);
  const svg = draw("svg", {
    viewBox: "0 0 100 18", preserveAspectRatio: "none", height: 18, role: "img",
    "aria-label": `${booking.hops.length} hops in ${took(booking.durationMs)}`,
  });
  const place = { whole: [3, 12], wait: [7, 4], call: [15, 2] };
  for (const hop of booking.hops) {
    const [y, height] = place[hop.part];
    svg.append(bar(hop, hop.offsetMs * scale, y, Math.max(hop.durationMs * scale, 0.3), height));
  }
  return svg;
}

/** One row for each hop. */
function waterfall(booking, width) {
  const narrow = width < 560;
  const label = narrow ? 0 : 310;
  const rows = booking.hops.length;
  const row = narrow ? ROW * 2 : ROW;
  const space = width - label - 70;
  const scale = space / Math.max(booking.durationMs, 1);
  const svg = draw("svg", {
    viewBox: `0 0 ${width} ${rows * row + 18}`, height: rows * row + 18, role: "img", "aria-label": "Hops over time; the table below says the same",
  });
  for (let part = 0; part <= 4; part += 1) {
    const x = label + (space * part) / 4;
    svg.append(draw("line", { class: "grid", x1: x, x2: x, y1: 14, y2: rows * row + 16 }));
    const anchor = part === 0 ? "start" : "middle";
    const at = draw("text", { class: "dim", x, y: 10, "text-anchor": anchor });
    at.append(took((booking.durationMs * part) / 4));
    svg.append(at);
  }
  booking.hops.forEach((hop, number) => {
    const top = 18 + number * row;
    const name = draw("text", { x: narrow || hop.part !== "call" ? 0 : 12, y: top + 13, class: hop.part === "whole" ? "" : "dim" });
    const text = { whole: `${hop.service}: ${hop.name}`, wait: `${hop.name}, to ${hop.service}`, call: hop.name }[hop.part];
    name.append(narrow || text.length <= 48 ? text : `${text.slice(0, 47)}…`);
    const bottom = narrow ? top + ROW - 3 : top;
    const x = label + hop.offsetMs * scale;
    const wide = Math.max(hop.durationMs * scale, 2);
    const duration = draw("text", { x: Math.min(x + wide + 5, width - 45), y: bottom + 13 });
    duration.append(took(hop.durationMs));
    svg.append(name, bar(hop, x, bottom + 4, wide, 11), duration);
  });
  return svg;
}

function hopTable(booking) {
  const rows = booking.hops.map((hop) => make("tr", { class: hop.level === "ERROR" ? "bad" : undefined },
    make("th", { scope: "row" }, hop.service), make("td", {}, hop.name),
    make("td", { class: "number" }, took(hop.offsetMs)), make("td", { class: "number" }, took(hop.durationMs)),
    make("td", {}, Object.entries(hop.fields).filter(([, value]) => value !== null && value !== "").map(([name, value]) => `${name}=${value}`).join("  "))));
  const head = make("tr", {}, ...[["Service"], ["Hop"], ["From", "number"], ["Took", "number"], ["What else the log says"]]
    .map(([text, name]) => make("th", { scope: "col", class: name }, text)));
  return make("details", {}, make("summary", {}, "As a table"), make("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "Hops of the booking" },
    make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows))));
}

function card(booking) {
  const level = booking.level;
  const outcome = booking.outcome ?? "on its way";
  const about = [...booking.appointments][0] ?? "";
  const summary = make("summary", {},
    make("span", {}, make("strong", {}, `${booking.country ?? ""} ${booking.request?.split(" ")[0] ?? "…"}`), make("span", { class: "when" }, `${clock(booking.start)} · …${about.slice(-8)}`)),
    overview(booking),
    make("span", { class: "took" }, took(booking.durationMs), make("span", { class: `state ${level === "INFO" ? "good" : level}` }, outcome)));
  const details = make("details", { class: `card booking ${level === "INFO" ? "" : level.toLowerCase()}`, "data-trace": booking.traceId, open: open.has(booking.traceId) }, summary);
  const show = () => {
    if (!details.open || details.querySelector(".details")) return;
    const inside = make("div", { class: "details" },
      make("p", { class: "ids" }, `${booking.request ?? ""} · appointment ${[...booking.appointments].join(", ")} · trace ${booking.traceId}`));
    details.append(inside);
    inside.append(waterfall(booking, Math.max(inside.clientWidth, 240)), hopTable(booking));
  };
  details.addEventListener("toggle", () => {
    if (details.open) open.add(booking.traceId); else open.delete(booking.traceId);
    show();
  });
  return [make("li", {}, details), show];
}

const shownCards = new Map();

function render() {
  const list = the("booking-list");
  const bookings = [...all.values()].filter((booking) => found === null || found.has(booking.traceId));
  bookings.sort((one, other) => other.start - one.start);
  the("no-bookings").hidden = bookings.length > 0;
  the("no-bookings").textContent = found === null ? "No booking yet: book one, and its hops appear here." : "Nothing found.";
  const wanted = bookings.slice(0, KEPT).map((booking) => {
    const last = shownCards.get(booking.traceId);
    if (last && last.booking === booking) return last;
    const [item, show] = card(booking);
    if (last) last.item.replaceWith(item);
    const made = { booking, item, show };
    shownCards.set(booking.traceId, made);
    return made;
  });
  // Only what is not in its place is moved, which keeps the focus where it is.
  wanted.forEach(({ item }, place) => {
    if (list.children[place] !== item) list.insertBefore(item, list.children[place] ?? null);
  });
  while (list.children.length > wanted.length) list.lastElementChild.remove();
  for (const { show } of wanted) show();
}

/** Takes in bookings that are new or have changed. */
export function take(bookings) {
  for (const booking of bookings) all.set(booking.traceId, booking);
  if (all.size > 10 * KEPT) {
    const old = [...all.values()].sort((one, other) => one.start - other.start).slice(0, all.size - 5 * KEPT);
    for (const { traceId } of old) {
      all.delete(traceId);
      shownCards.delete(traceId);
    }
  }
  render();
}

/** Shows the bookings about a trace, an appointment or a person. */
export async function find(text) {
  the("find-text").value = text;
  const bookings = text ? await call(`bookings?find=${encodeURIComponent(text)}`) : [];
  found = text ? new Set(bookings.map((booking) => booking.traceId)) : null;
  if (bookings.length === 1) open.add(bookings[0].traceId);
  for (const booking of bookings) shownCards.delete(booking.traceId);
  take(bookings);
}

the("find").addEventListener("submit", shown(() => find(the("find-text").value.trim())));
the("find").addEventListener("reset", shown(() => find("")));
the("legend").append(...KINDS.map(([name, text]) => make("li", {},
  draw("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" }, draw("rect", { class: name, width: 10, height: 10, rx: 2 })), text)));
let width = innerWidth;
addEventListener("resize", () => {
  if (width === innerWidth) return;
  width = innerWidth;
  shownCards.clear();
  the("booking-list").replaceChildren();
  render();
});
