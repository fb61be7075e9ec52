"use strict";
// The program of a page that steps through a computation. `data` is what page.py wrote; see there what it holds.

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const state = { level: data.start, run: 0, step: 0, leaf: null, closed: {}, playing: 0 };

// -- making elements; whatever is given as text stays text ----------------------------------------------

const SPACES = { svg: "http://www.w3.org/2000/svg", math: "http://www.w3.org/1998/Math/MathML" };

function make(name, attributes = {}, ...children) {
  const [space, tag] = name.includes(":") ? name.split(":") : ["", name];
  const element = space ? document.createElementNS(SPACES[space], tag) : document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function math(elements) {
  const made = ([tag, inside]) =>
    make(`math:${tag}`, {}, ...(Array.isArray(inside) ? inside.map(made) : [inside]));
  return make("math:math", {}, make("math:mrow", {}, ...elements.map(made)));
}

// A line that can be broken: words are words, and after a comma a new formula begins.
function broken(elements) {
  const parts = [];
  let formula = [];
  const end = () => {
    if (formula.length) parts.push(math(formula), " ");
    formula = [];
  };
  for (const element of elements) {
    if (element[0] === "mtext" && element[1].trim()) {
      end();
      parts.push(`${element[1].trim()} `);
    } else {
      formula.push(element);
      if (element[1] === "," || element[1] === ";") end();
    }
  }
  end();
  return parts;
}

function gradientName(text) {
  const layer = /^delta_(\d+)$/.exec(text);
  return layer ? math([["msub", [["mi", "δ"], ["mn", layer[1]]]]]) : document.createTextNode(text);
}

const exact = (x) => String(x).replace(/^-/, "−");

function number(x, digits = 4) {
  if (typeof x === "string") return exact(x);
  return exact(x && Math.abs(x) < 1e-3 ? x.toExponential(2).replace(/\.?0*e/, "e") : Number(x.toPrecision(digits)));
}

// -- what things are called --------------------------------------------------------------------------

const node = (i) => data.nodes[i];
const operation = (i) => data.operations[node(i).op];

function title(i) {
  const it = node(i);
  const own = it.kind === "op" ? it.label : it.name || it.label;
  const name = it.kind === "op" && it.name ? ` ${it.name}` : "";
  return (it.scope && !own.startsWith(it.scope) ? `${it.scope} · ` : "") + own + name;
}

// At the level of primitives the backward pass consists of operations, too; elsewhere of rules.
function stepsAt(level) {
  if (level !== "primitives") return data.steps;
  const steps = [];
  data.nodes.forEach((it, i) => {
    if (it.kind === "op") steps.push([it.backward ? "gradient" : "forward", i]);
  });
  return steps;
}

function steps() {
  const listed = stepsAt(state.level);
  return state.run < data.runs.length - 1 ? [...listed, ["update", -1]] : listed;
}

// -- arrays ------------------------------------------------------------------------------------------

const arrayOf = (index) => (index === null || index === undefined ? null : data.arrays[index]);
const run = () => data.runs[state.run];
const valueOf = (i) => arrayOf(run()?.values[i]);
const gradientOf = (i) => arrayOf(run()?.gradients[i]);
const partOf = (i, x) => arrayOf(run()?.parts[`${i},${x}`]);

function colour(value, largest, dark) {
  if (typeof value === "string") return [dark ? "#fff" : "#000", dark ? "#000" : "#fff"];
  const base = dark ? [32, 39, 47] : [255, 255, 255];
  const end = value < 0 ? (dark ? [255, 150, 60] : [214, 96, 10]) : dark ? [90, 170, 255] : [20, 92, 170];
  const share = largest ? Math.sqrt(Math.min(1, Math.abs(value) / largest)) : 0;
  const rgb = base.map((from, k) => Math.round(from + (end[k] - from) * share));
  const light = rgb.map((x) => ((x /= 255) <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4));
  const luminance = 0.2126 * light[0] + 0.7152 * light[1] + 0.0722 * light[2];
  return [`rgb(${rgb.join(",")})`, luminance > 0.18 ? "#000" : "#fff"];
}

// One array as a heat map; `relate(row, column)` is called with the cell under the pointer or cursor.
class HeatMap {
  constructor(array, name, words) {
    this.array = array;
    this.caption = make("figcaption", {}, ...name, " ", make("small", {}, this.about(words)));
    this.element = make("figure", { class: "array" }, this.caption);
    this.relate = () => "";
    if (!array || !array.cells.length) {
      this.grid = make("div");
      this.element.append(make("small", {}, array ? "no elements" : "not recorded"));
      return;
    }
    this.draw();
    this.scale = this.range();
    this.read = make("div", { class: "scale" }, this.scale);
    this.element.append(this.grid, this.read);
  }

  about(words) {
    if (!this.array) return words;
    const { shape, dtype, block, of } = this.array;
    const summary = block
      ? `, summarised: each square is the mean of ${block[0]} × ${block[1]} elements of ${of[0]} × ${of[1]}`
      : "";
    return `${words ? `${words}, ` : ""}${shape} ${dtype}${summary}`;
  }

  draw() {
    const { rows, columns, cells, block } = this.array;
    const dark = document.documentElement.dataset.theme === "dark";
    const finite = cells.filter((x) => typeof x !== "string").map(Math.abs);
    this.largest = finite.reduce((a, b) => Math.max(a, b), 0);
    const written = columns <= 6 && rows <= 12 && !block;
    const wide = written ? 62 : Math.max(8, Math.min(16, Math.floor(380 / columns)));
    this.grid = make("div", {
      class: "cells", tabindex: 0, role: "application",
      "aria-label": `${this.element.textContent}: ${rows} rows, ${columns} columns; the arrow keys read elements`,
    });
    this.grid.style.gridTemplateColumns = `repeat(${columns}, max-content)`;
    this.grid.style.setProperty("--wide", `${wide}px`);
    this.grid.style.setProperty("--tall", `${written ? 22 : wide}px`);
    for (const x of cells) {
      const cell = document.createElement("span");
      const [fill, ink] = colour(x, this.largest, dark);
      cell.style.background = fill;
      if (written) {
        cell.style.color = ink;
        cell.textContent = number(x);
      }
      this.grid.append(cell);
    }
    this.cursor = 0;
    this.grid.addEventListener("pointermove", (event) => {
      const at = [...this.grid.children].indexOf(event.target);
      if (at >= 0) this.point(at);
    });
    this.grid.addEventListener("pointerleave", () => this.leave());
    this.grid.addEventListener("focus", () => this.point(this.cursor));
    this.grid.addEventListener("blur", () => this.leave());
    this.grid.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
      if (move === undefined) return;
      event.preventDefault();
      event.stopPropagation();
      const to = this.cursor + move;
      if (to >= 0 && to < cells.length) this.point((this.cursor = to), true);
    });
  }

  range() {
    const { facts, block } = this.array;
    const share = facts.zeros ? `, ${number(100 * facts.zeros, 3)} % zeros` : "";
    const many = this.array.cells.length > 1 || block;
    return many ? `from ${number(facts.min)} to ${number(facts.max)}, norm ${number(facts.norm)}${share}` : "";
  }

  span(place, size, of) {
    return size === 1 ? `${place}` : `${place * size} to ${Math.min(of, (place + 1) * size) - 1}`;
  }

  point(at, aloud = false) {
    const { columns, cells, block, of } = this.array;
    const [row, column] = [Math.floor(at / columns), at % columns];
    const where = block
      ? `rows ${this.span(row, block[0], of[0])}, columns ${this.span(column, block[1], of[1])}: mean `
      : `row ${row}, column ${column}: `;
    clearMarks();
    this.grid.children[at].classList.add("under");
    marked.push([this.grid.children[at], "under"]);
    this.read.textContent = where + exact(cells[at]) + this.relate(row, column);
    if (aloud) byId("told").textContent = this.read.textContent;
  }

  leave() {
    clearMarks();
    this.read.textContent = this.scale;
  }

  mark(row, column) { // null: all of them
    if (!this.array) return;
    const { rows, columns } = this.array;
    const range = (x, n) => (x === null ? [...Array(n).keys()] : x < n ? [x] : []);
    for (const i of range(row, rows)) {
      for (const j of range(column, columns)) {
        const cell = this.grid.children[i * columns + j];
        if (cell) {
          cell.classList.add("row");
          marked.push([cell, "row"]);
        }
      }
    }
  }
}

