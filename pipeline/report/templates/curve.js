// One light curve as SVG: photometry with errors and what the network was given, over the probabilities night by night.
// Colours are attributes, so that the style sheet can exchange them in the dark.

const SIZE = { width: 340, left: 46, right: 8, top: 8, flux: 180, gap: 14, chance: 64, bottom: 32, row: 13 };
const INK = "#1b2430", MUTED = "#5c6874", RULE = "#dde2e7";

function svgElement(name, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

const SYMBOLS = {
  circle: "M2.7,0A2.7,2.7 0 1,1 -2.7,0A2.7,2.7 0 1,1 2.7,0Z",
  square: "M-2.4,-2.4H2.4V2.4H-2.4Z",
  diamond: "M0,-3.5L2.8,0L0,3.5L-2.8,0Z",
  "triangle-up": "M0,-3.2L3,2.3H-3Z",
  "triangle-down": "M0,3.2L3,-2.3H-3Z",
  cross: "M-1,-3H1V-1H3V1H1V3H-1V1H-3V-1H-1Z",
};

const symbol = (shape, color, transform = "") => svgElement("path", { d: SYMBOLS[shape], fill: color, transform });

function scale(low, high, from, to) {
  const span = high - low || 1;
  return (value) => from + ((value - low) / span) * (to - from);
}

function ticks(low, high, wanted) {
  const raw = (high - low || 1) / wanted;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= raw);
  const found = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high + step * 1e-6; tick += step) found.push(tick);
  return found;
}

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

// A faint measurement with an error far above the median stretches no axis; a bright one is never cut.
function fluxRange(curve) {
  const typical = median(curve.error);
  const telling = curve.flux.filter((flux, i) => curve.error[i] <= 4 * typical || Math.abs(flux) > 5 * curve.error[i]);
  const low = Math.min(...telling), high = Math.max(...telling);
  const margin = Math.max(0.08 * (high - low), typical);
  return [low - margin, high + margin];
}

function drawAxes(parts, x, y, [top, bottom], times, values, label, hasTimes) {
  const text = (content, attributes) => svgElement("text", { fill: MUTED, "font-size": 10, ...attributes }, content);
  for (const value of values) {
    parts.push(svgElement("line", { x1: SIZE.left, x2: SIZE.width - SIZE.right, y1: y(value), y2: y(value), stroke: RULE }));
    parts.push(text(String(Number(value.toPrecision(6))), { x: SIZE.left - 5, y: y(value) + 3.5, "text-anchor": "end" }));
  }
  for (const time of hasTimes ? times : []) {
    parts.push(svgElement("line", { x1: x(time), x2: x(time), y1: bottom, y2: bottom + 4, stroke: MUTED }));
    parts.push(text(String(Math.round(time)), { x: x(time), y: bottom + 15, "text-anchor": "middle" }));
  }
  if (hasTimes) parts.push(text("MJD", { x: SIZE.width - SIZE.right, y: bottom + 28, "text-anchor": "end", fill: INK }));
  const middle = (top + bottom) / 2;
  parts.push(text(label, { transform: `translate(10,${middle}) rotate(-90)`, "text-anchor": "middle", fill: INK }));
}

function drawPhotometry(curve, bands, x, y) {
  const parts = [];
  for (const band of bands) {
    const steps = (curve.step_flux[band.name] ?? []).map((flux, i) => [curve.steps[i], flux]).filter(([, flux]) => flux !== null);
    const points = steps.map(([time, flux]) => `${x(time).toFixed(1)},${y(flux).toFixed(1)}`).join(" ");
    if (steps.length > 1) parts.push(svgElement("polyline", { points, fill: "none", stroke: band.color, "stroke-opacity": 0.6 }));
  }
  const style = new Map(bands.map((band) => [band.name, band]));
  curve.mjd.forEach((time, i) => {
    const band = style.get(curve.band[i]);
    if (!band) return;
    const [low, high] = [y(curve.flux[i] - curve.error[i]), y(curve.flux[i] + curve.error[i])];
    const title = svgElement("title", {}, `${band.name}, MJD ${time}: ${curve.flux[i]} ± ${curve.error[i]}`);
    parts.push(svgElement("g", {}, title,
      svgElement("line", { x1: x(time), x2: x(time), y1: low, y2: high, stroke: band.color, "stroke-opacity": 0.6 }),
      symbol(band.shape, band.color, `translate(${x(time).toFixed(1)},${y(curve.flux[i]).toFixed(1)})`)));
  });
  return parts;
}

