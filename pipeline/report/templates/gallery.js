// The gallery: sort, filter, choose bands, and turn pages. Every text comes in as text, never as markup.

const gallery = readJson("gallery-curves");

const confidence = (curve) => Math.max(...Object.values(curve.probabilities));

// Each way to sort is a number, the largest first; objects that have none go last.
const SORTS = {
  wrong: (curve) => (curve.is_right === false ? 1 + confidence(curve) : curve.is_right === null ? 0 : -confidence(curve)),
  uncertain: (curve) => -confidence(curve),
  novel: (curve) => curve.novelty ?? -Infinity,
  snid: () => 0,
};

const byName = (a, b) => a.snid.localeCompare(b.snid, "en", { numeric: true });

function chosenCurves(state) {
  const value = SORTS[state.sort];
  const wanted = state.search.trim().toLowerCase();
  return gallery.curves
    .filter((curve) => !state.true || (curve.true_class ?? "unknown") === state.true)
    .filter((curve) => !state.called || curve.called === state.called)
    .filter((curve) => curve.snid.toLowerCase().includes(wanted))
    .sort((a, b) => value(b) - value(a) || byName(a, b));
}

function describe(curve) {
  const chances = Object.entries(curve.probabilities).filter(([name]) => name !== "nonIa")
    .sort(([, a], [, b]) => b - a).slice(0, 3) // of many classes, the most probable
    .map(([name, value]) => `P(${name}) = ${value === null ? "–" : value.toFixed(3)}`);
  const further = [["novelty", curve.novelty], ["redshift given", curve.redshift]]
    .filter(([, value]) => value !== null).map(([name, value]) => `${name} ${value.toFixed(3)}`);
  return [...chances, ...further, `${curve.n_epochs} measurements`].join("; ");
}

function span(className, text) {
  const element = document.createElement("span");
  element.className = className;
  element.textContent = text;
  return element;
}

function makeCard(curve, state, number) {
  const card = document.createElement("figure");
  card.className = "card";
  card.dataset.snid = curve.snid;
  const bands = gallery.bands.filter(({ name }) => !state.hidden.has(name));
  const label = `Light curve of SNID ${curve.snid}, true class ${curve.true_class ?? "unknown"}, called ${curve.called}; ${describe(curve)}`;
  const caption = document.createElement("figcaption");
  const verdict = curve.is_right === false ? span("wrong", `✗ called ${curve.called}`) : span("", `called ${curve.called}`);
  caption.append(span("snid", `SNID ${curve.snid}`), `true ${curve.true_class ?? "class unknown"}, `, verdict,
    `; ${curve.kinds.join(", ")}`, span("probabilities", describe(curve)));
  card.append(drawCurve(curve, bands, gallery.classes, `clip-${number}`, label), caption);
  return card;
}

function showGallery(state) {
  const curves = chosenCurves(state);
  const last = Math.max(0, Math.ceil(curves.length / gallery.perPage) - 1);
  state.page = Math.min(Math.max(state.page, 0), last);
  const start = state.page * gallery.perPage;
  const shown = curves.slice(start, start + gallery.perPage);
  document.getElementById("gallery-cards").replaceChildren(...shown.map((curve, i) => makeCard(curve, state, i)));
  document.getElementById("gallery-previous").disabled = state.page === 0;
  document.getElementById("gallery-next").disabled = state.page === last;
  document.getElementById("gallery-status").textContent = curves.length
    ? `${start + 1}–${start + shown.length} of ${curves.length} light curves`
    : "No light curve is like that.";
}

function addOptions(id, names) {
  const known = [...new Set(names)].sort((a, b) => a.localeCompare(b, "en"));
  for (const name of known) document.getElementById(id).append(new Option(name, name));
}

function addBandButton(band, state, redraw) {
  const button = document.createElement("button");
  button.type = "button";
  button.setAttribute("aria-pressed", "true");
  button.append(svgElement("svg", { width: 12, height: 12, viewBox: "-5 -5 10 10", "aria-hidden": "true" }, symbol(band.shape, band.color)), band.name);
  button.addEventListener("click", () => {
    const isShown = state.hidden.delete(band.name) || (state.hidden.add(band.name), false);
    button.setAttribute("aria-pressed", String(isShown));
    redraw();
  });
  document.getElementById("gallery-bands").append(button);
}

function startGallery() {
  const state = { sort: "wrong", true: "", called: "", search: "", page: 0, hidden: new Set() };
  const redraw = () => showGallery(state);
  addOptions("gallery-true", gallery.curves.map((curve) => curve.true_class ?? "unknown"));
  addOptions("gallery-called", gallery.curves.map((curve) => curve.called));
  for (const band of gallery.bands) addBandButton(band, state, redraw);
  for (const field of ["sort", "true", "called", "search"]) {
    document.getElementById(`gallery-${field}`).addEventListener("input", ({ target }) => {
      Object.assign(state, { [field]: target.value, page: 0 });
      redraw();
    });
  }
  const turn = (by) => () => { state.page += by; redraw(); };
  document.getElementById("gallery-previous").addEventListener("click", turn(-1));
  document.getElementById("gallery-next").addEventListener("click", turn(1));
  document.getElementById("gallery-form").addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("gallery").hidden = false;
  redraw();
}

if (gallery) startGallery();