let marked = [];
function clearMarks() {
  for (const [cell, name] of marked) cell.classList.remove(name);
  marked = [];
}

const cellAt = (array, row, column) => array.cells[row * array.columns + column];

// The sum that makes an element of a product, in numbers, where all of them are there.
function sumText(left, right, count) {
  const terms = [];
  for (let k = 0; k < Math.min(count, 4); k++) terms.push(`${number(left(k))} · ${number(right(k))}`);
  return ` = ${terms.join(" + ")}${count > 4 ? ` + … (${count} terms)` : ""}`;
}

// Of a product y = a b: the row and the column that make the element under the pointer, forwards and backwards.
function relateProduct(i, maps) {
  const [ta, tb] = operation(i).transposed;
  const [A, B] = [node(i).inputs[0], node(i).inputs[1]].map(valueOf);
  const flat = [A, B].every((x) => x && x.shape.split(",").length === 2);
  if (!flat) return;
  const a = (r, k) => (ta ? cellAt(A, k, r) : cellAt(A, r, k));
  const b = (k, c) => (tb ? cellAt(B, c, k) : cellAt(B, k, c));
  const inner = ta ? A.rows : A.columns;
  const whole = !A.block && !B.block;
  const markA = (r, k) => maps.inputs.filter((m) => m.position === 0).forEach((m) => (ta ? m.mark(k, r) : m.mark(r, k)));
  const markB = (k, c) => maps.inputs.filter((m) => m.position === 1).forEach((m) => (tb ? m.mark(c, k) : m.mark(k, c)));
  for (const out of maps.outputs) {
    out.relate = (r, c) => {
      markA(r, null);
      markB(null, c);
      return whole ? sumText((k) => a(r, k), (k) => b(k, c), inner) : "";
    };
  }
  const arriving = maps.arriving[0];
  for (const leaving of maps.leaving) {
    const dy = arriving.array;
    if (!dy || !leaving.array) continue;
    leaving.relate = (p, q) => {
      if (leaving.position === 0) {
        const [r, k] = ta ? [q, p] : [p, q];
        arriving.mark(r, null);
        markB(k, null);
        return whole && !dy.block ? sumText((c) => cellAt(dy, r, c), (c) => b(k, c), dy.columns) : "";
      }
      const [k, c] = tb ? [q, p] : [p, q];
      markA(null, k);
      arriving.mark(null, c);
      return whole && !dy.block ? sumText((r) => a(r, k), (r) => cellAt(dy, r, c), dy.rows) : "";
    };
  }
}

// Of an operation on elements: those in the same place, whole rows or columns where shapes broadcast.
function relatePlaces(maps, swapped) {
  const flat = (map) => map.array.shape.split(",").length <= 2; // of more axes, all but the last are rows
  const all = [...maps.inputs, ...maps.outputs, ...maps.arriving, ...maps.leaving].filter((m) => m.array);
  for (const from of all) {
    from.relate = (row, column) => {
      for (const to of all) {
        const comparable = (flat(from) && flat(to)) || (!swapped && from.array.shape === to.array.shape);
        if (to === from || !comparable) continue;
        const turned = swapped && (maps.inputs.includes(to) || maps.leaving.includes(to)) !==
          (maps.inputs.includes(from) || maps.leaving.includes(from));
        const [rows, columns] = turned ? [from.array.columns, from.array.rows] : [from.array.rows, from.array.columns];
        const [r, c] = turned ? [column, row] : [row, column];
        to.mark(to.array.rows === rows ? r : rows === 1 ? null : 0, to.array.columns === columns ? c : columns === 1 ? null : 0);
      }
      return "";
    };
  }
}

