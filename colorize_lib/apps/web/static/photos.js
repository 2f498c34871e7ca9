import { make, post, remember, remembered, state } from "./common.js";
import { keepPhoto, keptPhotos, forgetPhoto } from "./kept.js";

const at = (id) => document.getElementById(id);
const GRAY = "gray";
const ORIGINAL = "original";
const SETTINGS = "colorize-settings";

let server = null; // what it offers
let photos = []; // {id, title, credit, file, preview, about, hints, results}
let current = null;
let turn = null; // AbortController of the pictures that are being made
let summary = ""; // of what is shown
let pending = Promise.resolve(); // files are opened one after another

const settings = { network: null, against: GRAY, saturation: 1, vivid: null, wipe: 50, current: null, ...remembered("sessionStorage", SETTINGS) };
const saveSettings = () => remember("sessionStorage", SETTINGS, settings);
const network = () => server.networks.find(({ name }) => name === settings.network) ?? server.networks[0];

start();

async function start() {
  const kept = keptPhotos();
  server = await state(
    ({ photographs }) => photographs,
    () => say("The server does not answer yet …"),
  );
  at("limits").textContent = `At most ${server.maxBytes / 1e6} MB and ${server.maxPixels / 1e6} megapixels each.`;
  showThumbnails();
  listen();
  say("Loading the networks, which takes a few seconds. You can already choose photographs.");
  for (const photo of await kept) addPhoto(photo);
  server = await state(
    ({ networks }) => networks,
    () => {},
  );
  if (!server.networks.some(({ name }) => name === settings.network)) settings.network = server.networks[0].name;
  fill(at("network"), server.networks.map(({ name, title }) => [name, title]), settings.network);
  at("saturation").value = settings.saturation;
  at("wipe").value = settings.wipe;
  cut();
  drawStrip();
  say("");
  const last = photos.find(({ id }) => id === settings.current);
  if (current) await draw(); // it was opened before the networks were there
  else if (last) await select(last);
}

function listen() {
  at("file").addEventListener("change", () => {
    open([...at("file").files]);
    at("file").value = "";
  });
  document.addEventListener("dragover", (event) => {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    document.body.classList.add("dragging");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dragging");
  });
  document.addEventListener("drop", (event) => {
    document.body.classList.remove("dragging");
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    open([...event.dataTransfer.files]);
  });
  document.addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) open([...event.clipboardData.files]);
  });
  at("network").addEventListener("change", () => set("network", at("network").value));
  at("against").addEventListener("change", () => set("against", at("against").value));
  at("saturation").addEventListener("input", () => (at("saturationText").textContent = Number(at("saturation").value).toFixed(1)));
  at("saturation").addEventListener("change", () => set("saturation", Number(at("saturation").value)));
  at("vivid").addEventListener("change", () => set("vivid", Number(at("vivid").value)));
  at("wipe").addEventListener("input", cut);
  at("download").addEventListener("click", () => download([current]));
  at("downloadAll").addEventListener("click", () => download(photos));
  at("place").addEventListener("click", () => placing(at("place").getAttribute("aria-pressed") === "false"));
  at("viewer").addEventListener("click", pick);
  at("addHint").addEventListener("click", () => addHint(at("hintX").value / 100, at("hintY").value / 100));
  at("clearHints").addEventListener("click", () => setHints([]));
}

const say = (text) => (at("status").textContent = text);

function fill(select, options, chosen) {
  select.replaceChildren(...options.map(([value, text]) => make("option", { value, selected: value === chosen }, text)));
}

function set(name, value) {
  settings[name] = value;
  saveSettings();
  draw();
}

// Photographs

function showThumbnails() {
  at("thumbnails").replaceChildren(
    ...server.photographs.map(({ name, title, credit }) => {
      const image = make("img", { src: `/photographs/${name}`, alt: title, title: credit, loading: "lazy", width: 120, height: 90 });
      return make("button", { type: "button", onclick: () => take(name, title, credit) }, image);
    }),
  );
}

function take(name, title, credit) {
  at("bundled").open = false;
  at("bundled").querySelector("summary").focus();
  open([{ name: title, credit, read: async () => (await fetch(`/photographs/${name}`)).blob() }]);
}

/** Opens files, one after another. What cannot be used is said, and nothing else is shown in its place. */
function open(files) {
  at("alarm").textContent = "";
  pending = pending.then(async () => {
    const refused = [];
    let first = null;
    for (const file of files) {
      try {
        const photo = await opened(file);
        first ??= photo;
        if (photo === first) await select(photo);
      } catch (error) {
        refused.push(`${file.name}: ${error.message}`);
        if (!first) await select(null);
      }
    }
    at("alarm").textContent = refused.join("\n");
    say(at("result").hidden ? "" : summary);
  });
}

