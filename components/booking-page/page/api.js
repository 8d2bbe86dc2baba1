// The public API, as any client calls it.

import { language, t } from "./texts.js";

/** How long a response may take: longer than the most that the page asks the API to wait. */
const LIMIT_MS = 20_000;

/** Who calls: the bearer token, in memory alone. */
export const caller = { token: undefined, refused: () => {} };

/** Why a call failed, in words. Its `status` is 0 if no response came. */
export class Problem extends Error {
  constructor(status, code, title, detail, retryAfter) {
    super(title);
    Object.assign(this, { status, code, title, detail, retryAfter });
  }

  /** Whether the same call may work later, and may have had its effect already. */
  get isTransient() {
    return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500;
  }
}

/** Calls the API; returns the response's status, headers and body. Throws a `Problem`. */
export async function call(method, path, { body, headers = {}, signal } = {}) {
  const limit = AbortSignal.timeout(LIMIT_MS);
  const all = { "Accept-Language": language, ...headers };
  if (body !== undefined) all["Content-Type"] = "application/json";
  if (caller.token) all.Authorization = `Bearer ${caller.token}`;
  let response;
  let text;
  try {
    response = await fetch(path, {
      method,
      headers: all,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-cache",
      credentials: "omit",
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    });
    text = await response.text();
  } catch (error) {
    signal?.throwIfAborted();
    throw new Problem(0, "offline", t("offline"), t("offlineDo"));
  }
  const content = parsed(text);
  if (response.ok || response.status === 304) return { status: response.status, headers: response.headers, body: content };
  if (response.status === 401) caller.refused();
  throw problem(response, content);
}

function parsed(text) {
  try {
    return text ? JSON.parse(text) : undefined;
  } catch {
    return undefined;
  }
}

/** What a refusal says in its own words, or in the page's if it came from a gateway or a proxy. */
function problem(response, content) {
  const seconds = retryAfter(response.headers);
  const { status } = response;
  if (status === 401) return new Problem(status, content?.code, t("signIn"), t("signInAgain"));
  if (status === 429) return new Problem(status, "too_many_requests", t("tooMany"), t("busyDo", seconds ?? 5), seconds ?? 5);
  if (status === 503) return new Problem(status, content?.code, t("busy"), t("busyDo", seconds ?? 5), seconds ?? 5);
  const fields = content?.errors?.map((error) => error.message).join(" ");
  const title = content?.title ?? t("unexpected");
  return new Problem(status, content?.code, title, fields || content?.detail || t("unexpectedDo"), seconds);
}

/** The seconds of `Retry-After`; `undefined` for a date, which the API does not write. */
export function retryAfter(headers) {
  const seconds = Number.parseInt(headers.get("Retry-After") ?? "", 10);
  return Number.isNaN(seconds) ? undefined : Math.min(Math.max(seconds, 1), 120);
}

/** Resolves after some seconds, or as soon as the connection is back; rejects when the signal aborts. */
export function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer);
      removeEventListener("online", wake);
      signal?.removeEventListener("abort", stop);
    };
    const wake = () => (end(), resolve());
    const stop = () => (end(), reject(signal.reason));
    const timer = setTimeout(wake, seconds * 1000);
    addEventListener("online", wake);
    signal?.addEventListener("abort", stop);
    if (signal?.aborted) stop();
  });
}

export const slotsPath = (search) => `/slots?${new URLSearchParams(Object.entries(search).filter(([, value]) => value))}`;
