"use strict";
// Draws a plot as SVG: axes, bands, lines, marks, a legend that hides series, a tip under the pointer or the arrow keys.
const Charts = (() => {
  const MARKS = [
    (r) => `M${-r},0a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0`,
    (r) => `M${-r},${-r}h${2 * r}v${2 * r}h${-2 * r}z`,
    (r) => `M0,${-1.25 * r}L${1.2 * r},${0.9 * r}H${-1.2 * r}z`,
    (r) => `M0,${-1.35 * r}L${1.35 * r},0L0,${1.35 * r}L${-1.35 * r},0z`,
    (r) => `M0,${1.25 * r}L${1.2 * r},${-0.9 * r}H${-1.2 * r}z`,
    (r) => `M${-r},${-0.4 * r}h${0.6 * r}v${-0.6 * r}h${0.8 * r}v${0.6 * r}h${0.6 * r}v${0.8 * r}h${-0.6 * r}v${0.6 * r}h${-0.8 * r}v${-0.6 * r}h${-0.6 * r}z`,
    (r) => `M0,${-1.3 * r}L${1.24 * r},${-0.4 * r}L${0.76 * r},${1.05 * r}H${-0.76 * r}L${-1.24 * r},${-0.4 * r}z`,
    (r) => `M${-1.2 * r},${-r}L${1.2 * r},${r}V${-r}L${-1.2 * r},${r}z`,
  ];
  const COLOURS = 7;

  function svg(name, attributes, parent, text) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    if (parent) parent.append(made);
    return made;
  }
  function html(name, attributes, parent, text) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    if (parent) parent.append(made);
    return made;
  }

  // A number with as many digits as a step between ticks, or its own size, asks for.
  function number(value, step) {
    if (value === null || !Number.isFinite(value)) return "";
    const size = Math.abs(value);
    if (step === undefined) {
      if (size >= 1e4) return si(value, 3);
      return size && size < 1e-3 ? value.toExponential(1) : String(Number(value.toPrecision(size >= 100 ? 5 : 4))).replace("-", "−");
    }
    if (size >= 1e4) return si(value, 3);
    const places = Math.min(6, Math.max(0, -Math.floor(Math.log10(step) + 1e-9)));
    return value.toFixed(places).replace("-", "−");
  }
  function si(value, digits) {
    const [scale, letter] = [[1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""]].find(([s]) => Math.abs(value) >= s) || [1, ""];
    return String(Number((value / scale).toPrecision(digits))).replace("-", "−") + letter;
  }

  function ticks(low, high, wanted, isLog, isWhole) {
    if (isLog) {
      const found = [];
      const steps = Math.log10(high / low) > 3 ? [1] : Math.log10(high / low) > 1.2 ? [1, 3] : [1, 2, 5];
      for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
        for (const step of steps) {
          const value = step * 10 ** power;
          if (value >= low * 0.999 && value <= high * 1.001) found.push(value);
        }
      }
      if (found.length >= 2) return { values: found };
    }
    const rough = (high - low) / Math.max(1, wanted) || 1;
    const power = 10 ** Math.floor(Math.log10(rough));
    let step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough * 0.999);
    if (isWhole) step = Math.max(1, Math.round(step));
    const values = [];
    for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-9; n++) values.push(n * step);
    return { values, step };
  }

  function scale(axis, values, from, to) {
    let finite = values.filter((v) => v !== null && Number.isFinite(v) && (!axis.log || v > 0));
    if (!finite.length) finite = [axis.log ? 1 : 0];
    let low = axis.low ?? finite.reduce((a, b) => Math.min(a, b));
    let high = axis.high ?? finite.reduce((a, b) => Math.max(a, b));
    const isLog = axis.log && low > 0;
    const into = isLog ? Math.log10 : (v) => v;
    let [a, b] = [into(low), into(high)];
    const room = (b - a || Math.abs(a) * 0.1 || 1) * (axis.room ?? 0.06);
    if (axis.low === undefined) a -= room;
    if (axis.high === undefined) b += room;
    if (axis.zero) a = Math.min(0, low);
    const back = isLog ? (v) => 10 ** v : (v) => v;
    const at = (v) => from + ((into(v) - a) / (b - a || 1)) * (to - from);
    return { at, low: back(a), high: back(b), isLog };
  }

  // The values without those that lie so far off that they would squeeze all others into one point: more than 30 times
  // the median distance from the median.
  function near(values) {
    const finite = values.filter((v) => v !== null && Number.isFinite(v));
    const middle = (list) => [...list].sort((a, b) => a - b)[Math.floor((list.length - 1) / 2)];
    const centre = middle(finite);
    const spread = middle(finite.map((v) => Math.abs(v - centre)).filter(Boolean));
    return spread === undefined ? () => true : (v) => v === null || Math.abs(v - centre) <= 30 * spread;
  }

  // spec: {x, y: {label, log, low, high, zero, whole}, series: [{key, name, place, points: [{x, y, low, high, text}],
  // hollow}], line, rules: [{axis, at, name}], front: [[x, y]], named: keys of the series whose name stands beside its mark}
  function plot(figure, spec) {
    const box = figure.canvas;
    figure.hiddenSeries = figure.hiddenSeries || new Set();
    box.replaceChildren();
    const shown = spec.series.filter((each) => !figure.hiddenSeries.has(each.key));
    const width = Math.max(260, box.clientWidth || 600);
    const height = Math.round(Math.min(spec.height || 400, Math.max(250, width * 0.62)));
    const points = shown.flatMap((each) => each.points);
    const y = spec.y, x = spec.x;
    const last = shown.filter((each) => each.points.length).map((each) => each.points[each.points.length - 1].y);
    const fits = y.log || y.zero ? () => true : near(last);
    const inView = shown.filter((each) => each.points.length && fits(each.points[each.points.length - 1].y));
    const off = shown.filter((each) => each.points.length && !inView.includes(each));
    const vertical = scale(y, inView.flatMap((each) => each.points).flatMap((p) => [p.y, p.low ?? p.y, p.high ?? p.y]), height - 48, 12);
    const yTicks = ticks(vertical.low, vertical.high, height / 64, vertical.isLog, y.whole);
    const left = 16 + Math.max(...yTicks.values.map((v) => number(v, yTicks.step).length), 2) * 7.2 + 18;
    const horizontal = scale({ room: 0.04, ...x }, points.map((p) => p.x), left + 4, width - 14);
    const xTicks = ticks(horizontal.low, horizontal.high, (width - left) / 84, horizontal.isLog, x.whole);
    const area = svg("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": spec.about }, box);
    const clip = `clip-${figure.dataset.part}-${figure.dataset.plot}`;
    svg("rect", { x: left, y: 4, width: width - left, height: height - 52 }, svg("clipPath", { id: clip }, svg("defs", {}, area)));
    for (const v of yTicks.values) {
      const at = vertical.at(v);
      svg("line", { class: "grid", x1: left, x2: width, y1: at, y2: at }, area);
      svg("text", { x: left - 8, y: at + 4, "text-anchor": "end" }, area, number(v, yTicks.step));
    }
    for (const v of xTicks.values) {
      const at = horizontal.at(v);
      svg("line", { class: "axis", x1: at, x2: at, y1: height - 48, y2: height - 43 }, area);
      svg("text", { x: at, y: height - 28, "text-anchor": "middle" }, area, number(v, xTicks.step));
    }
    svg("line", { class: "axis", x1: left, x2: width, y1: height - 48, y2: height - 48 }, area);
    svg("text", { class: "title", x: (left + width) / 2, y: height - 6, "text-anchor": "middle" }, area, x.label);
    svg("text", { class: "title", transform: `translate(12 ${(height - 44) / 2}) rotate(-90)`, "text-anchor": "middle" }, area, y.label);
    for (const rule of spec.rules || []) {
      const on = rule.axis === "x" ? horizontal : vertical;
      if (rule.at < on.low || rule.at > on.high) continue;
      const at = on.at(rule.at);
      if (rule.axis === "x") {
        svg("line", { class: "rule", x1: at, x2: at, y1: 8, y2: height - 48 }, area);
        const end = at > width - 120;
        svg("text", { x: at + (end ? -6 : 6), y: height - 56, "text-anchor": end ? "end" : "start" }, area, rule.name);
      } else {
        svg("line", { class: "rule", x1: left, x2: width, y1: at, y2: at }, area);
        svg("text", { x: width - 4, y: at - 6, "text-anchor": "end" }, area, rule.name);
      }
    }
    const inside = svg("g", { "clip-path": `url(#${clip})` }, area);
    if (spec.front && spec.front.length > 1) {
      const path = spec.front.map(([a, b], n) => {
        const [u, v] = [horizontal.at(a).toFixed(1), vertical.at(b).toFixed(1)];
        return !n ? `M${u},${v}` : x.better > 0 ? `V${v}H${u}` : `H${u}V${v}`;
      });
      svg("path", { class: "front", d: path.join("") }, inside);
    }
    const flat = [];
    const groups = new Map();
    for (const each of shown) {
      const group = svg("g", { class: `series${each.hollow ? " hollow" : ""}`, style: `--c: var(--c${each.place % COLOURS})` }, inside);
      groups.set(each.key, group);
      const spots = off.includes(each) ? [] : each.points.filter((p) => p.x !== null && p.y !== null && (!horizontal.isLog || p.x > 0) && (!vertical.isLog || p.y > 0))
        .map((p) => ({ ...p, u: horizontal.at(p.x), v: vertical.at(p.y), series: each }));
      const bound = (p, end) => vertical.at(Math.max(p[end] ?? p.y, vertical.isLog ? vertical.low : -Infinity));
      if (spec.line) {
        const banded = spots.filter((p) => p.low !== undefined && p.low !== null && p.high !== p.low);
        if (banded.length > 1) {
          const up = banded.map((p) => `${p.u.toFixed(1)},${bound(p, "high").toFixed(1)}`);
          const down = banded.map((p) => `${p.u.toFixed(1)},${bound(p, "low").toFixed(1)}`).reverse();
          svg("path", { class: "band", d: `M${up.join("L")}L${down.join("L")}z` }, group);
        }
        svg("path", { class: "line", d: spots.map((p, n) => `${n ? "L" : "M"}${p.u.toFixed(1)},${p.v.toFixed(1)}`).join("") }, group);
      }
      const every = spec.line ? Math.max(1, Math.ceil(spots.length / 9)) : 1;
      spots.forEach((p, n) => {
        if (!spec.line && p.low !== undefined && p.low !== null && p.high !== p.low) {
          svg("line", { class: "error", x1: p.u, x2: p.u, y1: bound(p, "low"), y2: bound(p, "high") }, group);
        }
        if ((n % every === 0 && spots.length - 1 - n > every / 2) || n === spots.length - 1) {
          svg("path", { class: "mark", d: MARKS[each.place % MARKS.length](spec.line ? 3.6 : 5.5), transform: `translate(${p.u.toFixed(1)} ${p.v.toFixed(1)})` }, group);
        }
      });
      flat.push(...spots);
    }
    label(area, flat, spec.named || new Set(), width);
    follow(figure, box, area, flat, groups, spec, width);
    legend(figure, box, spec, () => plot(figure, spec));
    table(figure, spec);
    const outside = off.length ? ` Outside the plot, far from the others: ${off.map((each) => each.name).join("; ")}.` : "";
    let note = figure.querySelector(".result");
    if ((spec.note || outside) && !note) note = html("p", { class: "result" });
    if (note) {
      note.textContent = `${spec.note || ""}${outside}`.trim();
      box.after(note);
    }
  }

  // Names beside marks, where they do not lie on one another.
  function label(area, flat, named, width) {
    const taken = [];
    for (const p of flat.filter((each) => named.has(each.series.key)).sort((a, b) => a.v - b.v)) {
      const name = short(p.series.name, width > 600 ? 36 : 22);
      const span = name.length * 6.6;
      const end = p.u + 12 + span > width;
      const from = end ? p.u - 12 - span : p.u + 12;
      const lies = (box) => from < box[1] && from + span > box[0] && Math.abs(p.v - box[2]) < 14;
      if (taken.some(lies)) continue;
      taken.push([from, from + span, p.v]);
      svg("text", { class: "name", x: end ? p.u - 8 : p.u + 8, y: p.v - 8, "text-anchor": end ? "end" : "start" }, area, name);
    }
  }
  function short(text, most) {
    const letters = [...text];
    if (letters.length <= most) return text;
    const start = Math.floor(most / 3);
    return `${letters.slice(0, start).join("")}…${letters.slice(start + 1 - most).join("")}`; // labels differ at their ends
  }

  // The tip: of the point under the pointer, or of the one that the arrow keys have reached.
  function follow(figure, box, area, flat, groups, spec, width) {
    const tip = html("div", { class: "tip", hidden: "" }, box);
    let at = -1;
    const show = (n) => {
      at = n;
      box.classList.toggle("focused", n >= 0);
      groups.forEach((group) => group.classList.remove("on"));
      tip.hidden = n < 0;
      if (n < 0) return;
      const p = flat[n];
      const group = groups.get(p.series.key);
      group.classList.add("on");
      const lines = [`${spec.y.label}: ${p.text ?? number(p.y)}${p.text === undefined && p.low !== undefined && p.low !== null && p.low !== p.high ? ` [${number(p.low)}, ${number(p.high)}]` : ""}`, `${spec.x.label}: ${p.more ?? number(p.x)}`];
      tip.replaceChildren();
      html("strong", {}, tip, p.series.name);
      for (const line of lines) html("div", {}, tip, line);
      const room = tip.offsetWidth;
      tip.style.left = `${Math.max(0, Math.min(p.u + 14, width - room))}px`;
      tip.style.top = p.v > 90 ? `${p.v - tip.offsetHeight - 12}px` : `${p.v + 16}px`;
    };
    const nearest = (event) => {
      const bounds = area.getBoundingClientRect();
      const [u, v] = [((event.clientX - bounds.left) * width) / bounds.width, ((event.clientY - bounds.top) * width) / bounds.width];
      let best = -1, least = spec.line ? 1600 : 900;
      flat.forEach((p, n) => {
        const far = (p.u - u) ** 2 + (p.v - v) ** 2;
        if (far < least) [best, least] = [n, far];
      });
      show(best);
    };
    area.addEventListener("pointermove", nearest);
    area.addEventListener("pointerdown", nearest);
    area.addEventListener("pointerleave", () => show(-1));
    box.setAttribute("aria-label", `${spec.about} Arrow keys read its points.`);
    box.onblur = () => show(-1);
    box.onkeydown = (event) => {
      if (event.key === "Escape") show(-1);
      if (!event.key.startsWith("Arrow") || !flat.length || event.target !== box) return;
      event.preventDefault();
      const keys = [...groups.keys()].filter((key) => flat.some((p) => p.series.key === key));
      const own = at < 0 ? 0 : keys.indexOf(flat[at].series.key);
      const ofSeries = (n) => flat.map((p, place) => [p, place]).filter(([p]) => p.series.key === keys[(n + keys.length) % keys.length]).map(([, place]) => place);
      const mine = ofSeries(own);
      const place = Math.max(0, mine.indexOf(at));
      const isLine = spec.line && (event.key === "ArrowLeft" || event.key === "ArrowRight");
      const step = event.key === "ArrowRight" || event.key === "ArrowDown" ? 1 : -1;
      if (at < 0) show(mine[0]);
      else if (isLine) show(mine[Math.min(mine.length - 1, Math.max(0, place + step))]);
      else { const other = ofSeries(own + step); show(other[Math.min(place, other.length - 1)]); }
      Report.say(tip.innerText.replace(/\n/g, ", "));
    };
  }

  function swatch(each, hasLine) {
    const made = svg("svg", { viewBox: "0 0 22 12", "aria-hidden": "true" });
    const group = svg("g", { class: `series${each.hollow ? " hollow" : ""}`, style: `--c: var(--c${each.place % COLOURS})` }, made);
    if (hasLine) svg("path", { class: "line", d: "M0,6H22" }, group);
    svg("path", { class: "mark", d: MARKS[each.place % MARKS.length](4), transform: "translate(11 6)" }, group);
    return made;
  }
  function legend(figure, box, spec, redraw) {
    if (spec.series.length > 24) return;
    const list = html("ul", { class: "legend", "aria-label": "Shown rows" }, box);
    for (const each of spec.series) {
      const button = html("button", { type: "button", "aria-pressed": String(!figure.hiddenSeries.has(each.key)) }, html("li", {}, list));
      button.append(swatch(each, spec.line), document.createTextNode(short(each.name, 60)));
      button.addEventListener("click", () => {
        const gone = figure.hiddenSeries;
        gone.has(each.key) ? gone.delete(each.key) : gone.add(each.key);
        redraw();
        const again = [...figure.querySelectorAll(".legend button")][spec.series.indexOf(each)];
        if (again) again.focus();
      });
    }
  }

  // The numbers of the plot as a table, made when it is opened.
  function table(figure, spec) {
    const old = figure.querySelector(".numbers");
    const details = html("details", { class: "numbers" });
    html("summary", {}, details, "Numbers of this plot");
    const fill = () => {
      if (!details.open || details.querySelector("table")) return;
      const inner = html("div", { class: "inner", tabindex: "0", role: "region", "aria-label": "Numbers of this plot" }, details);
      const made = html("table", {}, inner);
      const head = html("tr", {}, html("thead", {}, made));
      for (const [n, text] of ["label", spec.x.label, spec.y.label, "from", "to"].entries()) html("th", { scope: "col", class: n ? "" : "label" }, head, text);
      const body = html("tbody", {}, made);
      for (const each of spec.series) {
        for (const p of each.points) {
          const row = html("tr", {}, body);
          html("th", { scope: "row" }, row, each.name);
          for (const value of [p.x, p.y, p.low, p.high]) html("td", {}, row, number(value ?? null));
        }
      }
    };
    details.addEventListener("toggle", fill);
    old ? old.replaceWith(details) : figure.append(details);
    if (old && old.open) details.open = true;
  }

  return { plot, html, near };
})();
