"use strict";
// The plots of each data set, drawn when they come near the screen, before printing, and when the leaderboard changes.
(() => {
  const MOST = 8;
  const EARLY = 0.15;
  const AGAINST = [["train_images_per_second"], ["train_seconds"], ["iwll_samples_per_second"], ["parameters"]].flat();
  Report.start();

  const select = (element, options, value) => {
    for (const [key, text] of options) Charts.html("option", { value: key }, element, text);
    element.value = value;
  };
  const measured = (data, n) => Object.values(data.numbers).some((each) => each[n] !== null);

  function controls(board) {
    const { data, part } = board;
    const state = (board.state = { quantity: "validation_iwll", whole: false });
    const axes = document.querySelector(`.axes[data-part="${part}"]`);
    if (axes) {
      const columns = data.columns.map((column, n) => [column, n]).filter(([, n]) => measured(data, n));
      const quality = columns.filter(([column]) => !column.cost && column.better);
      const costs = columns.filter(([column]) => column.cost);
      const names = (list) => list.map(([column, n]) => [n, column.heading]);
      const [x, y] = [axes.querySelector(".axis-x"), axes.querySelector(".axis-y")];
      const main = quality.find(([column]) => column.name === data.main) || quality[0];
      const fast = AGAINST.map((name) => costs.find(([column]) => column.name === name)).find(Boolean) || costs[0];
      if (main && fast) {
        select(y, names(quality), String(main[1]));
        select(x, names(costs), String(fast[1]));
        axes.hidden = false;
        state.axes = () => [Number(x.value), Number(y.value)];
        [x, y].forEach((each) => each.addEventListener("change", () => draw(board, ["speed"])));
      }
    }
    const curves = document.querySelector(`.curves[data-part="${part}"]`);
    if (curves) {
      const [quantity, whole] = [curves.querySelector(".quantity"), curves.querySelector(".whole")];
      const has = (name) => Object.values(data.drawn.curves).some((each) => each && each[name]);
      select(quantity, Object.entries(data.measured).filter(([name]) => has(name)), state.quantity);
      curves.hidden = false;
      quantity.addEventListener("change", () => { state.quantity = quantity.value; draw(board, ["epochs", "seconds"]); });
      whole.addEventListener("change", () => { state.whole = whole.checked; draw(board, ["epochs", "seconds"]); });
    }
  }

  const place = (board, key) => board.rows.find((each) => each.key === key).place;
  const kept = (board, drawn) => board.kept.map((each) => each.key).filter((key) => drawn[key]);

  function speed(board) {
    const { data } = board;
    if (!board.state.axes) return null;
    const [nx, ny] = board.state.axes();
    const [x, y] = [data.columns[nx], data.columns[ny]];
    const alike = (key) => data.competes[key] && (x.name === "parameters" || data.devices[key] === data.device);
    const series = board.kept.filter(({ key }) => data.numbers[key][nx] && data.numbers[key][ny]).map(({ key, place: at, row }) => ({
      key, place: at, name: data.labels[key], hollow: !alike(key),
      points: [{ x: data.numbers[key][nx][0], y: data.numbers[key][ny][0], low: data.numbers[key][ny][1], high: data.numbers[key][ny][2], text: row.cells[ny + 2].textContent, more: row.cells[nx + 2].textContent }],
    }));
    const able = series.filter((each) => !each.hollow).map((each) => ({ key: each.key, x: each.points[0].x, y: each.points[0].y }));
    const atLeast = (a, b, sign) => sign * (a - b) >= 0;
    const beats = (a, b) => atLeast(a.x, b.x, x.better) && atLeast(a.y, b.y, y.better) && (a.x !== b.x || a.y !== b.y);
    const front = able.length > 1 ? able.filter((each) => !able.some((other) => beats(other, each))) : [];
    front.sort((a, b) => a.x - b.x);
    const names = front.map((each) => data.labels[each.key]);
    const arrow = (better) => (better > 0 ? "higher is better" : better < 0 ? "lower is better" : "");
    const xs = series.map((each) => each.points[0].x).filter((v) => v > 0);
    return {
      about: `${y.heading} against ${x.heading} of ${series.length} rows.`,
      x: { label: `${x.heading}, ${arrow(x.better)}`, better: x.better, log: xs.length > 1 && Math.max(...xs) / Math.min(...xs) > 5, room: 0.12 },
      y: { label: `${y.heading}, ${arrow(y.better)}` },
      series, front: front.map((each) => [each.x, each.y]), height: 460,
      named: series.length <= 12 ? new Set(series.map((each) => each.key)) : new Set(front.map((each) => each.key)),
      note: names.length ? `On the Pareto front: ${names.join("; ")}.` : "There is no front: fewer than two rows were measured alike.",
    };
  }

  const few = (keys, total) => (total > keys.length ? `The first ${keys.length} of ${total} rows, in the leaderboard's order; sort or filter it to choose others.` : "");

  function learning(board, axis) {
    const { data } = board;
    const drawn = data.drawn.curves;
    const every = kept(board, drawn).filter((key) => drawn[key][board.state.quantity]);
    const keys = every.slice(0, MOST);
    const series = keys.map((key) => {
      const [mean, low, high] = drawn[key][board.state.quantity];
      return { key, place: place(board, key), name: data.labels[key], points: drawn[key][axis].map((x, n) => ({ x, y: mean[n], low: low[n], high: high[n] })) };
    });
    const fits = Charts.near(series.map((each) => each.points[each.points.length - 1].y));
    const late = series.filter((each) => fits(each.points[each.points.length - 1].y))
      .flatMap((each) => each.points.slice(Math.floor(each.points.length * EARLY)).flatMap((p) => [p.y, p.low])).filter((v) => v !== null);
    const budget = data.budget && { axis: "x", at: data.budget[axis], name: axis === "epochs" ? "equal epochs" : "equal seconds" };
    return {
      about: `${data.measured[board.state.quantity]} against ${axis} of ${keys.length} rows.`,
      x: { label: axis === "epochs" ? "epoch" : "seconds in training steps", whole: axis === "epochs" },
      y: { label: data.measured[board.state.quantity], ...(board.state.whole || !late.length ? {} : { low: Math.min(...late) }) },
      series, line: true, rules: budget && series.length > 1 ? [budget] : [], note: few(keys, every.length),
    };
  }

  function ordered(board, name, label, more) {
    const drawn = board.data.drawn[name];
    const every = kept(board, drawn);
    const keys = every.slice(0, MOST);
    const series = keys.map((key) => {
      const [mean, low, high] = drawn[key];
      return { key, place: place(board, key), name: board.data.labels[key], points: mean.map((y, n) => ({ x: n + 1, y, low: low[n], high: high[n] })) };
    });
    return { about: `${label} of the latent dimensions of ${keys.length} rows, largest first.`, x: { label: "latent dimensions, largest first", whole: true }, y: { label, ...more }, series, line: true, note: few(keys, every.length) };
  }

  function samples(board) {
    const drawn = board.data.drawn.iwll;
    const every = kept(board, drawn);
    const keys = every.slice(0, MOST);
    const series = keys.map((key) => {
      const [mean, low, high] = drawn[key].iwll;
      return { key, place: place(board, key), name: board.data.labels[key], points: drawn[key].samples.map((x, n) => ({ x, y: mean[n], low: low[n], high: high[n] })) };
    });
    return { about: `iwll against K of ${keys.length} rows.`, x: { label: "importance samples K", log: true }, y: { label: "iwll (nats)" }, series, line: true, note: few(keys, every.length) };
  }

  const KINDS = {
    speed, epochs: (board) => learning(board, "epochs"), seconds: (board) => learning(board, "seconds"),
    kl: (board) => ordered(board, "kl", "KL (nats)", { zero: true }),
    units: (board) => ({ ...ordered(board, "units", "variance of E[z|x] over images", { log: true }), rules: [{ axis: "y", at: 0.01, name: "active above 0.01" }] }),
    iwll: samples,
  };
  const figures = [...document.querySelectorAll("figure.plot")];
  const near = new Set();

  function drawn(figure) {
    const board = Report.boards.get(figure.dataset.part);
    const spec = KINDS[figure.dataset.plot](board);
    if (!spec) return;
    Charts.plot(figure, spec);
  }
  function draw(board, kinds) {
    figures.filter((each) => each.dataset.part === board.part && (!kinds || kinds.includes(each.dataset.plot)) && near.has(each)).forEach(drawn);
  }

  Report.boards.forEach((board) => {
    controls(board);
    board.listeners.push(() => draw(board));
  });
  const first = (figure) => { if (!near.has(figure)) { near.add(figure); drawn(figure); } };
  const seen = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) if (isIntersecting) first(target);
  }, { rootMargin: "400px" });
  for (const figure of figures) {
    figure.canvas = Charts.html("div", { class: "canvas", tabindex: "0", role: "group", "aria-label": "Plot" }, figure);
    figure.canvas.addEventListener("focus", () => first(figure)); // the keyboard may be faster than the observer
    seen.observe(figure);
  }
  let waiting = null;
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(() => near.forEach(drawn), 150);
  });
  addEventListener("beforeprint", () => figures.forEach((each) => { near.add(each); drawn(each); }));
})();
