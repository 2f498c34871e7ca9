const KEPT = "colorize-turing-participant"; // the random number, so that a reload goes on where it was

function render({ model, el }) {
  const ended = new AbortController();
  const ask = requests(model, ended.signal);
  const settings = model.get("settings");
  let participant = read();
  let respond = null; // function of the answer, while a question waits

  const alarm = make("p", { role: "alert", class: "cz-alarm" });
  const stage = make("div", {});
  el.setAttribute("data-lm-suppress-shortcuts", "true");
  el.classList.add("cz-page");
  el.append(alarm, stage);
  document.addEventListener("keydown", pressed, { signal: ended.signal });
  welcome();

  function read() {
    try {
      return localStorage.getItem(KEPT);
    } catch {
      return null; // storage is switched off: a reload begins anew
    }
  }

  function keep(value) {
    participant = value;
    try {
      if (value) localStorage.setItem(KEPT, value);
      else localStorage.removeItem(KEPT);
    } catch {
      // as above
    }
  }

  async function guarded(work) {
    alarm.textContent = "";
    try {
      await work();
    } catch (error) {
      alarm.textContent = error.message;
    }
  }

  /** Shows elements; the heading gets the focus, so that screen readers read on and the keyboard starts there. */
  function present(heading, ...elements) {
    const title = make("h2", { tabindex: "-1" }, heading);
    stage.replaceChildren(title, ...elements);
    title.focus({ preventScroll: true });
    return title;
  }

  function welcome() {
    const forms = [
      ["single", "One picture at a time: is it real or colorized?"],
      ["compare", "Two pictures side by side: which one is colorized?"],
    ].map(([value, text], place) =>
      make("label", { class: "cz-wide" }, make("input", { type: "radio", name: "form", value, checked: place === 0 }), ` ${text}`),
    );
    const start = () => guarded(() => begin(stage.querySelector("input:checked").value));
    stage.replaceChildren(
      make("p", {}, `You see ${settings.length} pictures or pairs. Some photographs are real, in some a network has put the colours.`),
      make("fieldset", {}, make("legend", {}, "Form"), ...forms),
      make("p", {}, "Answer with the buttons or the arrow keys ← and →. Answers in less than a second do not count."),
      make("p", { class: "cz-credit" }, "Kept are your answers, their times, the day, and a random number; no name and no address."),
      make("button", { type: "button", onclick: start }, "Start"),
    );
  }

  async function begin(form) {
    const { answer, buffers } = await ask({ do: "start", participant, form });
    keep(answer.participant);
    await question(answer, buffers);
  }

  async function question(answer, buffers) {
    if (answer.finished) return finish(answer);
    const single = answer.form === "single";
    const names = single ? ["Real", "Colorized"] : ["The left one", "The right one"];
    const place = `${single ? "Picture" : "Pair"} ${answer.place} of ${answer.total}`;
    const images = buffers.map((_, side) =>
      make("img", { alt: single ? `${place}: real or colorized?` : `${place}, ${side ? "right" : "left"} picture` }),
    );
    const buttons = names.map((name, side) =>
      make("button", { type: "button", disabled: true, onclick: () => respond?.(Boolean(side)) }, side ? `${name} →` : `← ${name}`),
    );
    await Promise.all(images.map((image, side) => show(image, buffers[side])));
    present(
      `${place}: ${single ? "real or colorized?" : "which one is colorized?"}`,
      make("div", { class: single ? "cz-one" : "cz-pair" }, ...images),
      make("div", { class: "cz-answers" }, ...buttons),
    );
    await new Promise(requestAnimationFrame); // from now on it can be seen
    const begun = performance.now();
    buttons.forEach((button) => (button.disabled = false));
    respond = (colorized) => {
      respond = null;
      buttons.forEach((button) => (button.disabled = true));
      const seconds = (performance.now() - begun) / 1000;
      guarded(async () => {
        const next = await ask({ do: "answer", participant, number: answer.number, answer: colorized, seconds });
        images.forEach((image) => URL.revokeObjectURL(image.src));
        await question(next.answer, next.buffers);
      });
    };
  }

  function pressed(event) {
    if (!respond || event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
    if (event.target.closest?.("input, textarea, select, [contenteditable=true]")) return;
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    event.preventDefault();
    respond(event.key === "ArrowRight");
  }

  function finish(answer) {
    const credits = answer.credits.map((text) => make("li", {}, text));
    present(
      "Thank you",
      make("p", { class: "cz-yours" }, answer.yours),
      table(settings.headings, answer.table, "All participants, and the paper's three numbers"),
      make("p", { class: "cz-credit" }, answer.note),
      make("button", { type: "button", disabled: !answer.left, onclick: welcome }, answer.left ? "More pictures" : "You have seen all pictures"),
      " ",
      make("button", { type: "button", onclick: someoneElse }, "Somebody else is next"),
      " ",
      make("button", { type: "button", onclick: forget }, "Delete my answers"),
      credits.length ? make("details", {}, make("summary", {}, "The photographs"), make("ul", {}, ...credits)) : null,
    );
  }

  function someoneElse() {
    keep(null);
    welcome();
  }

  function forget() {
    guarded(async () => {
      await ask({ do: "forget", participant });
      someoneElse();
    });
  }

  return () => ended.abort();
}

export default { render };
