// Shared by the two pages: requests to the kernel, and elements.

/** Function (request, buffers) → promise of {answer, buffers}; an answer with "error" rejects. */
function requests(model, signal) {
  const waiting = new Map();
  const view = Math.random().toString(36).slice(2);
  let count = 0;
  const received = (answer, buffers) => {
    const promise = waiting.get(answer.id);
    if (!promise) return;
    waiting.delete(answer.id);
    if (answer.error) promise.reject(new Error(answer.error));
    else promise.resolve({ answer, buffers });
  };
  model.on("msg:custom", received);
  signal.addEventListener("abort", () => model.off("msg:custom", received));
  return (request, buffers = []) =>
    new Promise((resolve, reject) => {
      const id = `${view}-${++count}`;
      waiting.set(id, { resolve, reject });
      model.send({ ...request, id }, undefined, buffers);
    });
}

/** An element with attributes (on… are listeners) and children (elements or text). */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (typeof value === "boolean") element.toggleAttribute(name, value);
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Shows bytes of a JPEG file in an <img>, resolved when it can be seen. */
async function show(image, bytes, type = "image/jpeg") {
  const former = image.src;
  image.src = URL.createObjectURL(new Blob([bytes], { type }));
  if (former.startsWith("blob:")) URL.revokeObjectURL(former);
  await image.decode();
}

function table(headings, rows, caption) {
  const head = make("tr", {}, ...headings.map((text) => make("th", { scope: "col" }, text)));
  const body = rows.map((row) =>
    make("tr", {}, ...row.map((text, place) => make(place < 2 ? "th" : "td", place < 2 ? { scope: "row" } : {}, text))),
  );
  const grid = make("table", {}, make("caption", {}, caption), make("thead", {}, head), make("tbody", {}, ...body));
  return make("div", { class: "cz-scroll", role: "region", tabindex: "0", "aria-label": caption }, grid);
}
