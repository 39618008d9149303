/* SPDX-License-Identifier: Apache-2.0
 *
 * Draws the page from the JSON in #data. Everything in it was written by models and by people: text goes into the page
 * by textContent only, never as HTML.
 */
"use strict";
(function () {
const data = JSON.parse(document.getElementById("data").textContent);
const root = document.documentElement;
const byId = (id) => document.getElementById(id);

/** First what is learnt and how far it drifts, then the rest. */
const CURVES = [
  { key: "reward", title: "Reward", help: "mean of fresh rollouts, by the weights of this step" },
  { key: "accuracy", share: true, title: "Held-out accuracy", help: "on problems that training never sees; band of a single run: 95% interval" },
  { key: "pass_at_k", share: true, title: "Held-out pass@k", help: "share of problems that some of k samples solve" },
  { key: "drift_negative", title: "Drift where A < 0", help: "nats per token away from the sampling policy; dotted: delta" },
  { key: "drift_positive", title: "Drift where A > 0", help: "nats per token away from the sampling policy" },
  { key: "dropped", share: true, title: "Dropped share", help: "of a step's sequences, by the mask" },
  { key: "delta", title: "Threshold in force", help: "delta, nats per token: what the policy of the mask makes of it" },
  { key: "trust", share: true, title: "Trust", help: "policy auto: below 1 it tightens the threshold and slows learning" },
  { key: "lr", title: "Learning rate in force", help: "after the schedule and the guard's brake" },
  { key: "length", title: "Response length", help: "tokens of a fresh response, mean" },
  { key: "finished", share: true, title: "Share finished", help: "fresh responses that end by themselves, before the limit" },
  { key: "entropy", title: "Entropy", help: "of the policy, nats per token" },
  { key: "grad_norm", title: "Gradient norm", help: "before clipping" },
  { key: "ess", share: true, title: "Effective sample size", help: "share of a step's sequences; 1: on-policy" },
  { key: "loss", title: "Loss", help: "cross-entropy of the solutions, nats per token" },
];
/** A chart for each verifier, where several make up the reward. */
function verifierCurves() {
  const names = new Set(data.arms.flatMap((arm) => Object.keys(arm.verifiers)));
  if (names.size < 2) return [];
  for (const arm of data.arms)
    for (const [name, curve] of Object.entries(arm.verifiers)) arm.curves["verifier " + name] = curve;
  return [...names].map((name) => ({ key: "verifier " + name, title: "Verifier " + name, help: "mean score of fresh rollouts" }));
}
/** The band of a single run's accuracy is its interval; that of several is their range. */
for (const { curves, runs } of data.arms) {
  if (runs.length !== 1 || !curves.accuracy || !curves.accuracy_low || !curves.accuracy_high) continue;
  Object.assign(curves.accuracy, { low: curves.accuracy_low.mean, high: curves.accuracy_high.mean });
}
const COLOURS = 10, PLAIN = 6;
const MAX_SEEDS_NAMED = 8;

/* ---- small helpers --------------------------------------------------------------------------------------------- */

/** An element with properties and children; strings become text nodes. */
function el(tag, properties, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties || {})) {
    if (name in node && name !== "list") node[name] = value;
    else node.setAttribute(name, value);
  }
  for (const child of children.flat()) if (child !== null && child !== undefined) node.append(child);
  return node;
}

const isNumber = (x) => typeof x === "number" && Number.isFinite(x);

/** Three significant digits, without an exponent where it can be read without. */
function format(x) {
  if (!isNumber(x)) return "–";
  if (x === 0) return "0";
  const size = Math.abs(x);
  if (size >= 1e5 || size < 1e-4) return x.toExponential(2).replace("e+", "e").replace("-", "−").replace("e-", "e−");
  const digits = Math.max(0, 2 - Math.floor(Math.log10(size)));
  return x.toLocaleString("en", { maximumFractionDigits: Math.min(digits, 6) }).replace("-", "−");
}
const whole = (n) => n.toLocaleString("en");
const percent = (x) => (isNumber(x) ? format(100 * x) + "%" : "–");
const plural = (n, one) => whole(n) + " " + one + (n === 1 ? "" : "s");

const css = (name) => getComputedStyle(root).getPropertyValue(name).trim();
const armColour = (i) => css("--c" + (i % COLOURS));
/** Dashes tell apart what colours alone do not. */
const armDash = (i) => (i < PLAIN ? [] : i < 2 * COLOURS ? [7, 3] : [2, 3]);
const withAlpha = (hex, alpha) => hex + Math.round(alpha * 255).toString(16).padStart(2, "0");

/** A table in a region that scrolls by itself and can be reached by keyboard. */
function table(label, head, rows, kind) {
  return el("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": label },
    el("table", { className: kind || "" },
      el("thead", {}, el("tr", {}, head.map((text) => el("th", { scope: "col" }, text)))),
      el("tbody", {}, rows.map((row) => el("tr", {}, row)))));
}
const swatch = (i) => {
  const node = el("span", { className: "swatch", "aria-hidden": "true" });
  node.style.background = `var(--c${i % COLOURS})`;
  return node;
};
const armHead = (i) => el("th", { scope: "row", title: data.arms[i].name }, swatch(i), data.arms[i].name);

function choice(label, options, onchange) {
  const select = el("select", {}, options.map((text, i) => el("option", { value: String(i) }, text)));
  select.addEventListener("change", () => onchange(Number(select.value)));
  return { label: el("label", {}, label, select), select };
}