// -- the panel -----------------------------------------------------------------------------------------

function line(words, elements, equation) {
  return make("div", { class: "formula" }, make("span", { class: "words" }, words), make("span", {}, ...broken(elements)),
    equation ? make("span", { class: "number", title: "the equation's number in the chapter" }, equation) : null);
}

function letter(elements) {
  return [math(elements), " = "];
}

function differential(elements, name, between = " = ") {
  return [math([["mi", "d"], ...elements]), ...(name ? [between, gradientName(name)] : [])];
}

function inputsOf(i, maps, place) {
  const facts = operation(i);
  const list = make("div", { class: "side" });
  node(i).inputs.forEach((x, k) => {
    const map = new HeatMap(valueOf(x), [...letter(facts.operands[k]), title(x)], "");
    map.position = k;
    maps.inputs.push(map);
    list.append(map.element);
  });
  place.append(list);
}

function showStep(panel, kind, i) {
  const maps = { inputs: [], outputs: [], arriving: [], leaving: [] };
  const it = node(i);
  const facts = operation(i);
  const heading = (text) => panel.append(make("h3", {}, text));
  const names = { forward: "forward", gradient: "backward pass, an operation of it", start: "the backward pass starts", backward: "backward" };
  panel.append(make("p", { class: "what" }, names[kind] + (it.scope ? ` · in ${it.scope}` : "")),
    make("h2", {}, title(i)));
  if (kind === "start") {
    panel.append(make("p", {}, "The derivative of the result with respect to itself is 1."));
    heading("Arrives");
    panel.append(new HeatMap(gradientOf(i), [gradientName(it.gradient || "dy")], "").element);
    heading("The result");
    panel.append(new HeatMap(valueOf(i), [title(i)], "").element);
    return;
  }
  const output = () => {
    const name = it.name || it.label;
    const same = facts.result.length === 1 && facts.result[0][1] === name;
    const map = new HeatMap(valueOf(i), same ? [math(facts.result)] : [...letter(facts.result), name], "");
    maps.outputs.push(map);
    panel.append(map.element);
  };
  if (kind !== "backward") {
    panel.append(line("computes", facts.formula, ""));
    if (facts.rule.length && kind === "forward") panel.append(line("local rule", facts.rule, facts.equation));
    heading("Goes in");
    inputsOf(i, maps, panel);
    heading("Comes out");
    output();
  } else {
    panel.append(line("local rule", facts.rule, facts.equation), line("of", facts.formula, ""));
    heading("Arrives: the gradient with respect to the result");
    const arriving = new HeatMap(gradientOf(i), [...differential(facts.result, it.gradient)], "");
    maps.arriving.push(arriving);
    panel.append(arriving.element);
    heading("Leaves: the gradients with respect to the inputs");
    const list = make("div", { class: "side" });
    it.inputs.forEach((x, k) => {
      const [part, total] = [partOf(i, x), gradientOf(x)];
      if (!part || it.inputs.indexOf(x) !== k) return;
      const whole = part === total;
      const times = it.inputs.filter((other) => other === x).length > 1 ? " (all uses)" : "";
      const map = new HeatMap(part, [...differential(facts.operands[k], node(x).gradient, whole ? " = " : " is part of "), times], title(x));
      map.position = k;
      maps.leaving.push(map);
      list.append(map.element);
      if (!whole) list.append(new HeatMap(total, ["all parts together: ", gradientName(node(x).gradient || "")], title(x)).element);
    });
    panel.append(list);
    heading("Known from the forward pass");
    inputsOf(i, maps, panel);
    output();
  }
  if (facts.relation === "product") relateProduct(i, maps);
  else if (facts.relation === "place" || facts.relation === "axes") relatePlaces(maps, facts.relation === "axes");
}

function showLeaf(panel, i) {
  const it = node(i);
  panel.append(make("p", { class: "what" }, (it.frozen ? "frozen " : "") + it.kind + (it.scope ? ` · in ${it.scope}` : "")),
    make("h2", {}, title(i)), new HeatMap(valueOf(i), ["value"], "").element);
  if (gradientOf(i)) panel.append(new HeatMap(gradientOf(i), ["gradient ", gradientName(it.gradient || "")], "").element);
}

function showUpdate(panel) {
  panel.append(make("p", { class: "what" }, `between training steps ${state.run} and ${state.run + 1}`),
    make("h2", {}, "The parameters move"), make("p", {}, data.update));
  data.nodes.forEach((it, i) => {
    if (it.kind !== "parameter" || !gradientOf(i)) return;
    panel.append(make("h3", {}, title(i)),
      make("div", { class: "side" },
        new HeatMap(valueOf(i), ["before"], "").element,
        new HeatMap(gradientOf(i), ["gradient ", gradientName(it.gradient || "")], "").element,
        new HeatMap(arrayOf(data.runs[state.run + 1].values[i]), ["after"], "").element));
  });
}

// -- the graph: folding ----------------------------------------------------------------------------------

const drawing = () => data.drawings[state.level];
const closed = () => state.closed[state.level];

function around(frames, id) { // from the outermost frame in
  const chain = [];
  for (let f = id; f !== null && f !== undefined; f = frames.get(f).parent) chain.unshift(f);
  return chain;
}

