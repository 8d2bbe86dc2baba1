// The page: which view is shown, by the address, and what is around it.

import { caller } from "./api.js";
import { showBook, showOutcome, state } from "./book.js";
import { forget, kept, leave } from "./command.js";
import { alertBox, announce, button, choice, h, show } from "./dom.js";
import { showList } from "./list.js";
import { begin, configuration, insuredId, needsSignIn, setInsuredId, showPerson, showSignIn, signOut } from "./person.js";
import { language, languages, speak, t } from "./texts.js";

/** Ends what the present view has going on. */
let view = new AbortController();

/** What a sign-in that came back from the provider met. */
let fault;

function frame() {
  document.documentElement.lang = language;
  document.title = t("title");
  document.getElementById("brand").textContent = t("title");
  document.getElementById("skip").textContent = t("skip");
  const nav = document.getElementById("nav");
  nav.setAttribute("aria-label", t("sections"));
  nav.hidden = needsSignIn() || !insuredId();
  const current = location.hash === "#appointments" ? "#appointments" : "#book";
  nav.replaceChildren(...[["#book", t("book")], ["#appointments", t("mine")]].map(([href, text]) =>
    h("a", { href, "aria-current": href === current && "page" }, text)));
  const person = insuredId() && !needsSignIn();
  document.getElementById("tools").replaceChildren(...[
    person && h("span", { class: "person" }, t("insured", insuredId())),
    person && button(t("changePerson"), () => {
      setInsuredId();
      beginAnew();
    }, { class: "quiet" }),
    caller.token && button(t("signOut"), () => {
      signOut();
      beginAnew();
    }, { class: "quiet" }),
    choice("language", t("language"), languages, language, (tag) => {
      speak(tag);
      render();
      document.getElementById("language").focus();
    }),
  ].filter(Boolean));
}

/** For somebody else: nothing of the person before is left in the tab. */
function beginAnew() {
  forget();
  state.moving = undefined;
  render();
}

/** Shows what the address, the person and an interrupted command ask for. */
function render() {
  view.abort();
  view = new AbortController();
  frame();
  announce("");
  if (needsSignIn()) {
    showSignIn(render, fault);
    fault = undefined;
    return;
  }
  if (!insuredId()) return showPerson(render);
  const command = kept();
  if (location.hash === "#appointments") {
    state.moving = undefined;
    return showList(view.signal);
  }
  if (command && command.insuredId === insuredId()) return reserve(command);
  return showBook(reserve, view.signal);
}

function reserve(command) {
  view.abort();
  view = new AbortController();
  return showOutcome(command, reserve, view.signal);
}

caller.refused = () => {
  if (configuration.authentication !== "jwt") return;
  caller.token = undefined;
  fault = t("signInAgain");
  render();
};

function navigate() {
  leave();
  render();
}

addEventListener("hashchange", navigate);
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='#']");
  if (!link) return;
  if (link.id === "skip") {
    event.preventDefault();
    document.getElementById("main").focus();
  } else if (link.hash === location.hash) {
    // To where one is already, which changes no address.
    navigate();
  }
});

try {
  fault = await begin();
  render();
} catch {
  frameless();
}

/** Nothing works without the settings. */
function frameless() {
  document.documentElement.lang = language;
  show(h("h1", {}, t("title")), alertBox(t("offline"), t("offlineDo"), button(t("again"), () => location.reload())));
}
