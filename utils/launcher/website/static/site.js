// Makes stills live when they come near: plotly figures and attention views.
// No page loads plotly or circuitsvis before there is something to show with it, and
// nothing is fetched: a page opened from a disk may only load scripts.

window.courseFigures = {};
const base = new URL(".", document.currentScript.src);
const loaded = {};

function load(name) {
  loaded[name] ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = new URL(name, base).href;
    script.onload = resolve;
    script.onerror = () => reject(new Error(`could not load ${name}`));
    document.head.append(script);
  });
  return loaded[name];
}

async function showFigure(place) {
  const name = place.dataset.figure;
  await Promise.all([load("plotly.min.js"), load(`stills/${name}.js`)]);
  const { data, layout } = window.courseFigures[name];
  const box = document.createElement("div");
  box.setAttribute("role", "img");
  box.setAttribute("aria-label", place.querySelector("img").alt);
  const height = place.getBoundingClientRect().height;
  box.style.height = `${layout.height ?? Math.max(height, 360)}px`;
  place.append(box);
  await window.Plotly.newPlot(box, data, layout, {
    responsive: true,
    displaylogo: false,
    showSendToCloud: false,
    scrollZoom: false,
  });
  place.querySelector("img").remove();
  place.dataset.shown = "live";
}

async function showViews() {
  await load("circuitsvis.js");
  await load("attention_view.js");
}

function whenNear(elements, show) {
  const seen = new IntersectionObserver(
    (entries) => {
      for (const entry of entries.filter((e) => e.isIntersecting)) {
        seen.unobserve(entry.target);
        show(entry.target).catch((error) => console.error(error));
      }
    },
    { rootMargin: "400px" },
  );
  elements.forEach((element) => seen.observe(element));
}

// A link to something folded opens it.
function unfold() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let box = target; box; box = box.parentElement) {
    if (box.tagName === "DETAILS") box.open = true;
  }
  if (target) target.scrollIntoView();
}

whenNear(document.querySelectorAll("[data-figure]"), showFigure);
whenNear(document.querySelectorAll("[data-course-view]"), showViews);
window.addEventListener("hashchange", unfold);
if (location.hash) unfold();