// Squeeze what closed layers leave empty: parts of an axis that only they cover become short. Whatever is to be seen
// keeps its length, and the order along the axis stays, so arrows still go where Graphviz led them.
function squeezed(covered, kept) {
  const events = [];
  for (const [from, to] of covered) if (to > from) events.push([from, 1, 0], [to, -1, 0]);
  for (const [from, to] of kept) if (to > from) events.push([from, 0, 1], [to, 0, -1]);
  events.sort((x, y) => x[0] - y[0]);
  const at = [0], to = [0];
  let inside = 0, seen = 0, last = 0, length = 0;
  for (const [place, c, k] of events) {
    if (place > last) {
      length += (place - last) * (inside && !seen ? 0.02 : 1);
      at.push(place);
      to.push(length);
      last = place;
    }
    inside += c;
    seen += k;
  }
  return (x) => {
    if (x >= last) return length + x - last;
    let [low, high] = [0, at.length - 1];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (at[middle] <= x) low = middle;
      else high = middle;
    }
    const share = at[high] > at[low] ? (x - at[low]) / (at[high] - at[low]) : 0;
    return to[low] + share * (to[high] - to[low]);
  };
}

function bezier(points) { // the control points of Graphviz, and the tip, as a line of many points
  const out = [points.slice(0, 2)];
  const pairs = [];
  for (let k = 0; k < points.length; k += 2) pairs.push([points[k], points[k + 1]]);
  let k = 0;
  for (; k + 3 < pairs.length; k += 3) {
    const [p, q, r, s] = pairs.slice(k, k + 4);
    for (let n = 1; n <= 10; n++) {
      const t = n / 10, u = 1 - t;
      out.push([0, 1].map((d) => u * u * u * p[d] + 3 * u * u * t * q[d] + 3 * u * t * t * r[d] + t * t * t * s[d]));
    }
  }
  for (k += 1; k < pairs.length; k++) out.push(pairs[k]);
  return out;
}

const isInside = ([x, y], [a, b, c, d]) => x >= a && x <= c && y >= b && y <= d;

function cutAt(line, box) { // what of a line is outside of a box that its last point is in
  let end = line.length - 1;
  while (end > 0 && isInside(line[end], box)) end--;
  if (end === line.length - 1) return line;
  const [p, q] = [line[end], line[end + 1]];
  let [low, high] = [0, 1];
  for (let n = 0; n < 12; n++) {
    const t = (low + high) / 2;
    if (isInside([p[0] + t * (q[0] - p[0]), p[1] + t * (q[1] - p[1])], box)) high = t;
    else low = t;
  }
  return [...line.slice(0, end + 1), [p[0] + low * (q[0] - p[0]), p[1] + low * (q[1] - p[1])]];
}

let scene; // what is drawn now: places of items, and the elements that light up

function arrange() {
  const { items, arrows, frames, size } = drawing();
  const table = new Map(frames.map((f) => [f.id, f]));
  const shut = closed();
  const outermost = new Map(); // by frame: the outermost closed one around it, or none
  for (const f of frames) outermost.set(f.id, around(table, f.id).find((g) => shut.has(g)));
  const hiddenIn = (item) => (item.frame === null ? undefined : outermost.get(item.frame));
  const shown = items.filter((item) => hiddenIn(item) === undefined);
  const open = frames.filter((f) => outermost.get(f.id) === undefined);
  const boxes = frames.filter((f) => outermost.get(f.id) === f.id);
  const needs = new Map(boxes.map((f) => [f.id, [Math.max(90, 7 * Math.max(f.title.length, f.hint.length) + 24), 44]]));
  const axis = (d) => {
    const covered = boxes.map((f) => [f.box[d], f.box[d + 2]]);
    const kept = shown.map((it) => [it.box[d] - it.box[d + 2] / 2 - 8, it.box[d] + it.box[d + 2] / 2 + 8]);
    for (const f of open) kept.push([f.box[d], f.box[d] + (d ? 24 : 12)], [f.box[d + 2] - 12, f.box[d + 2]]);
    for (const f of boxes) {
      const [middle, half] = [(f.box[d] + f.box[d + 2]) / 2, needs.get(f.id)[d] / 2];
      kept.push([Math.max(f.box[d], middle - half), Math.min(f.box[d + 2], middle + half)]);
      kept.push([f.box[d] - 10, f.box[d]], [f.box[d + 2], f.box[d + 2] + 10]);
    }
    return boxes.length ? squeezed(covered, kept) : (x) => x;
  };
  const [X, Y] = [axis(0), axis(1)];
  const mapped = (box) => [X(box[0]), Y(box[1]), X(box[2]), Y(box[3])];
  const at = new Map(shown.map((it) => [it.id, [X(it.box[0]), Y(it.box[1]), it.box[2], it.box[3]]]));
  const rectangles = new Map(boxes.map((f) => [f.id, mapped(f.box)]));
  const owner = new Map(items.map((it) => [it.id, hiddenIn(it)]));
  const inside = new Map(boxes.map((f) => {
    const count = items.filter((it) => hiddenIn(it) === f.id && it.kind === "op" && !it.backward).length;
    return [f.id, count ? `${f.hint.split(" ")[0]}, ${count} operation${count > 1 ? "s" : ""}` : f.hint];
  }));
  const lines = [];
  const drawn = new Set();
  for (const arrow of arrows) {
    const [from, to] = [owner.get(arrow.from), owner.get(arrow.to)];
    if (from !== undefined && from === to) continue;
    const folded = from !== undefined || to !== undefined;
    const key = `${from ?? arrow.from} ${to ?? arrow.to} ${arrow.kind}`;
    if (folded && drawn.has(key)) continue;
    drawn.add(key);
    let points = arrow.points.map((x, k) => (k % 2 ? Y(x) : X(x)));
    let path = null;
    if (folded) {
      path = bezier(points);
      if (to !== undefined) path = cutAt(path, rectangles.get(to));
      if (from !== undefined) path = cutAt(path.reverse(), rectangles.get(from)).reverse();
    }
    lines.push({ arrow, points, path, ends: [from === undefined ? arrow.from : `f${from}`, to === undefined ? arrow.to : `f${to}`] });
  }
  return { shown, open, boxes, at, mapped, rectangles, lines, table, outermost, inside, width: X(size[0]), height: Y(size[1]) };
}

// -- the graph: drawing -----------------------------------------------------------------------------------

const svg = byId("graph");
const view = { x: 0, y: 0, scale: 1 };