/* ---- theme ----------------------------------------------------------------------------------------------------- */

const THEMES = ["auto", "light", "dark"];
let theme = 0;
const systemDark = matchMedia("(prefers-color-scheme: dark)");
const charts = [];

function applyTheme() {
  const dark = THEMES[theme] === "dark" || (THEMES[theme] === "auto" && systemDark.matches);
  root.dataset.theme = dark ? "dark" : "light";
  byId("theme").textContent = "Theme: " + THEMES[theme];
  for (const chart of charts) chart.restyle();
}
byId("theme").addEventListener("click", () => {
  theme = (theme + 1) % THEMES.length;
  applyTheme();
});
systemDark.addEventListener("change", applyTheme);
root.dataset.theme = systemDark.matches ? "dark" : "light";

/* ---- scales ---------------------------------------------------------------------------------------------------- */

/** Linear about 0 and logarithmic far from it: drift bursts by orders of magnitude and has both signs. */
const SYMLOG_UNIT = 0.01;
const symlog = { to: (x) => Math.asinh(x / SYMLOG_UNIT), from: (y) => SYMLOG_UNIT * Math.sinh(y) };
const linear = { to: (x) => x, from: (y) => y };

function symlogTicks(low, high) {
  const ticks = [];
  for (let e = -2; e <= 6; e++) for (const m of [1, 3]) ticks.push(m * 10 ** e, -m * 10 ** e);
  ticks.push(0);
  const inside = ticks.map((v) => ({ value: symlog.to(v) })).filter((t) => t.value >= low && t.value <= high);
  inside.sort((a, b) => a.value - b.value);
  const every = Math.ceil(inside.length / 9);
  return inside.filter((t, i) => (i - inside.findIndex((u) => u.value === 0)) % every === 0);
}

/** Whether a few values would flatten all others on a linear scale. */
function wantsSymlog(key) {
  if (!key.startsWith("drift")) return false;
  const sizes = data.arms.flatMap((arm) => (arm.curves[key] ? arm.curves[key].mean : []))
    .filter(isNumber).map(Math.abs).sort((a, b) => a - b);
  return sizes.length > 0 && sizes[sizes.length - 1] > 20 * Math.max(sizes[sizes.length >> 1], 1e-3);
}

/* ---- curves over steps ----------------------------------------------------------------------------------------- */

const shown = data.arms.map(() => true);

/** Datasets of an arm: the band's lower and upper edge, the mean, and in one chart the threshold beside the drift. */
function datasets(key, scale) {
  const sets = [];
  data.arms.forEach((arm, i) => {
    const curve = arm.curves[key];
    if (!curve) return;
    const points = (column) => column.map((v, k) => ({ x: k * data.bin, y: isNumber(v) ? scale.to(v) : NaN }));
    const base = { arm: i, pointRadius: 0, pointHoverRadius: 0, pointHitRadius: 0, spanGaps: true, hidden: !shown[i], tension: 0 };
    if (curve.low) {
      sets.push({ ...base, role: "low", data: points(curve.low), borderWidth: 0, fill: false, order: 2 });
      sets.push({ ...base, role: "high", data: points(curve.high), borderWidth: 0, fill: "-1", order: 2 });
    }
    const few = curve.mean.filter(isNumber).length;
    sets.push({ ...base, role: "mean", curve, data: points(curve.mean), borderWidth: 2, borderDash: armDash(i), fill: false,
                order: 1, pointRadius: few < 2 ? 4 : few <= 12 ? 2.5 : 0, pointHoverRadius: 4 });
    if (key === "drift_negative" && threshold(arm, 0) && arm.curves.delta)
      sets.push({ ...base, role: "delta", data: points(arm.curves.delta.mean), borderWidth: 1.25, borderDash: [3, 4], fill: false, order: 1 });
  });
  return sets;
}

function paint(chart) {
  for (const set of chart.data.datasets) {
    const colour = armColour(set.arm);
    set.borderColor = colour;
    set.pointBackgroundColor = colour;
    set.backgroundColor = set.role === "high" ? withAlpha(colour, 0.16) : colour;
  }
  const o = chart.options;
  for (const axis of Object.values(o.scales)) {
    axis.grid.color = css("--grid");
    axis.grid.borderColor = css("--line");
    axis.ticks.color = css("--muted");
    axis.title.color = css("--muted");
  }
  Object.assign(o.plugins.tooltip, { backgroundColor: css("--card"), titleColor: css("--text"), bodyColor: css("--text"),
                                     borderColor: css("--muted") });
}

/** A line through the point being read. */
const crossHair = {
  id: "crossHair",
  afterDatasetsDraw(chart) {
    const { ctx, chartArea: area } = chart;
    const active = chart.tooltip && chart.tooltip.getActiveElements();
    if (!active || !active.length) return;
    ctx.save();
    ctx.lineWidth = 1;
    ctx.strokeStyle = css("--muted");
    ctx.globalAlpha = 0.5;
    ctx.beginPath();
    ctx.moveTo(active[0].element.x, area.top);
    ctx.lineTo(active[0].element.x, area.bottom);
    ctx.stroke();
    ctx.restore();
  },
};

function readout(item) {
  const { curve, arm } = item.dataset;
  const k = item.dataIndex;
  const { name, runs, curves } = data.arms[arm];
  let text = `${name}: ${format(curve.mean[k])}`;
  if (curve.low && isNumber(curve.low[k])) text += `  (${format(curve.low[k])} to ${format(curve.high[k])})`;
  if (curve === curves.drift_negative && threshold(data.arms[arm], 0)) text += `, delta ${format(curves.delta?.mean[k])}`;
  if (curve.runs && curve.runs[k] < runs.length) text += `, ${plural(curve.runs[k], "run")} only`;
  return text;
}

