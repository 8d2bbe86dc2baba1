// Elements, and what the whole page shares of them.

import { Problem } from "./api.js";
import { t } from "./texts.js";

/**
 * Makes an element. A property `onclick` is a listener; `true` is an attribute without a value; `false`, `null` and
 * `undefined` leave it out. Children that are `false` or `null` are left out too.
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Puts a view in place of the one that is there. Its heading gets the focus, because a screen reader reads on from there. */
export function show(...children) {
  document.getElementById("main").replaceChildren(...children.flat().filter(Boolean));
}

/** Moves the focus to the view's heading. */
export function focusHeading() {
  const heading = document.querySelector("main h1");
  if (!heading) return;
  heading.tabIndex = -1;
  heading.focus();
}

/** Tells a screen reader what happened, without moving the focus. */
export function announce(text) {
  document.getElementById("status").textContent = text;
}

/** An error in words: what happened, and what to do about it. */
export function alertBox(title, detail, ...actions) {
  return h("div", { class: "alert", role: "alert" }, h("p", {}, h("strong", {}, title)), detail && h("p", {}, detail), ...actions);
}

/** Does something for a view, and says in the box what went wrong, with a button to try it again. A view that is gone says nothing. */
export async function guard(faults, signal, work) {
  faults.replaceChildren();
  try {
    await work();
  } catch (error) {
    if (signal.aborted) return;
    if (!(error instanceof Problem)) throw error;
    faults.replaceChildren(alertBox(error.title, error.detail, button(t("again"), () => guard(faults, signal, work))));
  }
}

/** A button that does something here. */
export function button(text, onclick, properties = {}) {
  return h("button", { type: "button", onclick, ...properties }, text);
}

/** A labelled list to choose from. */
export function choice(id, label, options, value, onchange, properties = {}) {
  const select = h("select", { id, onchange: (event) => onchange(event.target.value), ...properties });
  for (const [key, text] of options) select.append(h("option", { value: key, selected: key === value }, text));
  return h("div", { class: "field" }, h("label", { for: id }, label), select);
}