function labelled(lines, x, y) {
  const text = make("svg:text", {});
  lines.forEach((words, k) => {
    text.append(make("svg:tspan", { x, y: y + (k - (lines.length - 1) / 2) * 13 + 4 }, words));
  });
  return text;
}

function shapeOf(item, x, y, w, h) {
  if (item.kind === "input") return make("svg:ellipse", { cx: x, cy: y, rx: w / 2, ry: h / 2 });
  if (item.kind === "parameter") {
    const [l, r, t, b, e] = [x - w / 2, x + w / 2, y - h / 2, y + h / 2, Math.min(4, h / 8)];
    return make("svg:path", { d: `M${l} ${t + e}V${b - e}Q${l} ${b} ${x} ${b}T${r} ${b - e}V${t + e}Q${r} ${t} ${x} ${t}T${l} ${t + e}Q${l} ${t + 2 * e} ${x} ${t + 2 * e}T${r} ${t + e}` });
  }
  const round = ["op", "rule", "gradient", "prediction"].includes(item.kind) ? 6 : 0;
  return make("svg:rect", { x: x - w / 2, y: y - h / 2, width: w, height: h, rx: round });
}

function arrowOf({ arrow, points, path }) {
  const pairs = [];
  if (path) pairs.push(...path);
  else for (let k = 0; k < points.length; k += 2) pairs.push([points[k], points[k + 1]]);
  const [tip, before] = [pairs.at(-1), pairs.at(-2) || pairs.at(-1)];
  const long = Math.hypot(tip[0] - before[0], tip[1] - before[1]) || 1;
  const [dx, dy] = [(tip[0] - before[0]) / long, (tip[1] - before[1]) / long];
  const words = pairs.map((p) => `${p[0].toFixed(1)} ${p[1].toFixed(1)}`);
  let d = `M${words[0]}`;
  if (path) d += words.slice(1).map((p) => `L${p}`).join("");
  else {
    let k = 1;
    for (; k + 2 < words.length; k += 3) d += `C${words.slice(k, k + 3).join(" ")}`;
    for (; k < words.length; k++) d += `L${words[k]}`;
  }
  const [bx, by] = [tip[0] - 6 * dx, tip[1] - 6 * dy];
  const head = `M${tip[0]} ${tip[1]}L${bx - 2.6 * dy} ${by + 2.6 * dx}L${bx + 2.6 * dy} ${by - 2.6 * dx}Z`;
  return [make("svg:path", { class: `arrow ${arrow.kind}`, d }), make("svg:path", { class: `head ${arrow.kind}`, d: head })];
}

function draw() {
  scene = arrange();
  const frames = make("svg:g"), lines = make("svg:g"), things = make("svg:g");
  const depth = (id) => around(scene.table, id).length - 1;
  scene.elements = [];
  scene.items = new Map();
  scene.arrows = [];
  const reachable = (element, words, y, x, act) => {
    element.setAttribute("tabindex", -1);
    element.setAttribute("role", "button");
    element.setAttribute("aria-label", words);
    element.addEventListener("click", () => { if (!moved) act(); });
    element.addEventListener("keydown", (event) => {
      if (event.key === "Enter") { event.preventDefault(); act(true); }
    });
    scene.elements.push({ element, y, x });
  };
  for (const f of scene.open) {
    const [l, t, r, b] = scene.mapped(f.box);
    frames.append(make("svg:g", { class: `frame ${depth(f.id) % 2 ? "odd" : ""}` },
      make("svg:rect", { x: l, y: t, width: r - l, height: b - t, rx: 8 }, make("svg:title", {}, f.hint))));
    const caption = make("svg:text", { x: r - 10, y: t + 14 }, `▾ ${f.title}`);
    const wide = 6 * f.title.length + 26;
    const bar = make("svg:g", { class: "frame-title", "aria-expanded": "true", "data-frame": f.id },
      make("svg:rect", { x: r - wide, y: t + 2, width: wide - 4, height: 17, rx: 4 }), caption);
    reachable(bar, `layer ${f.title}, open`, t, r, (keyed) => toggle(f.id, keyed));
    things.append(bar);
  }
  for (const it of scene.shown) {
    const [x, y, w, h] = scene.at.get(it.id);
    const shape = shapeOf(it, x, y, w, h);
    shape.classList.add("shape");
    const names = ["item", it.kind, it.output && "output", it.backward && "backward", it.frozen && "frozen"];
    const group = make("svg:g", { class: names.filter(Boolean).join(" "), "data-item": it.id },
      make("svg:title", {}, it.hint.join("\n")), shape, labelled(it.lines, x, y));
    reachable(group, it.lines.join(", "), y, x, () => pick(it));
    scene.items.set(it.id, group);
    things.append(group);
  }
  for (const f of scene.boxes) {
    const [l, t, r, b] = scene.rectangles.get(f.id);
    const group = make("svg:g", { class: "closed", "aria-expanded": "false", "data-frame": f.id },
      make("svg:rect", { class: "shape", x: l, y: t, width: r - l, height: b - t, rx: 8 }),
      labelled([`▸ ${f.title}`, scene.inside.get(f.id)], (l + r) / 2, (t + b) / 2));
    reachable(group, `layer ${f.title}, closed`, t, r, (keyed) => toggle(f.id, keyed));
    scene.items.set(`f${f.id}`, group);
    things.append(group);
  }
  for (const entry of scene.lines) {
    const parts = arrowOf(entry);
    scene.arrows.push({ ends: entry.ends, parts });
    lines.append(...parts);
  }
  scene.elements.sort((p, q) => p.y - q.y || p.x - q.x);
  scene.elements[0]?.element.setAttribute("tabindex", 0);
  scene.root = make("svg:g", {}, frames, lines, things);
  svg.replaceChildren(scene.root);
  drawMap();
  place();
}