const stepsOf = (k) =>
  data.bin === 1 ? `step ${whole(k)}` : `steps ${whole(k * data.bin)} to ${whole((k + 1) * data.bin - 1)}`;

function axis(text) {
  return { grid: { tickLength: 4 }, ticks: { maxRotation: 0, autoSkipPadding: 14, font: { size: 11 } },
           title: { display: !!text, text: text || "", font: { size: 11 } } };
}

/** `holder` has the scale, which a button may change. The axis of a share ends at 1, also where all values are 1. */
function curveOptions(holder, share) {
  const y = axis();
  if (share) y.afterDataLimits = (scale) => { scale.max = Math.min(scale.max, 1); };
  y.ticks.callback = (value) => format(holder.scale.from(value));
  y.afterBuildTicks = (scale) => {
    if (holder.scale === symlog) scale.ticks = symlogTicks(scale.min, scale.max);
  };
  const x = axis("optimiser steps");
  x.type = "linear";
  x.max = Math.max(data.bin, data.steps);
  x.ticks.includeBounds = false;
  x.ticks.callback = (value) => (Number.isInteger(value) ? whole(value) : "");
  return {
    animation: false, responsive: true, maintainAspectRatio: false, parsing: false, normalized: true,
    interaction: { mode: "index", intersect: false },
    scales: { x, y },
    plugins: {
      legend: { display: false },
      tooltip: { borderWidth: 1, padding: 8, boxPadding: 4, usePointStyle: true, filter: (item) => item.dataset.role === "mean",
                 itemSort: (a, b) => b.parsed.y - a.parsed.y,
                 callbacks: { title: (items) => (items.length ? stepsOf(items[0].dataIndex) : ""), label: readout } },
    },
  };
}

/** Arrow keys walk along the points; what the tooltip shows is also said. */
function keyboard(canvas, chart, length, describe) {
  let at = -1;
  const show = (k) => {
    at = k;
    const elements = chart.data.datasets
      .map((set, i) => ({ datasetIndex: i, index: k }))
      .filter(({ datasetIndex: d }) => chart.isDatasetVisible(d) && !chart.getDatasetMeta(d).data[k].skip);
    chart.setActiveElements(elements);
    const first = elements.length ? chart.getDatasetMeta(elements[0].datasetIndex).data[k] : { x: 0, y: 0 };
    chart.tooltip.setActiveElements(elements, { x: first.x, y: first.y });
    chart.update("none");
    byId("live").textContent = describe(k);
  };
  canvas.addEventListener("keydown", (event) => {
    const moves = { ArrowRight: at + 1, ArrowLeft: at < 0 ? length - 1 : at - 1, Home: 0, End: length - 1 };
    if (event.key === "Escape") clear();
    if (!(event.key in moves)) return;
    event.preventDefault();
    show(Math.min(length - 1, Math.max(0, moves[event.key])));
  });
  const clear = () => {
    at = -1;
    chart.setActiveElements([]);
    chart.tooltip.setActiveElements([], { x: 0, y: 0 });
    chart.update("none");
  };
  canvas.addEventListener("blur", clear);
}

function curveTable(key) {
  const arms = data.arms.map((arm, i) => i).filter((i) => data.arms[i].curves[key]);
  const rows = [];
  for (let k = 0; k < data.points; k++) {
    const values = arms.map((i) => data.arms[i].curves[key].mean[k]);
    if (!values.some(isNumber)) continue;
    rows.push([el("th", { scope: "row" }, whole(k * data.bin)), ...values.map((v) => el("td", {}, format(v)))]);
  }
  return table("Values of this chart", ["step", ...arms.map((i) => data.arms[i].name)], rows);
}

function card(spec, canvas, tools) {
  const plot = el("div", { className: "plot" }, canvas);
  const node = el("article", { className: "card" },
    el("header", {}, el("div", {}, el("h3", {}, spec.title), el("p", {}, spec.help)), el("div", { className: "tools" }, tools)),
    plot);
  return { node, plot };
}

function toggle(text, label, pressed, onchange) {
  const button = el("button", { type: "button", "aria-pressed": String(pressed), "aria-label": label }, text);
  button.addEventListener("click", () => {
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(on));
    onchange(on);
  });
  return button;
}

/** A threshold that never moved stands beside the drift already; trust is measured always, and acts here only. */
function isWorthDrawing(arm, spec) {
  const curve = arm.curves[spec.key];
  return curve && (spec.key !== "delta" || arm.policy === "auto" || new Set(curve.mean.filter(isNumber)).size > 1);
}
for (const arm of data.arms) if (arm.policy && arm.policy !== "auto" && arm.guard !== "trust") delete arm.curves.trust;

