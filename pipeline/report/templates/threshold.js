// The threshold: purity, completeness, figure of merit and the confusion matrix at any threshold of the grid, from
// counts alone. A stored threshold lies between two of the grid, and shows its own exact counts.

const selection = readJson("selection-counts");

const share = (part, whole) => (whole > 0 ? part / whole : NaN);
const inWords = (value) => (Number.isFinite(value) ? value.toFixed(4) : "–");
const withCommas = (count) => count.toLocaleString("en-US");

function measure(truePositive, falsePositive) {
  const completeness = share(truePositive, selection.nIa);
  const pseudoPurity = truePositive > 0 ? truePositive / (truePositive + selection.weight * falsePositive) : 0;
  return {
    truePositive,
    falsePositive,
    falseNegative: selection.nIa - truePositive,
    trueNegative: selection.nOthers - falsePositive,
    purity: share(truePositive, truePositive + falsePositive),
    completeness,
    merit: completeness * pseudoPurity,
  };
}

function showThreshold(label, found) {
  const set = (id, text) => { document.getElementById(id).textContent = text; };
  set("threshold-value", label);
  set("true-positive", withCommas(found.truePositive));
  set("false-negative", withCommas(found.falseNegative));
  set("false-positive", withCommas(found.falsePositive));
  set("true-negative", withCommas(found.trueNegative));
  set("threshold-summary", `P(Ia) > ${label}: purity ${inWords(found.purity)}, completeness ` +
    `${inWords(found.completeness)}, figure of merit ${inWords(found.merit)}; ` +
    `${withCommas(found.truePositive + found.falsePositive)} called Ia.`);
  document.getElementById("threshold-slider").setAttribute("aria-valuetext", `P(Ia) above ${label}`);
}

function showStep(step) {
  showThreshold(selection.threshold[step].toFixed(3), measure(selection.ia[step], selection.others[step]));
}

function addPoint(point, slider) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = `${point.name}${point.optimistic ? " †" : ""} (${point.threshold.toFixed(4)})`;
  button.addEventListener("click", () => {
    slider.value = Math.round(point.threshold * (selection.threshold.length - 1));
    showThreshold(point.threshold.toFixed(4), measure(point.ia, point.called - point.ia));
  });
  document.getElementById("threshold-points").append(button);
}

if (selection) {
  const slider = document.getElementById("threshold-slider");
  slider.value = Math.round((selection.threshold.length - 1) / 2);
  slider.addEventListener("input", () => showStep(Number(slider.value)));
  for (const point of selection.points) addPoint(point, slider);
  showStep(Number(slider.value));
  document.getElementById("threshold").hidden = false;
}