function drawMap() {
  const map = byId("map");
  map.setAttribute("viewBox", `-8 -8 ${scene.width + 16} ${scene.height + 16}`);
  map.replaceChildren();
  scene.dots = new Map();
  for (const it of scene.shown) {
    const [x, y, w, h] = scene.at.get(it.id);
    scene.dots.set(it.id, make("svg:rect", { x: x - w / 2, y: y - h / 2, width: w, height: h }));
  }
  for (const f of scene.boxes) {
    const [l, t, r, b] = scene.rectangles.get(f.id);
    scene.dots.set(`f${f.id}`, make("svg:rect", { x: l, y: t, width: r - l, height: b - t }));
  }
  scene.window = make("svg:rect", { class: "view" });
  map.append(...scene.dots.values(), scene.window);
}

// -- the graph: looking ----------------------------------------------------------------------------------

function place() {
  scene.root.setAttribute("transform", `translate(${view.x} ${view.y}) scale(${view.scale})`);
  const { width, height } = svg.getBoundingClientRect();
  const sizes = { x: -view.x / view.scale, y: -view.y / view.scale, width: width / view.scale, height: height / view.scale };
  for (const [name, value] of Object.entries(sizes)) scene.window.setAttribute(name, value);
  const all = sizes.x <= 0 && sizes.y <= 0 && sizes.x + sizes.width >= scene.width && sizes.y + sizes.height >= scene.height;
  byId("map").classList.toggle("idle", all);
}

function fit() {
  const { width, height } = svg.getBoundingClientRect();
  view.scale = Math.min(1.6, (width - 16) / scene.width, (height - 50) / scene.height) || 1;
  view.x = (width - scene.width * view.scale) / 2;
  view.y = 42 + (height - 50 - scene.height * view.scale) / 2;
  place();
}

function zoom(factor, x, y) {
  const box = svg.getBoundingClientRect();
  [x, y] = [x ?? box.width / 2, y ?? box.height / 2];
  const scale = Math.min(6, Math.max(0.01, view.scale * factor));
  view.x = x - ((x - view.x) * scale) / view.scale;
  view.y = y - ((y - view.y) * scale) / view.scale;
  view.scale = scale;
  place();
}

let flight = 0;
function moveTo(x, y, at = 1) { // let a point of the picture come to the middle
  const { width, height } = svg.getBoundingClientRect();
  const [from, to] = [{ ...view }, { x: width / 2 - x * view.scale, y: height / 2 - y * view.scale }];
  cancelAnimationFrame(flight);
  if (calm.matches || !at) {
    Object.assign(view, to);
    return place();
  }
  const start = performance.now();
  const tick = (now) => {
    const t = Math.min(1, (now - start) / 180), eased = t * (2 - t);
    view.x = from.x + (to.x - from.x) * eased;
    view.y = from.y + (to.y - from.y) * eased;
    place();
    if (t < 1) flight = requestAnimationFrame(tick);
  };
  flight = requestAnimationFrame(tick);
}

function boxOf(id) {
  if (scene.at.has(id)) return scene.at.get(id);
  const [l, t, r, b] = scene.rectangles.get(Number(id.slice(1)));
  return [(l + r) / 2, (t + b) / 2, r - l, b - t];
}

function follow(ids) { // bring what is lit into sight, if it is not
  const seen = ids.filter((id) => scene.items.has(id));
  if (!seen.length) return;
  const [x, y, w, h] = boxOf(seen[0]);
  const { width, height } = svg.getBoundingClientRect();
  const [sx, sy] = [view.x + x * view.scale, view.y + y * view.scale];
  const [mx, my] = [Math.min(width / 2, (w / 2) * view.scale + 8), Math.min(height / 2, (h / 2) * view.scale + 8)];
  if (sx < mx || sx > width - mx || sy < my + 36 || sy > height - my) moveTo(x, y);
}

// Of a picture that is too small to read when all of it is seen, a part is shown at a size that can be read.
function look() {
  fit();
  if (view.scale < 0.55) {
    view.scale = 0.85;
    const lit = litIds().find((id) => scene.items.has(id));
    const [x, y] = lit ? boxOf(lit) : [scene.width / 2, 0];
    moveTo(x, Math.max(y, (svg.getBoundingClientRect().height / 2 - 42) / view.scale), 0);
  }
}

let moved = false;
const touches = new Map();
svg.addEventListener("pointerdown", (event) => {
  touches.set(event.pointerId, [event.clientX, event.clientY]);
  moved = false;
});
addEventListener("pointermove", (event) => {
  const before = touches.get(event.pointerId);
  if (!before) return;
  const [dx, dy] = [event.clientX - before[0], event.clientY - before[1]];
  if (!moved && Math.hypot(dx, dy) < 4) return;
  if (touches.size === 2) {
    const other = [...touches].find(([id]) => id !== event.pointerId)[1];
    const box = svg.getBoundingClientRect();
    const far = (p) => Math.hypot(p[0] - other[0], p[1] - other[1]) || 1;
    zoom(far([event.clientX, event.clientY]) / far(before), other[0] - box.left, other[1] - box.top);
  } else {
    view.x += dx;
    view.y += dy;
    place();
  }
  moved = true;
  svg.classList.add("dragged");
  touches.set(event.pointerId, [event.clientX, event.clientY]);
});
for (const name of ["pointerup", "pointercancel"]) {
  addEventListener(name, (event) => {
    touches.delete(event.pointerId);
    svg.classList.remove("dragged");
  });
}
svg.addEventListener("wheel", (event) => {
  event.preventDefault();
  const box = svg.getBoundingClientRect();
  zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), event.clientX - box.left, event.clientY - box.top);
}, { passive: false });
byId("map").addEventListener("pointerdown", (event) => {
  const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(byId("map").getScreenCTM().inverse());
  moveTo(point.x, point.y);
});
svg.addEventListener("keydown", (event) => { // one stop of the tab key; from there up and down
  const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!move) return;
  event.preventDefault();
  const now = scene.elements.findIndex(({ element }) => element === document.activeElement);
  const next = scene.elements[Math.max(0, Math.min(scene.elements.length - 1, now + move))];
  scene.elements[Math.max(0, now)].element.setAttribute("tabindex", -1);
  next.element.setAttribute("tabindex", 0);
  next.element.focus({ preventScroll: true });
  const item = next.element.dataset.item;
  if (item) follow([item]);
});