async function opened(file) {
  say(`Opening ${file.name} …`);
  if (file.size > server.maxBytes) throw new Error(`It has ${Math.ceil(file.size / 1e6)} MB; at most ${server.maxBytes / 1e6} are taken.`);
  const content = file.read ? await file.read() : file;
  const response = await post("/open", content, { busy: say });
  const about = JSON.parse(response.headers.get("x-about"));
  const title = file.read ? file.name : file.name.replace(/\.[^.]*$/, "");
  const record = { title, credit: file.credit ?? "", file: content, preview: await response.blob(), about, hints: [] };
  record.id = await keepPhoto(record);
  return addPhoto(record);
}

function addPhoto(record) {
  const photo = { ...record, results: new Map(), address: URL.createObjectURL(record.preview) };
  photos.push(photo);
  at("bundled").open = false;
  drawStrip();
  return photo;
}

function removePhoto(photo) {
  forgetPhoto(photo.id);
  photos = photos.filter((other) => other !== photo);
  forgetResults(photo);
  URL.revokeObjectURL(photo.address);
  if (photo === current) select(photos[0] ?? null);
  else drawStrip();
  at("file").focus();
}

function forgetResults(photo) {
  for (const address of photo.results.values()) URL.revokeObjectURL(address);
  photo.results.clear();
}

function drawStrip() {
  at("strip").hidden = !photos.length;
  at("downloadAll").hidden = photos.length < 2;
  document.body.classList.toggle("opened", photos.length > 0);
  const focused = at("strip").contains(document.activeElement);
  at("strip").replaceChildren(
    ...photos.map((photo) =>
      make(
        "div",
        { class: "one" },
        make(
          "button",
          { type: "button", class: "pick", "aria-pressed": String(photo === current), onclick: () => select(photo) },
          make("img", { src: photo.address, alt: photo.title }),
        ),
        make("button", { type: "button", class: "remove", "aria-label": `Remove ${photo.title}`, onclick: () => removePhoto(photo) }, "×"),
      ),
    ),
  );
  const picked = at("strip").querySelector("[aria-pressed='true']");
  picked?.scrollIntoView({ block: "nearest", inline: "nearest" });
  if (focused) picked?.focus();
}

// The picture

async function select(photo) {
  turn?.abort();
  current = photo;
  settings.current = photo?.id ?? null;
  saveSettings();
  drawStrip();
  placing(false);
  at("result").hidden = !photo;
  if (photo) showGray(photo); // until its colours are there
  if (photo && server.networks) await draw();
  else if (photo) say("The networks are being loaded; this photograph is next.");
}

function showGray(photo) {
  at("result").classList.add("working");
  at("after").removeAttribute("src");
  at("before").src = photo.address;
  at("before").alt = `${photo.title}: gray`;
  at("before").classList.add("gray");
  at("title").textContent = photo.title;
  const size = `${photo.about.width} × ${photo.about.height} pixels`;
  at("about").textContent = [size, photo.credit].filter(Boolean).join(" · ");
  at("viewer").style.setProperty("--ratio", photo.about.width / photo.about.height);
}

/** Shows the current photograph with the current settings. */
async function draw() {
  if (!current || !server.networks) return;
  const photo = current;
  turn?.abort();
  const mine = (turn = new AbortController());
  const chosen = network();
  const others = server.networks.filter((other) => other !== chosen).map(({ name, title }) => [name, title]);
  const choices = [[GRAY, "gray"], ...(photo.about.colour ? [[ORIGINAL, "the original colours"]] : []), ...others];
  const against = choices.some(([name]) => name === settings.against) ? settings.against : GRAY;
  fill(at("against"), choices, against);
  at("saturationText").textContent = Number(at("saturation").value).toFixed(1);
  at("vividLabel").hidden = chosen.vivid === null;
  if (chosen.vivid !== null) at("vivid").value = settings.vivid ?? chosen.vivid;
  at("hints").hidden = !chosen.hints;
  if (!chosen.hints) placing(false);
  drawHints();
  try {
    say(`Colorizing ${photo.title} …`);
    const plain = against === GRAY || against === ORIGINAL;
    const before = plain ? photo.address : await colorized(photo, server.networks.find(({ name }) => name === against), mine.signal);
    const after = await colorized(photo, chosen, mine.signal);
    if (mine.signal.aborted) return;
    at("before").classList.toggle("gray", against === GRAY);
    at("before").alt = `${photo.title}: ${choices.find(([name]) => name === against)[1]}`;
    at("after").alt = `${photo.title}: colours by ${chosen.title}`;
    at("beforeName").textContent = choices.find(([name]) => name === against)[1];
    at("afterName").textContent = chosen.title;
    at("before").src = before;
    at("after").src = after;
    await Promise.all([at("before").decode(), at("after").decode()]);
    if (mine.signal.aborted) return;
    at("result").classList.remove("working");
    summary = `${photo.title} is colorized by ${chosen.title}.`;
    say(summary);
  } catch (error) {
    if (error.name === "AbortError" || mine.signal.aborted) return;
    at("result").hidden = true;
    say("");
    at("alarm").textContent = error.message;
  }
}

