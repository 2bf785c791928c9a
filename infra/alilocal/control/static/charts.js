// Charts as inline SVG; their colours are in console.css.

import { h, svg } from "./dom.js";

const WIDTH = 720, HEIGHT = 240, LEFT = 64, RIGHT = 16, TOP = 12, BOTTOM = 28;
const LABELS = 4, LONGEST_LABEL = 14;
const SPAN_SECONDS = 5, SPANS = 60;

const round = (value) => Math.round(value * 10) / 10;
const brief = (value, digits) => String(Number(value.toPrecision(digits)));
const short = (text) => (text.length <= LONGEST_LABEL ? text : `${text.slice(0, LONGEST_LABEL - 1)}…`);
const chart = (label, ...parts) =>
  svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label, class: "chart" }, parts);

function path(points, kind, opacity = 1, title = null) {
  const text = points.map(([x, y]) => `${round(x)},${round(y)}`).join(" ");
  return svg("polyline", { points: text, class: kind, fill: "none", opacity }, title && svg("title", {}, title));
}

/** Return a chart with points, and a line in steps. */
export function plot({ label, across, points, line, empty }) {
  if (!line.length) return h("p", { class: "empty" }, empty);
  const values = line.map(([, y]) => y);
  let low = Math.min(...values), high = Math.max(...values);
  // Points far off would flatten the line; they are drawn at the edge.
  const margin = (high - low) * 0.5 || Math.abs(high) * 0.1 || 1;
  [low, high] = [low - margin, high + margin];
  const last = Math.max(...[...line, ...points].map(([x]) => x)) || 1;
  const place = (x, y) => [
    round(LEFT + ((WIDTH - LEFT - RIGHT) * x) / last),
    round(TOP + ((HEIGHT - TOP - BOTTOM) * (high - Math.min(Math.max(y, low), high))) / (high - low)),
  ];
  const grid = Array.from({ length: LABELS + 1 }, (_, number) => {
    const value = low + ((high - low) * number) / LABELS;
    const [, y] = place(0, value);
    return [
      svg("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y, y2: y, class: "grid-line" }),
      svg("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" }, brief(value, 4)),
    ];
  });
  const steps = [];
  for (const [x, y] of line) {
    if (steps.length) steps.push([place(x, 0)[0], steps.at(-1)[1]]);
    steps.push(place(x, y));
  }
  const marks = points.map(([x, y]) => {
    const [cx, cy] = place(x, y);
    return svg("circle", { cx, cy, r: 3 }, svg("title", {}, `${x}: ${brief(y, 6)}`));
  });
  const axis = svg("text", { x: WIDTH - RIGHT, y: HEIGHT - 6, "text-anchor": "end" }, across);
  return chart(label, grid, svg("g", { class: "points" }, marks), path(steps, "line"), axis);
}

/** Return parallel coordinates: an axis for each dimension, a line for each item, the best ones on top. */
export function parallel({ label, axes, lines, empty }) {
  if (!lines.length || !axes.length) return h("p", { class: "empty" }, empty);
  const gap = (WIDTH - 2 * LEFT) / Math.max(1, axes.length - 1);
  const top = TOP + 16, bottom = HEIGHT - 8;
  const across = (number) => round(LEFT + gap * number);
  const down = (share) => round(bottom - (bottom - top) * share);
  // The first line is the best one, and what is drawn last is on top.
  const items = lines.map(({ label: title, shares }, rank) => {
    const points = shares.map((share, number) => [across(number), down(share)]);
    return path(points, rank ? "item" : "best", rank ? 0.7 - (0.55 * rank) / lines.length : 1, title);
  });
  const scales = axes.map(({ name, ticks }, number) => {
    const x = across(number);
    return [
      svg("line", { x1: x, x2: x, y1: top, y2: bottom, class: "axis" }),
      svg("text", { x, y: TOP + 2, "text-anchor": "middle", class: "name" }, short(name)),
      ticks.map(([share, text]) => svg("text", { x: x + 5, y: down(share) + 4 }, short(text))),
    ];
  });
  return chart(label, items.reverse(), scales);
}

/** Return a queue's depth and rates over the last five minutes, each as a line with its present value. */
export function sparklines(spans, depth, now) {
  if (!Object.keys(spans).length) return null;
  const last = Math.floor(now / SPAN_SECONDS) * SPAN_SECONDS;
  const counts = Array.from({ length: SPANS }, (_, place) => spans[last - (SPANS - 1 - place) * SPAN_SECONDS] || [0, 0, 0]);
  const depths = [];
  for (let place = SPANS - 1, left = depth; place >= 0; place -= 1) {
    depths[place] = Math.max(0, left);
    left -= counts[place][0] - counts[place][2];
  }
  // The newest span has just begun, so that the two before it count too.
  const seconds = 2 * SPAN_SECONDS + Math.max(1, now - last);
  const rates = ["sent", "received", "deleted"].map((name, kind) => {
    const values = counts.map((span) => span[kind]);
    const rate = (values.at(-1) + values.at(-2) + values.at(-3)) / seconds;
    return sparkline(name, values, `${rate ? rate.toFixed(1) : 0}/s`);
  });
  return h("div", { class: "sparks" }, sparkline("depth", depths, String(depth)), rates);
}

function sparkline(name, values, present) {
  const most = Math.max(1, ...values);
  const points = values.map((value, place) => [(place * 100) / (SPANS - 1), 15 - (14 * value) / most]);
  const box = { viewBox: "0 0 100 16", preserveAspectRatio: "none", "aria-hidden": "true" };
  return h("p", {}, h("span", {}, name), svg("svg", box, path(points, "line")), h("span", { class: "figure" }, present));
}
