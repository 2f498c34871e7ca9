const PIECE = 1 << 20; // bytes of an upload sent at once: servers refuse messages of more than 10 MB

function render({ model, el }) {
  const ended = new AbortController();
  const ask = requests(model, ended.signal);
  const settings = model.get("settings");
  let photo = null; // the answer that describes it
  let hints = []; // [x, y, "#rrggbb"]
  let turn = 0; // the latest round of previews; earlier ones stop

  const status = make("p", { role: "status", class: "cz-status" });
  const alarm = make("p", { role: "alert", class: "cz-alarm" });
  const credit = make("p", { class: "cz-credit" });

  // 1. Photograph
  const file = make("input", { type: "file", accept: settings.accept, onchange: upload });
  const bundled = make(
    "select",
    { onchange: choose },
    make("option", { value: "" }, "– choose –"),
    ...settings.photos.map(([name, title]) => make("option", { value: name }, title)),
  );
  // 2. Networks and saturation
  const networks = settings.networks.map(([name]) =>
    make("input", { type: "checkbox", value: name, checked: true, onchange: refresh }),
  );
  const [saturation, saturationText] = slider("Saturation of the predicted colour", 0, 2, 0.1, 1, refresh, (value) => Number(value).toFixed(1));
  // 3. Results
  const gallery = make("div", { class: "cz-gallery" });
  const images = new Map();
  const compared = make("select", { onchange: compare });
  const before = make("img", { alt: "" });
  const after = make("img", { alt: "", class: "cz-after" });
  const [wipe, wipeText] = slider("Before and after", 0, 100, 1, 50, () => {}, (value) => `${value} % colorized`);
  const both = make("div", { class: "cz-both" }, before, after);
  const cut = () => (after.style.clipPath = `inset(0 0 0 ${100 - wipe.value}%)`);
  wipe.addEventListener("input", cut);
  const save = make("button", { type: "button", onclick: download }, "Download at full resolution");
  const results = make(
    "section",
    { "aria-label": "Results", hidden: true },
    make("h2", {}, "3. Result"),
    gallery,
    make("h3", {}, "Before and after"),
    make("label", {}, "Network ", compared),
    both,
    wipeText,
    save,
  );
  // Hints
  const guided = settings.networks.filter(([, takes]) => takes).map(([name]) => name);
  const hintList = make("ul", { class: "cz-hints" });
  const hintColor = make("input", { type: "color", value: "#c03030" });
  const hintX = make("input", { type: "number", min: 0, max: 100, value: 50 });
  const hintY = make("input", { type: "number", min: 0, max: 100, value: 50 });
  const hintImage = make("img", { alt: "", onclick: pick });
  const hintPlace = make("div", { class: "cz-place" }, hintImage);
  const hintBox = make(
    "section",
    { "aria-label": "Your own colours", hidden: true },
    make("h2", {}, "4. Your own colours"),
    make("p", {}, `Choose a colour and click into the picture: ${guided.join(", ")} spreads it. Its lightness stays the photo's.`),
    make("label", {}, "Colour ", hintColor),
    hintPlace,
    make(
      "div",
      { class: "cz-row" },
      make("label", {}, "From the left, % ", hintX),
      make("label", {}, "From the top, % ", hintY),
      make("button", { type: "button", onclick: () => addHint(hintX.value / 100, hintY.value / 100) }, "Add point"),
      make("button", { type: "button", onclick: () => setHints([]) }, "Remove all points"),
    ),
    hintList,
  );
  const withoutHints = make(
    "p",
    { class: "cz-credit" },
    "Your own colours at clicked points: once the public weights of SIGGRAPH17 are in the data home " +
      "(python -m colorize_lib convert siggraph17), they are offered here.",
  );

  el.setAttribute("data-lm-suppress-shortcuts", "true");
  el.classList.add("cz-page");
  el.append(
    make("h2", {}, "1. Photograph"),
    make("label", { class: "cz-wide" }, `Your photograph, at most ${settings.maxBytes / 1e6} MB; it is kept in memory only `, file),
    make("label", { class: "cz-wide" }, "or one that comes along ", bundled),
    credit,
    make("h2", {}, "2. Networks"),
    make(
      "fieldset",
      {},
      make("legend", {}, "Show side by side"),
      ...networks.map((box) => make("label", {}, box, ` ${box.value}`)),
    ),
    saturationText,
    status,
    alarm,
    results,
    settings.guided ? hintBox : withoutHints,
  );
  cut();

  function slider(text, min, max, step, value, changed, format) {
    const output = make("output", {}, format(value));
    const input = make("input", { type: "range", min, max, step, value, onchange: changed });
    input.addEventListener("input", () => (output.textContent = format(input.value)));
    return [input, make("label", { class: "cz-wide" }, `${text} `, input, " ", output)];
  }

  async function guarded(text, work) {
    alarm.textContent = "";
    status.textContent = text;
    el.setAttribute("aria-busy", "true");
    try {
      status.textContent = (await work()) ?? "";
    } catch (error) {
      status.textContent = "";
      alarm.textContent = error.message;
    } finally {
      el.removeAttribute("aria-busy");
    }
  }

  function upload() {
    const chosen = file.files[0];
    if (!chosen) return;
    bundled.value = "";
    guarded("Uploading …", async () => {
      if (chosen.size > settings.maxBytes) {
        throw new Error(`The file has ${(chosen.size / 1e6).toFixed(0)} MB, more than the ${settings.maxBytes / 1e6} that are taken.`);
      }
      let reply;
      for (let start = 0; start === 0 || start < chosen.size; start += PIECE) {
        const piece = await chosen.slice(start, start + PIECE).arrayBuffer();
        reply = await ask({ do: "upload", name: chosen.name, size: chosen.size, start }, [piece]);
        status.textContent = `Uploading … ${Math.round((100 * Math.min(start + PIECE, chosen.size)) / chosen.size)} %`;
      }
      return opened(reply);
    });
  }

  function choose() {
    if (!bundled.value) return;
    file.value = "";
    guarded("Opening …", async () => opened(await ask({ do: "choose", photo: bundled.value })));
  }

  async function opened({ answer, buffers }) {
    photo = answer;
    hints = [];
    images.clear();
    gallery.replaceChildren();
    credit.textContent = [answer.credit, `${answer.width} × ${answer.height} pixels`].filter(Boolean).join(" – ");
    const gray = figure("gray, what the networks see", buffers[0]);
    await show(before, buffers[0]);
    before.alt = `${photo.title}, gray`;
    if (settings.guided) {
      await show(hintImage, buffers[0]);
      hintImage.alt = `${photo.title}, gray: click to give a point the chosen colour`;
      drawHints();
    }
    await gray;
    await previews();
    if (answer.colour) await figure("original", buffers[1]);
    results.hidden = false;
    hintBox.hidden = false;
    return summary();
  }

  const summary = () => `${photo.title}: colorized by ${chosen().join(", ") || "no network"}.`;
  const chosen = () => networks.filter((box) => box.checked).map((box) => box.value);

  async function figure(name, bytes, note = "") {
    let entry = images.get(name);
    if (!entry) {
      const image = make("img", { alt: `${photo.title}: ${name}` });
      const caption = make("figcaption", {});
      entry = { image, caption, figure: make("figure", {}, image, caption) };
      images.set(name, entry);
      const original = images.get("original");
      if (original && original !== entry) original.figure.before(entry.figure);
      else gallery.append(entry.figure);
    }
    entry.caption.textContent = name + note;
    await show(entry.image, bytes);
  }

  function refresh() {
    if (photo) guarded("Colorizing …", previews);
  }

  async function previews() {
    const mine = ++turn;
    const wanted = chosen();
    const kept = compared.value;
    compared.replaceChildren(...wanted.map((name) => make("option", { value: name }, name)));
    if (wanted.includes(kept)) compared.value = kept;
    save.disabled = !wanted.length;
    for (const [name, entry] of images) {
      if (settings.networks.some(([network]) => network === name) && !wanted.includes(name)) {
        entry.figure.remove();
        images.delete(name);
      }
    }
    for (const network of wanted) {
      status.textContent = `Colorizing with ${network} …`;
      const { answer, buffers } = await ask({ do: "colorize", ...asked(network) });
      if (mine !== turn) return;
      await figure(network, buffers[0], `, colourfulness ${answer.colorfulness}`);
      images.get(network).bytes = buffers[0];
    }
    await compare();
    return summary();
  }

  const asked = (network) => ({
    network,
    saturation: Number(saturation.value),
    hints: guided.includes(network) ? hints : [],
  });

  async function compare() {
    const entry = images.get(compared.value);
    after.alt = entry ? `${photo.title}, colorized by ${compared.value}` : "";
    if (entry) await show(after, entry.bytes);
  }

  function download() {
    guarded("Colorizing at full resolution …", async () => {
      const { answer, buffers } = await ask({ do: "download", ...asked(compared.value) });
      const address = URL.createObjectURL(new Blob([buffers[0]], { type: answer.type }));
      make("a", { href: address, download: answer.name }).click();
      setTimeout(() => URL.revokeObjectURL(address), 60000);
      return `${answer.name}: ${answer.width} × ${answer.height} pixels, ${(buffers[0].byteLength / 1e6).toFixed(1)} MB.`;
    });
  }

  function pick(event) {
    const box = hintImage.getBoundingClientRect();
    addHint((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
  }

  function addHint(x, y) {
    const within = (value) => Math.min(Math.max(Number(value.toFixed(4)), 0), 1);
    setHints([...hints, [within(x), within(y), hintColor.value]]);
  }

  function setHints(points) {
    hints = points;
    drawHints();
    refresh();
  }

  function drawHints() {
    const percent = (value) => `${Math.round(100 * value)} %`;
    hintPlace.querySelectorAll("span").forEach((mark) => mark.remove());
    hintPlace.append(
      ...hints.map(([x, y, color]) => {
        const mark = make("span", { class: "cz-mark", "aria-hidden": "true" });
        Object.assign(mark.style, { left: `${100 * x}%`, top: `${100 * y}%`, background: color });
        return mark;
      }),
    );
    hintList.replaceChildren(
      ...hints.map(([x, y, color], number) => {
        const remove = () => setHints(hints.filter((_, other) => other !== number));
        const text = `${color} at ${percent(x)} from the left, ${percent(y)} from the top `;
        const label = `Remove point ${number + 1}`;
        return make("li", {}, text, make("button", { type: "button", "aria-label": label, onclick: remove }, "Remove"));
      }),
    );
  }

  return () => ended.abort();
}

export default { render };
