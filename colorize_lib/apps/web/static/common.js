// What the two pages share: elements, requests, and what the browser remembers.

/** An element with attributes (on… are listeners) and children (elements or text). */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (typeof value === "boolean") element.toggleAttribute(name, value);
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

export const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** What the server says of itself; asked again and again until `ready` of it, and `waiting` gets each answer. */
export async function state(ready, waiting) {
  for (;;) {
    try {
      const answer = await (await fetch("/state")).json();
      if (ready(answer)) return answer;
      waiting(answer);
    } catch {
      waiting(null);
    }
    await pause(700);
  }
}

/**
 * Sends a body by POST and gives the response back. While the server is busy it waits, which `busy` is told in words.
 * What is refused rejects with the server's sentence.
 */
export async function post(path, body, { signal, busy = () => {} } = {}) {
  for (let tries = 0; ; tries++) {
    let response;
    try {
      response = await fetch(path, { method: "POST", body, signal });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      // A busy server answers, and closes, before all of the body is there: the browser may see only the broken connection.
      const alive = await fetch("/state", { signal }).then(({ ok }) => ok, () => false);
      if (!alive || tries > 4) throw new Error("The server does not answer: is it still running?");
      busy("The server did not take the upload: it is sent again.");
      await pause(2000);
      continue;
    }
    if (response.ok) return response;
    const { error, again } = await response.json().catch(() => ({ error: `The server answers with error ${response.status}.` }));
    if (response.status !== 429 || tries === 20) throw new Error(error);
    busy(error);
    await pause(1000 * Math.min(again ?? 2, 30));
  }
}

/** A small value that survives a reload, in `storage`; where the browser keeps none, it is gone then. */
export function remember(storage, key, value) {
  try {
    if (value === null) window[storage].removeItem(key);
    else window[storage].setItem(key, JSON.stringify(value));
  } catch {
    // Storage is switched off.
  }
}

export function remembered(storage, key) {
  try {
    return JSON.parse(window[storage].getItem(key));
  } catch {
    return null;
  }
}