function addCurve(spec) {
  const { key } = spec;
  const canvas = el("canvas", { tabIndex: 0, role: "img",
    "aria-label": `${spec.title} over optimiser steps. Arrow keys read the values; the table has them all.` });
  const holder = { scale: wantsSymlog(key) ? symlog : linear };
  const tools = [];
  let values = null;
  if (key.startsWith("drift") || key === "grad_norm" || key === "delta")
    tools.push(toggle("Log", `${spec.title}: logarithmic scale`, holder.scale === symlog, (on) => {
      holder.scale = on ? symlog : linear;
      chart.data.datasets = datasets(key, holder.scale);
      paint(chart);
      chart.update("none");
    }));
  tools.push(toggle("Table", `${spec.title}: as a table`, false, (on) => {
    if (!values) plot.after(values = curveTable(key));
    plot.hidden = on;
    values.hidden = !on;
  }));
  const { node, plot } = card(spec, canvas, tools);
  byId("charts").append(node);
  const options = curveOptions(holder, spec.share);
  const config = { type: "line", data: { datasets: datasets(key, holder.scale) }, options, plugins: [crossHair] };
  paint({ data: config.data, options });
  const chart = new Chart(canvas, config);
  chart.key = key;
  chart.restyle = () => {
    paint(chart);
    chart.update("none");
  };
  keyboard(canvas, chart, data.points, (k) => {
    const parts = chart.data.datasets
      .filter((set) => set.role === "mean" && shown[set.arm] && isNumber(set.curve.mean[k]))
      .map((dataset) => readout({ dataset, dataIndex: k }));
    return `${stepsOf(k)}: ${parts.join("; ") || "no value"}`;
  });
  charts.push(chart);
}

function showArm(i, on) {
  shown[i] = on;
  for (const chart of charts) {
    if (!chart.key) continue;
    for (const set of chart.data.datasets) if (set.arm === i) set.hidden = !on;
    chart.update("none");
  }
}

function legend() {
  if (data.arms.length < 2) return;
  const nav = byId("legend");
  nav.hidden = false;
  data.arms.forEach((arm, i) => {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
    for (const [k, v] of Object.entries({ width: 22, height: 10, "aria-hidden": "true" })) svg.setAttribute(k, v);
    for (const [k, v] of Object.entries({ x1: 1, x2: 21, y1: 5, y2: 5, "stroke-width": 3, "stroke-linecap": "round",
                                          "stroke-dasharray": armDash(i).join(" ") })) line.setAttribute(k, v);
    line.style.stroke = `var(--c${i % COLOURS})`;
    svg.append(line);
    const button = el("button", { type: "button", "aria-pressed": "true" }, svg, arm.name);
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(on));
      showArm(i, on);
    });
    nav.append(button);
  });
}

/* ---- histogram of drift ---------------------------------------------------------------------------------------- */

/** The lowest and highest threshold of a part of the run, null where the mask has none. */
function threshold(arm, part) {
  const delta = arm.drift[part].delta;
  return arm.rule === "opsm" && delta.every(isNumber) ? delta : null;
}

function binName(k) {
  const edges = data.edges;
  if (k === 0) return `up to ${format(edges[0])}`;
  if (k === edges.length) return `above ${format(edges[k - 1])}`;
  return `${format(edges[k - 1])} to ${format(edges[k])}`;
}

/** Where a drift stands on the axis of bins: bin k reaches from k - 1/2 to k + 1/2. */
function position(x) {
  const edges = data.edges;
  let k = 0;
  while (k < edges.length && edges[k] < x) k++;
  if (k === 0 || k === edges.length) return k;
  const [low, high] = [edges[k - 1], edges[k]];
  const share = low > 0 ? Math.log(x / low) / Math.log(high / low) : (x - low) / (high - low);
  return k - 0.5 + share;
}

const deltaMark = {
  id: "delta",
  afterDatasetsDraw(chart) {
    const delta = chart.delta;
    if (!delta) return;
    const { ctx, chartArea: area, scales } = chart;
    const unit = scales.x.getPixelForValue(1) - scales.x.getPixelForValue(0);
    const pixel = (x) => scales.x.getPixelForValue(0) + (position(x) - chart.firstBin) * unit;
    const [a, b] = delta.map(pixel);
    const centre = (a + b) / 2;
    ctx.save();
    ctx.fillStyle = withAlpha(css("--text"), 0.12);
    if (b - a > 1) ctx.fillRect(a, area.top, b - a, area.bottom - area.top);
    ctx.strokeStyle = css("--text");
    ctx.lineWidth = 1.5;
    ctx.setLineDash([5, 4]);
    ctx.beginPath();
    ctx.moveTo(centre, area.top);
    ctx.lineTo(centre, area.bottom);
    ctx.stroke();
    ctx.fillStyle = css("--text");
    ctx.font = "600 12px system-ui, sans-serif";
    const left = centre > (area.left + area.right) / 2;
    ctx.textAlign = left ? "right" : "left";
    const text = delta[0] === delta[1] ? `delta ${format(delta[0])}` : `delta ${format(delta[0])} to ${format(delta[1])}`;
    ctx.fillText(text, centre + (left ? -6 : 6), area.top + 12);
    ctx.restore();
  },
};