function toggle(id, keyed = false) {
  const shut = closed();
  if (!shut.delete(id)) shut.add(id);
  redraw();
  if (keyed) svg.querySelector(`[data-frame="${id}"]`)?.focus({ preventScroll: true });
}

function foldAll(all) {
  state.closed[state.level] = new Set(all ? drawing().frames.map((f) => f.id) : []);
  draw();
  look();
  light();
}

function redraw() {
  draw();
  light();
}

// -- steps ----------------------------------------------------------------------------------------------

function itemsOf(kind, i) {
  const backward = kind === "backward" || kind === "start";
  const seed = kind === "start" && drawing().items.find((it) => it.id === `seed${i}`);
  const showing = drawing().items.filter((it) => it.shows?.includes(i));
  const own = showing.filter((it) => Boolean(it.backward) === backward);
  return seed ? [seed] : own.length ? own : showing;
}

// The ids of what is lit: items, or the closed layers that they are in.
function litIds() {
  const [kind, i] = state.leaf === null ? steps()[state.step] || ["", -1] : ["forward", state.leaf];
  if (i < 0) return drawing().items.filter((it) => it.kind === "parameter" && !it.backward).map(seenAs);
  return itemsOf(kind, i).map(seenAs);
}

function seenAs(item) {
  const shut = item.frame === null ? undefined : scene.outermost.get(item.frame);
  return shut === undefined ? item.id : `f${shut}`;
}

function light() {
  for (const halo of svg.querySelectorAll(".halo")) halo.remove();
  for (const element of svg.querySelectorAll(".lit")) element.classList.remove("lit", "back");
  for (const dot of byId("map").querySelectorAll(".lit")) dot.classList.remove("lit");
  const ids = [...new Set(litIds())];
  const kind = state.leaf === null ? steps()[state.step]?.[0] : "forward";
  for (const id of ids) {
    const group = scene.items.get(id);
    if (group) {
      group.classList.add("lit");
      if (kind === "backward" || kind === "start") group.classList.add("back");
      const shape = group.querySelector(".shape");
      const halo = shape.cloneNode();
      halo.setAttribute("class", "halo");
      shape.before(halo);
    }
    scene.dots.get(id)?.classList.add("lit");
  }
  for (const { ends, parts } of scene.arrows) {
    if (ids.includes(ends[1]) || (ids.includes(ends[0]) && (kind === "backward" || kind === "start"))) {
      for (const part of parts) part.classList.add("lit");
    }
  }
  return ids;
}

function show({ quiet = false } = {}) {
  const listed = steps();
  state.step = Math.max(0, Math.min(listed.length - 1, state.step));
  const panel = byId("panel");
  panel.replaceChildren();
  panel.scrollTop = 0;
  clearMarks();
  const [kind, i] = listed[state.step] || ["", -1];
  if (state.leaf !== null) showLeaf(panel, state.leaf);
  else if (kind === "update") showUpdate(panel);
  else if (kind) showStep(panel, kind, i);
  else panel.append(make("h2", {}, "No operations"), make("p", {}, "This graph has leaves only."));
  if (!data.runs.length) panel.prepend(make("p", {}, "The numbers of this graph were not recorded."));
  follow(light());
  const words = state.leaf !== null ? title(state.leaf) : kind === "update" ? "the parameters move" : kind ? `${kind}: ${title(i)}` : "";
  const slider = byId("slider");
  slider.max = Math.max(0, listed.length - 1);
  slider.value = state.step;
  slider.setAttribute("aria-valuetext", `${state.step + 1} of ${listed.length}, ${words}`);
  byId("where").textContent = listed.length ? `step ${state.step + 1} of ${listed.length}` : "no steps";
  byId("told").textContent = words;
  for (const id of ["first", "back"]) byId(id).disabled = !state.step && !state.run;
  for (const id of ["last", "next"]) byId(id).disabled = state.step >= listed.length - 1 && state.run >= data.runs.length - 1;
  byId("run").value = state.run;
  byId("when").textContent = `${state.run} of ${data.runs.length - 1}`;
  if (!quiet) {
    const several = data.runs.length > 1 ? `&run=${state.run}` : "";
    try {
      history.replaceState(null, "", `#step=${state.step + 1}${several}&level=${state.level}`);
    } catch { /* in a frame that has no address */ }
  }
}

function go(step, runTo = state.run) {
  state.leaf = null;
  state.run = Math.max(0, Math.min(Math.max(0, data.runs.length - 1), runTo));
  state.step = step;
  show();
}

function forward() {
  if (state.step < steps().length - 1) go(state.step + 1);
  else if (state.run < data.runs.length - 1) go(0, state.run + 1);
  else return false;
  return true;
}

function backward() {
  if (state.step > 0) go(state.step - 1);
  else if (state.run > 0) go(Infinity, state.run - 1);
}

function play(on) {
  clearInterval(state.playing);
  state.playing = on ? setInterval(() => { if (!forward()) play(false); }, 1100) : 0;
  byId("play").textContent = on ? "Pause" : "Play";
  byId("play").setAttribute("aria-pressed", String(on));
}

function pick(item) { // go where an item is computed, or show the leaf that it is
  const seed = /^seed(\d+)$/.exec(item.id);
  const ids = seed ? [Number(seed[1])] : item.shows || [];
  const wanted = seed ? "start" : item.backward && state.level !== "primitives" ? "backward" : "";
  const at = steps().findIndex(([kind, i]) => ids.includes(i) && (!wanted || kind === wanted));
  if (at >= 0) return go(at);
  if (ids.length) {
    state.leaf = ids[0];
    show();
  }
}

