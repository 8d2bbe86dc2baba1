// Who uses the page: signing in, and the insured person that it is about.

import { caller } from "./api.js";
import { alertBox, button, focusHeading, h, show } from "./dom.js";
import { t } from "./texts.js";

const PERSON = "insuredId";
const SIGNING_IN = "signing-in";

/** What `/config.json` says. */
export let configuration;

export const insuredId = () => sessionStorage.getItem(PERSON);

export function setInsuredId(id) {
  if (id) sessionStorage.setItem(PERSON, id);
  else sessionStorage.removeItem(PERSON);
}

export const needsSignIn = () => configuration.authentication === "jwt" && !caller.token;

/** Reads the settings, and finishes a sign-in that comes back from the provider. Gives what went wrong with that, in words. */
export async function begin() {
  const response = await fetch("/config.json", { credentials: "omit" });
  if (!response.ok) throw new Error(`/config.json: ${response.status}`);
  configuration = await response.json();
  const started = sessionStorage.getItem(SIGNING_IN);
  const parameters = new URLSearchParams(location.search);
  if (!started || !configuration.openId || !(parameters.has("code") || parameters.has("error"))) return undefined;
  sessionStorage.removeItem(SIGNING_IN);
  const returned = new URL(location.href);
  history.replaceState(null, "", `/${JSON.parse(started).hash}`);
  try {
    accept(await exchange(returned, JSON.parse(started)));
  } catch {
    return t("signInFailed");
  }
  return undefined;
}

/** Takes an access token; where it names the insured person, so does the page. */
function accept(token) {
  caller.token = token;
  const name = claim(token, configuration.insuredIdClaim);
  if (/^\d{5}$/.test(name ?? "")) setInsuredId(name);
}

export function signOut() {
  caller.token = undefined;
  setInsuredId();
}

/** A claim of a token, which is for the page's convenience: the API is who verifies it. A claim inside others is `/a/b`. */
function claim(token, name) {
  try {
    const bytes = Uint8Array.from(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
    const claims = JSON.parse(new TextDecoder().decode(bytes));
    const path = name.startsWith("/") ? name.slice(1).split("/") : [name];
    return path.reduce((value, part) => value?.[part], claims);
  } catch {
    return undefined;
  }
}

/** The library, the provider's description, and what both need to be called. A provider without TLS is a local one. */
async function provider() {
  const oauth = await import("./oauth4webapi.js");
  const issuer = new URL(configuration.openId.issuer);
  const options = { [oauth.allowInsecureRequests]: ["127.0.0.1", "localhost"].includes(issuer.hostname) };
  const described = await oauth.discoveryRequest(issuer, options);
  const server = await oauth.processDiscoveryResponse(issuer, described);
  return { oauth, options, server, client: { client_id: configuration.openId.clientId } };
}

const redirectUri = () => `${location.origin}/`;

/** Leaves for the provider: authorization code with PKCE (RFC 7636). Verifier and state stay in this tab until it comes back. */
async function leave() {
  const { oauth, server, client } = await provider();
  const verifier = oauth.generateRandomCodeVerifier();
  const state = oauth.generateRandomState();
  sessionStorage.setItem(SIGNING_IN, JSON.stringify({ verifier, state, hash: location.hash }));
  const target = new URL(server.authorization_endpoint);
  const parameters = {
    client_id: client.client_id,
    redirect_uri: redirectUri(),
    response_type: "code",
    scope: configuration.openId.scope,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: "S256",
    state,
    // Auth0's own parameter (https://auth0.com/docs/api/authentication#authorization-code-flow-with-pkce).
    ...(configuration.openId.audience ? { audience: configuration.openId.audience } : {}),
  };
  for (const [name, value] of Object.entries(parameters)) target.searchParams.set(name, value);
  location.assign(target);
}

async function exchange(returned, { verifier, state }) {
  const { oauth, options, server, client } = await provider();
  const parameters = oauth.validateAuthResponse(server, client, returned, state);
  const granted = await oauth.authorizationCodeGrantRequest(
    server, client, oauth.None(), parameters, redirectUri(), verifier, options,
  );
  return (await oauth.processAuthorizationCodeResponse(server, client, granted)).access_token;
}

/** The view in which one signs in; `done` is called where that worked without leaving the page. */
export function showSignIn(done, fault) {
  const faults = h("div", {}, fault && alertBox(t("signIn"), fault));
  const complain = (detail) => faults.replaceChildren(alertBox(t("signIn"), detail));
  const how = configuration.openId
    ? button(t("signInButton"), () => leave().catch(() => complain(t("signInFailed"))), { class: "primary" })
    : pasting(done, complain);
  show(h("h1", {}, t("signIn")), h("p", {}, t("signInWhy")), faults, how);
  focusHeading();
}

function pasting(done, complain) {
  const field = h("textarea", {
    id: "token", rows: 4, required: true, autocomplete: "off", spellcheck: "false", "aria-describedby": "token-hint",
  });
  const submit = (event) => {
    event.preventDefault();
    const token = field.value.trim();
    if (!/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)) return complain(t("tokenWrong"));
    accept(token);
    return done();
  };
  return h(
    "form", { class: "card", novalidate: true, onsubmit: submit },
    h("div", { class: "field" }, h("label", { for: "token" }, t("token")), field, h("p", { class: "hint", id: "token-hint" }, t("tokenHint"))),
    h("button", { class: "primary" }, t("proceed")),
  );
}

/** The view that asks whom it is about. */
export function showPerson(done) {
  const field = h("input", {
    id: "insured-id", inputmode: "numeric", autocomplete: "off", maxlength: 5, required: true, "aria-describedby": "insured-id-hint",
  });
  const faults = h("div");
  const submit = (event) => {
    event.preventDefault();
    const id = field.value.trim();
    if (!/^\d{5}$/.test(id)) {
      field.setAttribute("aria-invalid", "true");
      faults.replaceChildren(alertBox(t("insuredIdWrong")));
      field.focus();
      return;
    }
    setInsuredId(id);
    done();
  };
  show(
    h("h1", {}, t("person")),
    h(
      "form", { class: "card", novalidate: true, onsubmit: submit },
      h("div", { class: "field" }, h("label", { for: "insured-id" }, t("insuredId")), field, h("p", { class: "hint", id: "insured-id-hint" }, t("insuredIdHint"))),
      faults,
      h("button", { class: "primary" }, t("proceed")),
    ),
  );
  focusHeading();
}
