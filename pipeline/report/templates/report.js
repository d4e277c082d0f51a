// Figures that tell their numbers: each static figure is drawn anew by Vega when it comes into view.
// Everything works without this file; it only adds.

const readJson = (id) => {
  const element = document.getElementById(id);
  return element ? JSON.parse(element.textContent) : null;
};

document.documentElement.classList.add("js");

const specifications = readJson("specifications") ?? {};
const vegaConfig = readJson("vega-config");

async function makeLive(figure) {
  const chart = figure.querySelector(".chart");
  const live = document.createElement("div");
  live.className = "live";
  live.setAttribute("aria-hidden", "true"); // the element around it says what it shows
  chart.append(live);
  const options = { renderer: "svg", actions: false, ast: true, config: vegaConfig, mode: "vega-lite" };
  await window.vegaEmbed(live, specifications[figure.id], options);
  chart.classList.add("has-live");
}

// Only what is looked at is drawn: a page of twenty figures opens at once.
const observer = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    observer.unobserve(target);
    makeLive(target);
  }
}, { rootMargin: "200px" });

for (const id of Object.keys(specifications)) {
  const figure = document.getElementById(id);
  if (figure) observer.observe(figure);
}

// What is folded on the screen is wanted on paper.
window.addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details.printed:not([open])")) {
    details.open = true;
    details.dataset.opened = "for print";
  }
});
window.addEventListener("afterprint", () => {
  for (const details of document.querySelectorAll("details[data-opened]")) {
    details.open = false;
    delete details.dataset.opened;
  }
});