/** Address of the photograph's preview in a network's colours. */
async function colorized(photo, { name, hints, vivid }, signal) {
  const query = asked(photo, { name, hints, vivid });
  if (!photo.results.has(query)) {
    const response = await post(`/preview?${query}`, photo.preview, { signal, busy: say });
    if (photo.results.size > 11) forgetResults(photo);
    photo.results.set(query, URL.createObjectURL(await response.blob()));
  }
  return photo.results.get(query);
}

function asked(photo, { name, hints, vivid }) {
  const wanted = { network: name, saturation: settings.saturation };
  if (hints) wanted.hints = photo.hints;
  if (vivid !== null) wanted.vivid = settings.vivid ?? vivid;
  return new URLSearchParams({ settings: JSON.stringify(wanted) }).toString();
}

function cut() {
  settings.wipe = Number(at("wipe").value);
  saveSettings();
  at("viewer").style.setProperty("--cut", `${settings.wipe}%`);
  at("wipe").setAttribute("aria-valuetext", `${Math.round(100 - settings.wipe)} % of the picture in new colours`);
}

async function download(wanted) {
  at("alarm").textContent = "";
  at("download").disabled = at("downloadAll").disabled = true;
  for (const photo of wanted) {
    try {
      say(`Colorizing ${photo.title} at full size …`);
      const response = await post(`/download?${asked(photo, network())}`, photo.file, { busy: say });
      const { suffix, width, height, notes } = JSON.parse(response.headers.get("x-about"));
      const content = await response.blob();
      const address = URL.createObjectURL(content);
      const name = `${photo.title.replace(/[\\/:*?"<>|\p{C}]/gu, "") || "photograph"}-colorized.${suffix}`;
      make("a", { href: address, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(address), 60_000);
      const lost = notes.map((note) => ` ${note.split(";")[0]}.`).join("");
      say(`${name}: ${width} × ${height} pixels, ${(content.size / 1e6).toFixed(1)} MB.${lost}`);
    } catch (error) {
      say("");
      at("alarm").textContent += `${photo.title}: ${error.message}\n`;
    }
  }
  at("download").disabled = at("downloadAll").disabled = false;
}

// The visitor's own colours

function placing(on) {
  at("place").setAttribute("aria-pressed", String(on));
  at("viewer").classList.toggle("placing", on);
}

function pick(event) {
  if (at("place").getAttribute("aria-pressed") === "false") return;
  const box = at("viewer").getBoundingClientRect();
  addHint((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
}

function addHint(x, y) {
  const within = (value) => Math.min(Math.max(Number(value.toFixed(4)), 0), 1);
  setHints([...current.hints, [within(x), within(y), at("hintColor").value]]);
}

function setHints(points) {
  current.hints = points;
  keepPhoto(current);
  draw();
}

function drawHints() {
  const percent = (value) => `${Math.round(100 * value)} %`;
  const shown = network().hints ? current.hints : [];
  at("marks").replaceChildren(
    ...shown.map(([x, y, color]) => {
      const mark = make("span", { class: "mark" });
      Object.assign(mark.style, { left: `${100 * x}%`, top: `${100 * y}%`, background: color });
      return mark;
    }),
  );
  const focused = at("hintList").contains(document.activeElement);
  at("hintList").replaceChildren(
    ...shown.map(([x, y, color], number) => {
      const remove = () => setHints(current.hints.filter((_, other) => other !== number));
      const swatch = make("span", { class: "swatch", "aria-hidden": "true" });
      swatch.style.background = color;
      const text = ` ${color}, ${percent(x)} from the left, ${percent(y)} from the top `;
      const button = make("button", { type: "button", class: "quiet", "aria-label": `Remove point ${number + 1}`, onclick: remove }, "Remove");
      return make("li", {}, swatch, text, button);
    }),
  );
  if (focused) (at("hintList").querySelector("button") ?? at("addHint")).focus();
}