function addHistogram() {
  const sum = (counts) => counts.reduce((a, b) => a + b, 0);
  const counted = data.arms.map((arm, i) => i)
    .filter((i) => sum(data.arms[i].drift[0].negative) + sum(data.arms[i].drift[0].positive) > 0);
  if (!counted.length) return;
  byId("drift").hidden = false;
  let arm = counted[0], part = 0;
  /* The arm whose mask does most is the one to look at. */
  for (const i of counted) if (!threshold(data.arms[arm], 0) && threshold(data.arms[i], 0)) arm = i;

  const canvas = el("canvas", { tabIndex: 0, role: "img",
    "aria-label": "Histogram of drift by sign of the advantage, with the threshold. Arrow keys read the bars." });
  const summary = el("p", {});
  byId("drift-card").append(el("header", {}, summary), el("div", { className: "plot" }, canvas));

  const y = axis("share of the sequences of its sign");
  y.ticks.callback = (value) => percent(Math.abs(value));
  const x = axis("drift, nats per token");
  x.grid.display = false;
  x.stacked = y.stacked = true;
  x.ticks.maxRotation = 90;
  const options = {
    animation: false, responsive: true, maintainAspectRatio: false, interaction: { mode: "index", intersect: false },
    scales: { x, y },
    plugins: { legend: { display: false },
               tooltip: { borderWidth: 1, padding: 8, boxPadding: 4,
                          callbacks: { title: (items) => "drift " + binName(chart.firstBin + items[0].dataIndex),
                                       label: (item) => label(item.datasetIndex, chart.firstBin + item.dataIndex) } } },
  };
  const chart = new Chart(canvas, {
    type: "bar", options, plugins: [deltaMark],
    data: { labels: [], datasets: [0, 1].map(() => ({ data: [], categoryPercentage: 1, barPercentage: 0.9, borderRadius: 2 })) },
  });
  const counts = (sign) => data.arms[arm].drift[part][sign ? "positive" : "negative"];
  const isDropped = (k) => chart.delta && k > 0 && data.edges[k - 1] >= chart.delta[1];
  function label(sign, k) {
    const n = counts(sign)[k];
    const text = `${sign ? "A > 0" : "A < 0"}: ${whole(n)} (${percent(n / (sum(counts(sign)) || 1))})`;
    return text + (sign === 0 && n && isDropped(k) ? ", masked" : "");
  }
  function update() {
    const both = [0, 1].map(counts);
    chart.delta = threshold(data.arms[arm], part);
    const used = both[0].map((n, k) => (n + both[1][k] ? k : -1)).filter((k) => k >= 0);
    if (chart.delta) used.push(Math.round(position(chart.delta[0])), Math.round(position(chart.delta[1])));
    chart.firstBin = Math.max(0, Math.min(...used) - 1);
    const last = Math.min(data.edges.length, Math.max(...used) + 1);
    const bins = [];
    for (let k = chart.firstBin; k <= last; k++) bins.push(k);
    chart.data.labels = bins.map((k) => (k < data.edges.length ? "≤ " + format(data.edges[k]) : "> " + format(data.edges[k - 1])));
    both.forEach((column, sign) => {
      const total = sum(column) || 1;
      chart.data.datasets[sign].data = bins.map((k) => (sign ? -1 : 1) * column[k] / total);
    });
    const beyond = sum(both[0].filter((n, k) => isDropped(k))), negatives = sum(both[0]);
    const rule = data.arms[arm].rule;
    summary.textContent = `${whole(negatives)} sequences with A < 0 and ${whole(sum(both[1]))} with A > 0, counted at every step. ` +
      (chart.delta ? (chart.delta[0] === chart.delta[1] ? `Beyond delta: ${percent(beyond / (negatives || 1))} of the first.` : "Delta moved during the run.")
                   : `Mask rule: ${rule || "unknown"}, no threshold.`);
    restyle();
  }
  function restyle() {
    const bins = chart.data.labels.map((_, i) => chart.firstBin + i);
    chart.data.datasets[0].backgroundColor = bins.map((k) => css(isDropped(k) ? "--dropped" : "--negative"));
    chart.data.datasets[1].backgroundColor = bins.map(() => css("--positive"));
    paint({ data: { datasets: [] }, options: chart.options });
    chart.update("none");
  }
  chart.restyle = restyle;
  const controls = byId("drift-controls");
  const arms = choice("Arm", counted.map((i) => data.arms[i].name), (k) => { arm = counted[k]; update(); });
  arms.select.value = String(counted.indexOf(arm));
  if (counted.length > 1) controls.append(arms.label);
  controls.append(choice("Part", ["whole run", "first quarter", "second quarter", "third quarter", "last quarter"],
                         (k) => { part = k; update(); }).label);
  update();
  keyboard(canvas, chart, chart.data.labels.length, (i) => {
    const k = chart.firstBin + i;
    return k > data.edges.length ? "" : `drift ${binName(k)}: ${label(0, k)}; ${label(1, k)}`;
  });
  charts.push(chart);
}

/* ---- tables ---------------------------------------------------------------------------------------------------- */

function labs() {
  const section = byId("labs");
  for (const lab of data.labs) {
    section.hidden = false;
    section.append(el("h2", {}, data.labs.length > 1 ? `Verdict: ${lab.path}` : "Verdict"));
    if (lab.verdict) section.append(el("p", { className: "callout" }, lab.verdict));
    const rows = lab.rows.map((row) => {
      const i = data.arms.findIndex((arm) => arm.name === row.arm);
      return [
        i < 0 ? el("th", { scope: "row" }, row.arm) : armHead(i),
        el("td", {}, format(row.final)),
        el("td", {}, isNumber(row.low) && isNumber(row.high) ? `${format(row.low)} to ${format(row.high)}` : "–"),
        el("td", {}, format(row.best)),
        el("td", {}, format(row.worst)),
        el("td", { className: row.collapsed ? "bad" : "" }, isNumber(row.collapsed) ? isNumber(row.done) ? `${row.collapsed} of ${row.done + (row.failed || 0)}` : whole(row.collapsed) : "–"),
        el("td", { className: row.failed ? "bad" : "" }, isNumber(row.failed) ? whole(row.failed) : "–"),
        el("td", {}, percent(row.dropped)),
        el("td", {}, format(row.drift_negative)),
        el("td", {}, format(row.drift_positive)),
      ];
    });
    section.append(table("Result of the laboratory",
      ["arm", "final reward", "95% interval", "best", "worst", "collapsed", "failed", "dropped of A < 0", "drift A < 0", "drift A > 0"], rows));
    const words = ["Means over seeds."];
    if (isNumber(lab.rounds) && isNumber(lab.final_rounds))
      words.push(`Final: the last ${whole(lab.final_rounds)} of ${whole(lab.rounds)} rounds; worst: lowest round after the first third; dropped, drift: second half.`);
    if (isNumber(lab.below) && isNumber(lab.window))
      words.push(`Collapsed: reward below ${format(lab.below)} of its best for the last ${percent(lab.window)} of the run, or a weight that is not finite.`);
    section.append(el("p", { className: "muted" }, words.join(" ")));
  }
}

