import { make, post, remember, remembered, state } from "./common.js";

const KEPT = "colorize-turing"; // {participant, first, total}: the random number, and where its round began
const alarm = document.getElementById("alarm");
const stage = document.getElementById("stage");
let settings = null;
let round = remembered("localStorage", KEPT) ?? {};
let respond = null; // function of the answer, while a question waits

start();

async function start() {
  document.addEventListener("keydown", pressed);
  settings = await state(({ ready }) => ready, waiting);
  await guarded(async () => {
    const kept = round.participant ? await ask("/resume", round) : { finished: true };
    if (kept.finished) welcome();
    else await question(kept);
  });
}

function waiting(answer) {
  const [done, all] = answer?.done ?? [0, 0];
  const text = answer ? `The pictures are being prepared: ${done} of ${all}. This happens once, and takes a few minutes.` : "The server does not answer yet …";
  const bar = make("progress", { value: done, max: all || 1, "aria-label": "Pictures that are prepared" });
  stage.replaceChildren(make("p", { role: "status" }, text), bar);
}

async function ask(path, request) {
  const response = await post(path, JSON.stringify(request), { busy: (text) => (alarm.textContent = text) });
  alarm.textContent = "";
  return response.json();
}

function keep(value) {
  round = value;
  remember("localStorage", KEPT, value.participant ? value : null);
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
  stage.replaceChildren(title, ...elements.filter(Boolean));
  document.body.classList.remove("asking");
  title.focus({ preventScroll: true });
}

function welcome() {
  const forms = [
    ["single", "One picture at a time: is it real or colorized?"],
    ["compare", "Two pictures side by side: which one is colorized?"],
  ].map(([value, text], place) =>
    make("label", { class: "wide" }, make("input", { type: "radio", name: "form", value, checked: place === 0 }), ` ${text}`),
  );
  const begin = () =>
    guarded(async () => {
      const form = stage.querySelector("input:checked").value;
      const answer = await ask("/start", { participant: round.participant, form });
      keep({ participant: answer.participant, first: answer.number, total: answer.waiting });
      await question(answer);
    });
  stage.replaceChildren(
    make("p", {}, `You see ${settings.length} pictures or pairs. Some photographs are real; in the others, the colours are a network's.`),
    make("fieldset", {}, make("legend", {}, "Form"), ...forms),
    make("p", {}, "Answer with the buttons or with the arrow keys ← and →. Answers in less than a second do not count."),
    make("p", {}, make("small", {}, "What is kept: your answers, their times, the day, and a random number. No name and no address.")),
    make("button", { type: "button", onclick: begin }, "Start"),
  );
}

async function question(answer) {
  if (answer.finished) return finish(answer);
  if (!round.total || answer.waiting > round.total) keep({ ...round, first: answer.number, total: answer.waiting });
  const single = answer.form === "single";
  const names = single ? ["Real", "Colorized"] : ["First one", "Second one"];
  const place = `${single ? "Picture" : "Pair"} ${round.total - answer.waiting + 1} of ${round.total}`;
  const images = answer.pictures.map((content, side) =>
    make("img", {
      src: `data:image/jpeg;base64,${content}`,
      alt: single ? `${place}: real or colorized?` : `${place}, ${side ? "second" : "first"} picture`,
    }),
  );
  const buttons = names.map((name, side) =>
    make("button", { type: "button", disabled: true, onclick: () => respond?.(Boolean(side)) }, side ? `${name} →` : `← ${name}`),
  );
  await Promise.all(images.map((image) => image.decode()));
  present(
    `${place}: ${single ? "real or colorized?" : "which one is colorized?"}`,
    make("div", { class: single ? "asked" : "asked pair" }, ...images),
    make("div", { class: "answers" }, ...buttons),
  );
  document.body.classList.add("asking"); // leaves all room to the pictures
  await new Promise(requestAnimationFrame); // from now on it can be seen
  const begun = performance.now();
  for (const button of buttons) button.disabled = false;
  respond = (colorized) => {
    respond = null;
    for (const button of buttons) button.disabled = true;
    const seconds = (performance.now() - begun) / 1000;
    guarded(async () => {
      const { participant, first } = round;
      await question(await ask("/answer", { participant, first, number: answer.number, answer: colorized, seconds }));
    }).then(() => {
      // After a refusal the same question can be answered again.
      if (alarm.textContent) for (const button of buttons) button.disabled = false;
    });
  };
}

function pressed(event) {
  if (!respond || event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  if (event.target.closest?.("input, textarea, select")) return;
  if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
  event.preventDefault();
  respond(event.key === "ArrowRight");
}

function finish(answer) {
  const wrong = answer.review.filter(({ right }) => !right);
  const more = answer.left > 0;
  present(
    "Thank you",
    make("p", { id: "yours" }, answer.yours),
    make(
      "div",
      { class: "row" },
      make("button", { type: "button", disabled: !more, onclick: welcome }, more ? "More pictures" : "You have seen all pictures"),
      make("button", { type: "button", class: "quiet", onclick: someoneElse }, "Somebody else is next"),
    ),
    make("h3", {}, wrong.length ? "What fooled you in this round" : "Nothing fooled you in this round"),
    make("div", { id: "review" }, ...wrong.map(reviewed)),
    table(settings.headings, answer.table, "All participants, and the paper's three numbers"),
    make("p", {}, make("small", {}, answer.note)),
    make(
      "details",
      {},
      make("summary", {}, "The photographs and their authors"),
      make("ul", {}, ...answer.review.filter(({ credit }) => credit).map(({ credit }) => make("li", {}, credit))),
    ),
    make(
      "details",
      { id: "deletion" },
      make("summary", {}, "Delete my answers"),
      make("p", {}, "All of your answers are removed from this server and from the statistics. This cannot be undone."),
      make("button", { type: "button", class: "danger", onclick: forget }, "Yes, delete my answers"),
    ),
  );
}

/** A question that was answered wrongly: the picture that was shown, and the other one, each with what it is. */
function reviewed({ form, colorized, real, network, credit, dropped }) {
  const pictures = [
    [real, "real"],
    [network, "colorized"],
  ];
  const shown = form === "single" ? (colorized ? "The colorized picture was shown; you said real." : "The real picture was shown; you said colorized.") : "";
  const late = dropped ? " (It took you less than a second and does not count.)" : "";
  return make(
    "article",
    {},
    make(
      "div",
      { class: "pair" },
      ...pictures.map(([name, what]) =>
        make("figure", {}, make("img", { src: `/pictures/${name}`, alt: `${what}: ${credit}`, loading: "lazy" }), make("figcaption", {}, what)),
      ),
    ),
    make("p", {}, `${shown}${late}`),
  );
}

function table(headings, rows, caption) {
  const head = make("tr", {}, ...headings.map((text) => make("th", { scope: "col" }, text)));
  const body = rows.map((row) =>
    make("tr", {}, ...row.map((text, place) => make(place < 2 ? "th" : "td", place < 2 ? { scope: "row" } : {}, text))),
  );
  const grid = make("table", {}, make("caption", {}, caption), make("thead", {}, head), make("tbody", {}, ...body));
  return make("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": caption }, grid);
}

function someoneElse() {
  keep({});
  welcome();
}

function forget() {
  guarded(async () => {
    await ask("/forget", { participant: round.participant });
    someoneElse();
  });
}
