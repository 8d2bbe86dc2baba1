// Which view is shown, and what the console pushes.
import * as bookings from "./bookings.js";
import * as operator from "./operator.js";
import { notice, the } from "./page.js";

const views = [...document.querySelectorAll("main > section")];

/** `#bookings=<text>` shows the bookings that are found by the text. */
async function show() {
  const [name, text] = decodeURIComponent(location.hash.slice(1)).split("=");
  const view = views.find(({ id }) => id === name) ?? views[0];
  for (const section of views) section.hidden = section !== view;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${view.id}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  try {
    if (text) await bookings.find(text);
  } catch (error) {
    notice(error.message);
  }
}

addEventListener("hashchange", show);

const events = new EventSource("api/events");
events.addEventListener("open", () => operator.forgetLines());
events.addEventListener("bookings", (event) => bookings.take(JSON.parse(event.data)));
events.addEventListener("lines", (event) => operator.takeLines(JSON.parse(event.data)));
events.addEventListener("state", (event) => operator.take(JSON.parse(event.data)));
events.addEventListener("error", () => {
  the("connection").textContent = "the stack has stopped, or is out of reach";
  the("connection").className = "ERROR";
});
show();