function numbers() {
  const of = (arm, key) => (arm.curves[key] ? arm.curves[key].mean.filter(isNumber) : []);
  const mean = (v) => (v.length ? v.reduce((a, b) => a + b, 0) / v.length : NaN);
  const max = (v) => (v.length ? Math.max(...v) : NaN);
  const min = (v) => (v.length ? Math.min(...v) : NaN);
  const columns = [
    ["seeds", (a) => whole(a.runs.length)],
    ["steps", (a) => whole(Math.max(...a.runs.map((r) => r.steps)))],
    ["iterations", (a) => whole(Math.max(...a.runs.map((r) => r.iterations)))],
    ["reward, first", (a) => format(of(a, "reward")[0])],
    ["last", (a) => format(of(a, "reward").at(-1))],
    ["best", (a) => format(max(of(a, "reward")))],
    ["accuracy, last", (a) => format(of(a, "accuracy").at(-1))],
    ["pass@k, last", (a) => format(of(a, "pass_at_k").at(-1))],
    ["drift A < 0", (a) => format(mean(of(a, "drift_negative")))],
    ["drift A > 0", (a) => format(mean(of(a, "drift_positive")))],
    ["dropped", (a) => percent(mean(of(a, "dropped")))],
    ["entropy, last", (a) => format(of(a, "entropy").at(-1))],
    ["grad. norm", (a) => format(mean(of(a, "grad_norm")))],
    ["ESS, least", (a) => format(min(of(a, "ess")))],
    ["loss, last", (a) => format(of(a, "loss").at(-1))],
  ].filter(([, value]) => data.arms.some((arm) => value(arm) !== "–"));
  const rows = data.arms.map((arm, i) => [armHead(i), ...columns.map(([, value]) => el("td", {}, value(arm)))]);
  byId("numbers-table").append(table("Main numbers of every arm", ["arm", ...columns.map(([name]) => name)], rows),
    el("p", { className: "muted" }, "Means over seeds and over the points of the charts; first, last, best and least are single points."));
}

function configuration() {
  if (!data.config.length) return;
  byId("config").hidden = false;
  const single = data.arms.length === 1;
  const rows = data.config.map(({ key, values }) => [
    el("th", { scope: "row", className: "key" }, key.split(/(?<=[._])/).flatMap((part) => [part, el("wbr")])),
    ...values.map((v) => el("td", { className: "text" }, v === null ? "–" : v === "" ? "(empty)" : v)),
  ]);
  const node = table(single ? "Configuration" : "Keys that differ between arms", ["key", ...data.arms.map((a) => a.name)], rows, "words");
  if (single) byId("config-table").append(el("details", {}, el("summary", {}, plural(rows.length, "key") + " in force"), node));
  else byId("config-table").append(el("p", { className: "muted" }, "The keys that differ between the arms; all others are equal."), node);
}

/* ---- a single run at a glance ---------------------------------------------------------------------------------- */

const fixed = (x) => (isNumber(x) ? x.toFixed(2).replace("-", "−") : "–");
const fromTo = (a, b, show) => (isNumber(a) && isNumber(b) ? (show(a) === show(b) ? show(b) : `${show(a)} → ${show(b)}`) : null);
const baseName = (path) => path.replace(/\/+$/, "").split("/").pop();

