// Puts circuitsvis on the page once and turns every waiting view into a live one.
// attention_view.py sends this file to the browser through anywidget, and circuitsvis
// itself as a compressed message: neither ever enters the saved notebook.

const WAITING = "[data-course-view]:not([data-shown])";
let count = 0;

async function inflate(bytes, format) {
  const stream = new Blob([bytes]).stream();
  const opened = stream.pipeThrough(new DecompressionStream(format));
  return new Uint8Array(await new Response(opened).arrayBuffer());
}

// Bytes back to attention[head][query][key]; only the lower triangle is stored when
// the pattern is causal.
async function unpack(packed) {
  const text = Uint8Array.from(atob(packed.data), (c) => c.charCodeAt(0));
  const bytes = await inflate(text, "deflate");
  const [heads, size] = packed.shape;
  let next = 0;
  const weight = (query, key) =>
    packed.causal && key > query
      ? 0
      : Number(((bytes[next++] * packed.max) / 250).toFixed(3));
  const row = (query) => Array.from({ length: size }, (_, key) => weight(query, key));
  const head = () => Array.from({ length: size }, (_, query) => row(query));
  return Array.from({ length: heads }, head);
}

// circuitsvis's thumbnails answer to the mouse only; Tab and Enter reach them too.
function addKeys(box) {
  for (const name of box.querySelectorAll("h4")) {
    const thumbnail = name.parentElement.parentElement;
    thumbnail.tabIndex = 0;
    thumbnail.setAttribute("role", "button");
    thumbnail.setAttribute("aria-label", `Show head ${name.textContent}`);
    thumbnail.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      event.stopPropagation();
      thumbnail.click();
    });
  }
}

// circuitsvis writes white on whatever colour a head or a token has. Of black and white,
// one always has a contrast of 4.5 or more.
function light(color) {
  const parts = color.match(/[\d.]+/g).slice(0, 3).map((part) => part / 255);
  const [r, g, b] = parts.map((v) =>
    v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4,
  );
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function makeReadable(box) {
  for (const element of box.querySelectorAll('[style*="background"]')) {
    const color = getComputedStyle(element).backgroundColor;
    // What one can see through has the colour of what lies behind it.
    if (!element.style.color || color.startsWith("rgba")) continue;
    const ground = light(color);
    const ink = ground > 0.179 ? "black" : "white";
    if (element.style.color !== ink) element.style.color = ink;
  }
}

// chart.js calls a canvas a picture and gives it no words; the view's sentence is above.
function nameCanvases(box) {
  const words = box.closest("figure[aria-label]")?.getAttribute("aria-label");
  for (const canvas of box.querySelectorAll("canvas:not([aria-label])"))
    canvas.setAttribute("aria-label", words ?? "Attention pattern");
}

// A large pattern's frame is as wide as its canvas, and the canvas follows the frame:
// narrow once, for a narrow page, both would stay so.
function widenFrames(box) {
  for (const canvas of box.querySelectorAll("canvas")) {
    const frame = canvas.parentElement;
    if (frame.style.width === "initial") frame.style.width = "100%";
  }
}

// ipywidgets writes a slider's name beside it and does not tell its handle.
function nameSliders() {
  for (const handle of document.querySelectorAll(".noUi-handle:not([aria-label])")) {
    const label = handle.closest(".widget-slider")?.querySelector(".widget-label");
    if (label?.textContent) handle.setAttribute("aria-label", label.textContent);
  }
}

function improve(box) {
  makeReadable(box);
  nameCanvases(box);
  widenFrames(box);
}

function keepImproved(box) {
  improve(box);
  const changes = { subtree: true, childList: true, attributeFilter: ["style"] };
  new MutationObserver(() => improve(box)).observe(box, changes);
}

async function show(place) {
  place.dataset.shown = "waiting";
  const view = JSON.parse(place.dataset.courseView);
  if (view.packed) {
    const heads = await unpack(view.packed);
    view.props.attention = view.component === "AttentionPattern" ? heads[0] : heads;
  }
  const box = document.createElement("div");
  box.id = `course-view-${++count}`;
  box.style.padding = "0 16px"; // its rows reach 15 pixels over both edges
  place.replaceChildren(box);
  const { CircuitsVis } = window;
  CircuitsVis.render(box.id, CircuitsVis[view.component], view.props);
  keepImproved(box);
  place.dataset.shown = "live";
  setTimeout(() => {
    addKeys(box);
    if (view.room) box.firstChild.style.paddingBottom = `${view.room}px`;
  }, 300);
}

function showAll() {
  if (!window.CircuitsVis) return;
  for (const place of document.querySelectorAll(WAITING)) {
    show(place).catch((error) => console.error("attention view:", error));
  }
}

function watch() {
  if (window.courseViewsWatched) return;
  window.courseViewsWatched = true;
  let due = false;
  const look = () => {
    due = false;
    showAll();
    nameSliders();
  };
  new MutationObserver(() => {
    if (!due) due = setTimeout(look, 50);
  }).observe(document.body, { childList: true, subtree: true });
}

async function install(bytes) {
  if (!window.CircuitsVis) {
    const script = document.createElement("script");
    const code = await inflate(bytes, "gzip");
    script.textContent = new TextDecoder().decode(code);
    document.head.append(script);
    script.remove();
  }
  watch();
  showAll();
  nameSliders();
}

function initialize({ model }) {
  model.on("msg:custom", (_, buffers) => install(buffers[0]));
  if (window.CircuitsVis) {
    watch();
    showAll();
    return;
  }
  // The kernel sends the script unasked when it makes this widget; after the page was
  // loaded again it has to be asked.
  setTimeout(() => window.CircuitsVis || model.send({ ask: "script" }), 3000);
}

export default { initialize };
