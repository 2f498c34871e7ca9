// Photographs that survive a reload: in the browser's own database, for the tab that opened them and for a day at most.

import { remember, remembered } from "./common.js";

const DAY = 24 * 60 * 60 * 1000;
const tab = remembered("sessionStorage", "colorize-tab") ?? crypto.getRandomValues(new Uint32Array(2)).join("-");
remember("sessionStorage", "colorize-tab", tab);

const wait = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

async function store(mode) {
  const request = indexedDB.open("colorize", 1);
  request.onupgradeneeded = () => request.result.createObjectStore("photographs", { keyPath: "id", autoIncrement: true });
  return (await wait(request)).transaction("photographs", mode).objectStore("photographs");
}

/** The tab's photographs, in the order in which they were opened; those of a day ago are deleted. */
export async function keptPhotos() {
  try {
    const found = await wait((await store("readonly")).getAll());
    for (const { id, time } of found) if (Date.now() - time > DAY) await forgetPhoto(id);
    return found.filter((photo) => photo.tab === tab && Date.now() - photo.time <= DAY);
  } catch {
    return []; // the browser keeps nothing, as in some private windows
  }
}

/** Keeps a photograph and resolves to its number; without a database, to one that is as good until a reload. */
export async function keepPhoto({ id, title, credit, file, preview, about, hints }) {
  const record = { title, credit, file, preview, about, hints, tab, time: Date.now(), ...(id === undefined ? {} : { id }) };
  try {
    return await wait((await store("readwrite")).put(record));
  } catch {
    return id ?? Math.random();
  }
}

export async function forgetPhoto(id) {
  try {
    await wait((await store("readwrite")).delete(id));
  } catch {
    // It was not kept.
  }
}