function duration(seconds) {
  if (seconds < 60) return format(seconds) + " s";
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** The value of a key of the only arm's configuration; null where it is not set. */
function configured(key) {
  const entry = data.config.find((one) => one.key === key);
  return entry && entry.values[0] && entry.values[0] !== "null" ? entry.values[0].replace(/^"(.*)"$/, "$1") : null;
}

function result(run) {
  const { first, last } = run;
  if (first && last) {
    const range = (e) => (isNumber(e.low) && isNumber(e.high) ? `${fixed(e.low)} to ${fixed(e.high)}` : null);
    const ranges = run.evals > 1 ? [range(first), range(last)] : [range(last)];
    const words = [`accuracy on ${plural(run.problems, "held-out problem")}`, run.samples > 1 ? `, ${run.samples} samples each` : "",
                   run.evals > 1 ? (first.step === 0 ? ", before and after" : `, from step ${whole(first.step)} to ${whole(last.step)}`) : ` at step ${whole(last.step)}`,
                   ranges.every(Boolean) ? `; 95% intervals ${ranges.join(" and ")}` : ""];
    return [run.evals > 1 ? fixed(first.accuracy) + " → " + fixed(last.accuracy) : fixed(last.accuracy), words.join("")];
  }
  if (!isNumber(run.last_reward)) return null;
  return [run.iterations > 1 ? fixed(run.first_reward) + " → " + fixed(run.last_reward) : fixed(run.last_reward),
          "mean reward of fresh rollouts, first and last iteration; nothing was held out to evaluate on"];
}

function headline() {
  const run = data.summary;
  if (!run) return;
  const tokens = (n) => plural(Math.round(n), "token");
  const model = configured("model"), file = configured("data.file"), task = configured("task.name");
  const losses = data.arms[0].curves.loss ? data.arms[0].curves.loss.mean.filter(isNumber) : [];
  const evaluated = run.last && isNumber(run.last.length) && !isNumber(run.last_length);
  const length = evaluated ? fromTo(run.first.length, run.last.length, format) : fromTo(run.first_length, run.last_length, format);
  const finished = evaluated ? fromTo(run.first.finished, run.last.finished, percent) : fromTo(run.first_finished, run.last_finished, percent);
  const facts = [
    ["Model", model && baseName(model)],
    [file ? "Data" : "Task", file ? baseName(file) : task],
    ["Duration", run.seconds > 0 ? duration(run.seconds) : null],
    ["Steps", `${whole(run.steps)}` + (run.iterations ? ` in ${plural(run.iterations, "iteration")}` : "")],
    ["Generated", run.tokens > 0 && isNumber(run.generated_per_second) ? `${tokens(run.tokens)}, ${whole(Math.round(run.generated_per_second))} a second` : null],
    ["Trained", isNumber(run.trained_per_second) && run.trained_per_second > 0 ? `${whole(Math.round(run.trained_per_second))} tokens a second` : null],
    ["Response length", length && length + " tokens"],
    ["Finished by themselves", finished],
    ["Loss", losses.length ? fromTo(losses[0], losses.at(-1), format) : null],
    ["Reward", run.first && isNumber(run.last_reward) ? fromTo(run.first_reward, run.last_reward, fixed) : null],
  ].filter(([, value]) => value);
  const said = result(run);
  byId("headline").hidden = false;
  byId("headline").append(el("div", { className: "card headline" },
    said ? el("div", { className: "result" }, el("strong", {}, said[0]), el("span", {}, said[1])) : null,
    el("dl", {}, facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))))));
}

/* ---- before and after ------------------------------------------------------------------------------------------ */

const PAIRS_SHOWN = 3;
const CHANGES = [
  { name: "learnt", before: false, after: true, words: "became right" },
  { name: "lost", before: true, after: false, words: "became wrong" },
  { name: "still wrong", before: false, after: false, words: "stayed wrong" },
  { name: "still right", before: true, after: true, words: "stayed right" },
];

function answer(label, row) {
  const facts = [el("span", { className: "badge" }, row.right ? "Right" : "Wrong"), el("span", {}, label),
                 isNumber(row.reward) ? el("span", {}, `reward ${format(row.reward)}`) : null,
                 row.finish === "length" ? el("span", {}, "cut at the limit") : null];
  return el("div", { className: "sample " + (row.right ? "right" : "wrong") }, el("div", { className: "facts" }, facts),
            el("pre", {}, row.response || "(empty response)"));
}

/** Problems of the first and the last evaluation that have the same prompt. */
function pairsOf(samples) {
  const known = (row) => isNumber(row.problem) && typeof row.right === "boolean";
  const later = new Map(samples.after.filter(known).map((row) => [row.problem, row]));
  return samples.before.filter(known).map((before) => ({ before, after: later.get(before.problem) }))
    .filter(({ before, after }) => after && after.prompt === before.prompt);
}

function compare() {
  const usable = data.samples.map((samples) => ({ arm: samples.arm, pairs: pairsOf(samples) })).filter(({ pairs }) => pairs.length);
  if (!usable.length) return;
  byId("compare").hidden = false;
  const show = (i) => {
    const { pairs } = usable[i];
    const kinds = CHANGES.map((kind) => ({ ...kind, pairs: pairs.filter((pair) => pair.before.right === kind.before && pair.after.right === kind.after) }));
    const [one] = pairs;
    byId("compare-note").textContent = `The first ${plural(pairs.length, "held-out problem")} at ` +
      `${one.before.step === 0 ? "the start" : "step " + whole(one.before.step)} and at step ${whole(one.after.step)}: ` +
      kinds.map((kind) => `${whole(kind.pairs.length)} ${kind.words}`).join(", ") + ".";
    const list = byId("compare-rows");
    const pairNode = ({ before, after }) => el("article", {},
      el("div", { className: "prompt" }, el("div", { className: "label" }, "Prompt"), el("pre", {}, before.prompt || "")),
      el("div", { className: "columns" }, answer("before", before), answer("after", after)));
    const fill = (kind) => {
      const nodes = kind.pairs.map(pairNode), more = nodes.slice(PAIRS_SHOWN);
      list.replaceChildren(...nodes.slice(0, PAIRS_SHOWN));
      if (more.length) list.append(el("details", {}, el("summary", {}, `${whole(more.length)} more`), more));
      queueMicrotask(() => makeReachable(list));
    };
    const there = kinds.filter((kind) => kind.pairs.length);
    const picked = choice("Show", there.map((kind) => `${kind.name} (${whole(kind.pairs.length)})`), (k) => fill(there[k]));
    byId("compare-controls").replaceChildren(...(usable.length > 1 ? [arms.label] : []), picked.label);
    fill(there[0]);
  };
  const arms = choice("Arm", usable.map((s) => data.arms[s.arm].name), show);
  show(0);
}

