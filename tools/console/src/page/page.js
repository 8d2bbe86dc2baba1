// What every view uses. Text becomes text nodes only, never markup.

/** The element of the page with this id. */
export const the = (id) => document.getElementById(id);

/** Makes an element; `attributes` may hold listeners (`onclick`). */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  return fill(element, attributes, children);
}

/** Makes an element of SVG. */
export function draw(name, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  return fill(element, attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** `1 message`, `2 messages`. */
export const counted = (number, thing) => `${number} ${thing}${number === 1 ? "" : "s"}`;

/** A time span in its greatest unit. */
export function age(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h`;
  return counted(Math.floor(seconds / 86400), "day");
}

/** The time of day of an instant in milliseconds since 1970. */
export const clock = (at) => new Date(at).toLocaleTimeString([], { hour12: false }) + "." + String(Math.floor(at) % 1000).padStart(3, "0");

/** Calls the console; fails with what it says was wrong. */
export async function call(path, method = "GET") {
  const response = await fetch(`api/${path}`, { method });
  const body = await response.json();
  if (!response.ok) throw new Error(body.error);
  return body;
}

/** Shows why something did not work, or that it did. */
export function notice(text) {
  the("notice").hidden = !text;
  the("notice").textContent = text ?? "";
}

/** Wraps a listener: what fails in it is shown. */
export const shown = (work) => async (event) => {
  event.preventDefault();
  try {
    notice(null);
    await work(event);
  } catch (error) {
    notice(error.message);
  }
};