function stepPath(times, values, x, y, end) {
  const known = times.map((time, i) => [time, values[i]]).filter(([, value]) => value !== null);
  if (!known.length) return "";
  const steps = known.slice(1).map(([time, value]) => `H${x(time).toFixed(1)}V${y(value).toFixed(1)}`);
  return `M${x(known[0][0]).toFixed(1)},${y(known[0][1]).toFixed(1)}${steps.join("")}H${end}`;
}

function drawHistory(curve, classes, x, y) {
  return classes.filter(({ name }) => name !== "nonIa" && curve.history[name]).map(({ name, color, dash }) => {
    const d = stepPath(curve.history_mjd, curve.history[name], x, y, SIZE.width - SIZE.right);
    const line = { d, fill: "none", stroke: color, "stroke-width": 1.5, "stroke-dasharray": dash[1] ? dash.join(" ") : "none" };
    return svgElement("path", line, svgElement("title", {}, `P(${name})`));
  });
}

// Class names on the right end of their lines would collide; they stand in rows below instead.
function drawClassLegend(curve, classes, top) {
  let left = SIZE.left, row = 0;
  return classes.filter(({ name }) => name !== "nonIa" && curve.history[name]).map(({ name, color, dash }) => {
    const width = 30 + 6.2 * name.length;
    if (left + width > SIZE.width - 36) [left, row] = [SIZE.left, row + 1];
    const group = svgElement("g", { transform: `translate(${left},${top + row * SIZE.row})` },
      svgElement("line", { x1: 0, x2: 16, y1: -3, y2: -3, stroke: color, "stroke-width": 2, "stroke-dasharray": dash[1] ? dash.join(" ") : "none" }),
      svgElement("text", { x: 20, y: 0, fill: MUTED, "font-size": 10 }, name));
    left += width;
    return group;
  });
}

function drawCurve(curve, bands, classes, clipId, label) {
  const hasHistory = curve.history_mjd.length > 0;
  const top = SIZE.top, bottom = top + SIZE.flux;
  const lower = bottom + SIZE.gap, end = hasHistory ? lower + SIZE.chance : bottom;
  const [first, last] = [Math.min(...curve.mjd), Math.max(...curve.mjd)];
  const x = scale(first, last, SIZE.left + 6, SIZE.width - SIZE.right - 6);
  const range = fluxRange(curve);
  const y = scale(...range, bottom, top);
  const parts = [];
  drawAxes(parts, x, y, [top, bottom], ticks(first, last, 5), ticks(...range, 5), "FLUXCAL", !hasHistory);
  const window = { x: SIZE.left, y: top, width: SIZE.width - SIZE.left - SIZE.right, height: SIZE.flux };
  parts.push(svgElement("clipPath", { id: clipId }, svgElement("rect", window)));
  parts.push(svgElement("g", { "clip-path": `url(#${clipId})` }, ...drawPhotometry(curve, bands, x, y)));
  if (hasHistory) {
    const chance = scale(0, 1, end, lower);
    drawAxes(parts, x, chance, [lower, end], ticks(first, last, 5), [0, 0.5, 1], "P", true);
    parts.push(...drawHistory(curve, classes, x, chance), ...drawClassLegend(curve, classes, end + 28));
  }
  const extra = hasHistory ? SIZE.row * Math.floor(classes.length / 6) : 0;
  const box = `0 0 ${SIZE.width} ${end + SIZE.bottom + extra}`;
  return svgElement("svg", { viewBox: box, role: "img", "aria-label": label }, ...parts);
}