/* ---- transcripts ----------------------------------------------------------------------------------------------- */

function sampleCard(row) {
  const state = row.keep === false ? "masked" : row.keep === true && row.advantage !== 0 ? "kept" : "plain";
  const facts = [
    el("span", { className: "badge" }, { masked: "Masked", kept: "Kept", plain: "No signal" }[state]),
    el("span", {}, `reward ${format(row.reward)}`),
    el("span", {}, `A ${format(row.advantage)}`),
    isNumber(row.drift) && !/drift/.test(row.reason || "") ? el("span", {}, `drift ${format(row.drift)}`) : null,
    row.reason ? el("span", {}, row.reason) : null,
  ];
  return el("div", { className: "sample " + state }, el("div", { className: "facts" }, facts),
            el("pre", {}, row.response || "(empty response)"));
}

/** Long texts scroll by themselves: they, and only they, are stops of the Tab key. */
function makeReachable(list) {
  for (const text of list.querySelectorAll("pre"))
    if (text.scrollHeight > text.clientHeight) Object.assign(text, { tabIndex: 0, role: "group", ariaLabel: "Long text" });
}

function sampleColumn(rows, iterations, start) {
  const list = el("div", {});
  const fill = (k) => {
    list.replaceChildren();
    let group = null;
    for (const row of rows.filter((r) => r.iteration === iterations[k])) {
      if (row.group !== group) {
        group = row.group;
        list.append(el("div", { className: "prompt" }, el("div", { className: "label" }, "Prompt"), el("pre", {}, row.prompt || "")));
      }
      list.append(sampleCard(row));
    }
    queueMicrotask(() => makeReachable(list)); /* once it is in the page and has a size */
  };
  const names = iterations.map((t, k) => `iteration ${whole(t)}` + (k === 0 ? " (before training)" : k === iterations.length - 1 ? " (last recorded)" : ""));
  if (iterations[0] !== 0) names[0] = `iteration ${whole(iterations[0])}`;
  const { label, select } = choice(start === 0 ? "Early" : "Late", names, fill);
  select.value = String(start);
  fill(start);
  return el("div", {}, label, list);
}

function transcripts() {
  const usable = data.samples.filter((s) => s.rows.some((row) => isNumber(row.iteration)));
  if (!usable.length) return;
  byId("samples").hidden = false;
  const show = (i) => {
    const rows = usable[i].rows.filter((row) => isNumber(row.iteration));
    const iterations = [...new Set(rows.map((row) => row.iteration))].sort((a, b) => a - b);
    const columns = [sampleColumn(rows, iterations, 0)];
    if (iterations.length > 1) columns.push(sampleColumn(rows, iterations, iterations.length - 1));
    byId("samples-columns").replaceChildren(...columns);
  };
  /* First an arm with a threshold that dropped something, else the first one. */
  const dropsByThreshold = (s) => threshold(data.arms[s.arm], 0) && s.rows.some((row) => row.keep === false);
  const start = Math.max(0, usable.findIndex(dropsByThreshold));
  const arms = choice("Arm", usable.map((s) => data.arms[s.arm].name), show);
  arms.select.value = String(start);
  if (usable.length > 1) byId("samples-controls").append(arms.label);
  show(start);
}

/* ---- page ------------------------------------------------------------------------------------------------------ */

function headings() {
  const arms = data.arms, seeds = Math.max(...arms.map((arm) => arm.runs.length));
  const title = data.labs.length === 1 ? data.labs[0].path.replace(/\/+$/, "").split("/").pop()
    : arms.length === 1 ? arms[0].name : arms.length <= 3 ? arms.map((arm) => arm.name).join(" · ") : `${arms.length} arms compared`;
  byId("title").textContent = title;
  document.title = `${title} – opsm report`;
  const parts = [data.labs.length ? "Laboratory" : arms.length + seeds === 2 ? "Run" : "Runs compared",
                 arms.length > 1 ? plural(arms.length, "arm") : null, seeds > 1 ? (arms.every((arm) => arm.runs.length === seeds) ? `${seeds} seeds each` : `up to ${seeds} seeds each`) : null,
                 plural(data.steps, "optimiser step")];
  byId("subtitle").textContent = parts.filter(Boolean).join(" · ");
  byId("curves-note").textContent =
    (data.bin > 1 ? `Each point is the mean over ${data.bin} optimiser steps. ` : "One point per optimiser step. ") +
    (seeds > 1 ? "Lines: mean over seeds; bands: from the lowest seed to the highest." : "");
  const sources = arms.flatMap((arm) => arm.runs.map((run) => run.path));
  byId("made").textContent = `opsm ${data.version}, from ${sources.slice(0, MAX_SEEDS_NAMED).join(", ")}` +
    (sources.length > MAX_SEEDS_NAMED ? ` and ${sources.length - MAX_SEEDS_NAMED} more runs.` : ".");
  if (data.notes.length) byId("notes").hidden = false;
  byId("notes-list").append(...data.notes.map((note) => el("li", {}, note)));
}

Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
headings();
headline();
labs();
legend();
CURVES.splice(CURVES.findIndex((spec) => spec.key === "length"), 0, ...verifierCurves());
for (const spec of CURVES) if (data.arms.some((arm) => isWorthDrawing(arm, spec))) addCurve(spec);
addHistogram();
numbers();
configuration();
compare();
transcripts();
applyTheme();
root.dataset.charts = String(charts.length);
root.dataset.ready = "true";
})();