function choose(level) {
  if (!Object.hasOwn(data.drawings, level) || level === state.level) return;
  const [kind, i] = steps()[state.step] || [];
  state.level = level;
  const same = steps().findIndex(([k, n]) => k === kind && n === i);
  state.step = same >= 0 ? same : Math.min(state.step, steps().length - 1);
  byId("level").value = level;
  draw();
  look();
  show();
}

// -- search ----------------------------------------------------------------------------------------------

const search = byId("search"), list = byId("found");
let matches = [], chosen = -1;

function find() {
  const words = search.value.trim().toLowerCase();
  matches = [];
  if (words) {
    for (let i = 0; i < data.nodes.length && matches.length < 40; i++) {
      const it = node(i);
      if (it.backward && state.level !== "primitives") continue;
      const text = [it.name, it.label, it.scope, title(i), it.scope && `${it.scope}.${it.name || ""}`, it.gradient].join("\n").toLowerCase();
      if (text.includes(words) && drawing().items.some((item) => item.shows?.includes(i))) matches.push(i);
    }
  }
  chosen = matches.length ? 0 : -1;
  list.replaceChildren(...matches.map((i, k) => {
    const entry = make("li", { role: "option", id: `found${k}`, "aria-selected": String(k === 0) }, `${title(i)} ${node(i).shape}`);
    entry.addEventListener("pointerdown", (event) => { event.preventDefault(); take(k); });
    return entry;
  }));
  if (words && !matches.length) list.append(make("li", { role: "option", "aria-disabled": "true" }, "nothing of that name"));
  list.hidden = !words;
  search.setAttribute("aria-expanded", String(!list.hidden));
  mark();
}

function mark() {
  [...list.children].forEach((entry, k) => entry.setAttribute("aria-selected", String(k === chosen)));
  list.children[chosen]?.scrollIntoView({ block: "nearest" });
  if (chosen >= 0) search.setAttribute("aria-activedescendant", `found${chosen}`);
  else search.removeAttribute("aria-activedescendant");
}

function take(k) {
  const i = matches[k];
  list.hidden = true;
  search.setAttribute("aria-expanded", "false");
  const item = itemsOf("forward", i)[0];
  let opened = false;
  for (const f of item.frame === null ? [] : around(scene.table, item.frame)) opened = closed().delete(f) || opened;
  if (opened) draw();
  state.leaf = null;
  const at = steps().findIndex(([, n]) => n === i);
  if (at >= 0) go(at);
  else {
    state.leaf = i;
    show();
  }
  const [x, y] = boxOf(item.id);
  moveTo(x, y);
}

search.addEventListener("input", find);
search.addEventListener("focus", () => { if (search.value) find(); });
search.addEventListener("blur", () => { list.hidden = true; search.setAttribute("aria-expanded", "false"); });
search.addEventListener("keydown", (event) => {
  event.stopPropagation();
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    chosen = matches.length ? (chosen + (event.key === "ArrowDown" ? 1 : -1) + matches.length) % matches.length : -1;
    mark();
  } else if (event.key === "Enter" && chosen >= 0) take(chosen);
  else if (event.key === "Escape") search.blur();
});

// -- controls ----------------------------------------------------------------------------------------------

const actions = {
  first: () => go(0, 0), last: () => go(Infinity, data.runs.length - 1), next: forward, back: backward,
  play: () => play(!state.playing), closer: () => zoom(1.3), wider: () => zoom(1 / 1.3), fit,
  open: () => foldAll(false), close: () => foldAll(true),
  theme: () => dress(document.documentElement.dataset.theme === "dark" ? "light" : "dark"),
  help: () => {
    byId("keys").hidden = !byId("keys").hidden;
    byId("help").setAttribute("aria-expanded", String(!byId("keys").hidden));
  },
};
for (const [id, act] of Object.entries(actions)) byId(id).addEventListener("click", act);

function dress(theme) {
  document.documentElement.dataset.theme = theme;
  byId("theme").setAttribute("aria-pressed", String(theme === "dark"));
  if (scene) show({ quiet: true });
}

const keys = {
  ArrowRight: forward, ArrowLeft: backward, Home: actions.first, End: actions.last, " ": actions.play,
  "+": actions.closer, "=": actions.closer, "-": actions.wider, 0: fit, o: actions.open, c: actions.close,
  "[": () => go(0, state.run - 1), "]": () => go(0, state.run + 1), "/": () => search.focus(),
};
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  const tag = event.target.tagName;
  if (tag === "SELECT" || (tag === "INPUT" && event.target.type === "range" && !["/", " "].includes(event.key))) return;
  if (tag === "BUTTON" && event.key === " ") return;
  if (keys[event.key]) {
    event.preventDefault();
    keys[event.key]();
  }
});
byId("slider").addEventListener("input", (event) => go(Number(event.target.value)));
byId("run").addEventListener("input", (event) => go(state.step, Number(event.target.value)));
byId("level").addEventListener("change", (event) => choose(event.target.value));

function readAddress() {
  const asked = new URLSearchParams(location.hash.slice(1));
  if (!asked.has("step") && !asked.has("run") && !asked.has("level")) return false;
  if (asked.has("level")) choose(asked.get("level"));
  const whole = (name, otherwise) => (/^\d+$/.test(asked.get(name) || "") ? Number(asked.get(name)) : otherwise);
  go(whole("step", 1) - 1, whole("run", 0));
  return true;
}

addEventListener("hashchange", readAddress);
new ResizeObserver(() => { if (scene) place(); }).observe(svg);

for (const level of Object.keys(data.drawings)) {
  byId("level").append(make("option", { value: level }, level));
  const { frames, items } = data.drawings[level];
  state.closed[level] = new Set(items.length > 150 ? frames.map((f) => f.id) : []);
}
byId("level").value = state.level;
byId("training").hidden = data.runs.length < 2;
byId("run").max = Math.max(0, data.runs.length - 1);
dress(data.theme === "dark" || matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
draw();
look();
if (!readAddress()) show({ quiet: true });
