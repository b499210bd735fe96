"use strict";
// Sorts, filters, pages and copies the leaderboards. What they show decides what the plots of their data set show.
const Report = (() => {
  const PAGE = 50;
  const boards = new Map();
  const said = document.querySelector(".said");
  const say = (text) => { said.textContent = text; };

  class Board {
    constructor(table) {
      this.table = table;
      this.part = table.dataset.part;
      this.data = JSON.parse(document.getElementById(`${this.part}-data`).textContent);
      this.block = table.closest("section");
      this.body = table.tBodies[0];
      this.rows = [...this.body.rows].map((row, place) => ({
        row, place, key: row.dataset.row, slots: JSON.parse(row.dataset.slots), text: row.cells[0].textContent.toLowerCase(),
        values: [...row.cells].slice(2, 2 + this.data.columns.length).map((cell) => (cell.dataset.v === undefined ? NaN : Number(cell.dataset.v))),
      }));
      for (const each of this.rows) each.text += ` ${Object.values(each.slots).join(" ").toLowerCase()}`;
      this.elsewhere = [...this.table.querySelectorAll("tbody.references tr[data-row]")].map((row) => row.dataset.row);
      this.page = 0;
      this.listeners = [];
      this.order = [...this.rows];
      this.headings();
      this.filters();
      this.columns();
      this.block.querySelectorAll(".copy").forEach((button) => button.addEventListener("click", () => this.copy(button.dataset.form)));
      this.apply();
    }

    headings() {
      for (const head of this.table.tHead.querySelectorAll("th[data-column], th.label")) {
        const button = Charts.html("button", { type: "button" });
        button.append(...head.childNodes);
        head.append(button);
        button.addEventListener("click", () => this.sort(head));
      }
    }

    // Numbers that are missing come last in either direction.
    sort(head) {
      const column = head.dataset.column === undefined ? -1 : Number(head.dataset.column);
      const first = column < 0 ? "ascending" : Number(head.dataset.better) < 0 || this.data.columns[column].better < 0 ? "ascending" : "descending";
      const now = head.getAttribute("aria-sort");
      const next = !now ? first : now === "ascending" ? "descending" : "ascending";
      this.table.tHead.querySelectorAll("th").forEach((each) => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", next);
      const sign = next === "ascending" ? 1 : -1;
      const compare = column < 0
        ? (a, b) => sign * a.text.localeCompare(b.text, "en")
        : (a, b) => (Number.isNaN(a.values[column]) - Number.isNaN(b.values[column])) || sign * (a.values[column] - b.values[column]) || a.place - b.place;
      this.order = [...this.rows].sort(compare);
      this.body.append(...this.order.map((each) => each.row));
      this.page = 0;
      this.apply();
      say(`Sorted by ${head.textContent.trim()}, ${next}.`);
    }

    filters() {
      this.block.querySelector(".tools").hidden = false;
      this.find = this.block.querySelector(".find");
      this.slots = [...this.block.querySelectorAll("select.slot")];
      const changed = () => {
        this.page = 0;
        this.apply();
        say(`${this.kept.length} of ${this.rows.length} rows.`);
      };
      this.find.addEventListener("input", changed);
      this.slots.forEach((each) => each.addEventListener("change", changed));
    }

    columns() {
      this.boxes = [...this.block.querySelectorAll(".menu input")];
      const place = (n) => [...this.table.rows].map((row) => row.cells[n + 2]).filter((cell, at) => cell && !this.table.rows[at].classList.contains("between"));
      for (const box of this.boxes) {
        const show = () => place(Number(box.value)).forEach((cell) => { cell.hidden = !box.checked; });
        if (!box.checked) show();
        box.addEventListener("change", show);
      }
      const menu = this.block.querySelector(".menu");
      menu.addEventListener("keydown", (event) => {
        if (event.key === "Escape") { menu.open = false; menu.querySelector("summary").focus(); }
      });
      document.addEventListener("pointerdown", (event) => { if (!menu.contains(event.target)) menu.open = false; });
    }

    apply() {
      const words = this.find.value.toLowerCase().split(/\s+/).filter(Boolean);
      const fits = (each) => words.every((word) => each.text.includes(word)) && this.slots.every((select) => !select.value || each.slots[select.dataset.slot] === select.value);
      this.kept = this.order.filter(fits);
      const isLong = this.rows.length > 2 * PAGE;
      const start = isLong ? this.page * PAGE : 0;
      const shown = new Set(isLong ? this.kept.slice(start, start + PAGE) : this.kept);
      for (const each of this.rows) each.row.hidden = !shown.has(each);
      if (isLong) this.pager(start, shown.size);
      this.listeners.forEach((tell) => tell());
    }

    pager(start, count) {
      const line = this.block.querySelector(".pages");
      line.hidden = false;
      line.replaceChildren();
      const turn = (text, step, isOff) => {
        const button = Charts.html("button", { type: "button" }, line, text);
        button.disabled = isOff;
        button.addEventListener("click", () => { this.page += step; this.apply(); });
      };
      turn("Previous", -1, start === 0);
      Charts.html("span", {}, line, this.kept.length ? `${start + 1} to ${start + count} of ${this.kept.length} rows` : "no row fits");
      turn("Next", 1, start + count >= this.kept.length);
    }

    // The rows that the filters keep, in this order, those from elsewhere, and the columns that are shown.
    copy(form) {
      const keys = [...this.kept.map((each) => each.key), ...this.elsewhere];
      const chosen = this.boxes.filter((box) => box.checked).map((box) => Number(box.value));
      const text = form === "latex" ? this.latex(keys, chosen) : this.csv(keys, chosen);
      put(text).then(() => say(`Copied ${keys.length} rows as ${form === "latex" ? "LaTeX" : "CSV"}.`));
    }

    latex(keys, chosen) {
      const { lead, headings, columns, rows, notes, noted } = this.data.latex;
      const places = [...headings.keys()].filter((n) => columns[n] === null || chosen.includes(columns[n]));
      const line = (row) => `${places.map((n) => row[n]).join(" & ")} \\\\`;
      const side = places.map((n) => (["label", "seeds", "marks"].includes(headings[n]) ? "l" : "r")).join("");
      const body = keys.flatMap((key) => [...(key === this.elsewhere[0] ? ["\\midrule"] : []), line(rows[key])]);
      const told = notes.filter((_, n) => keys.some((key) => noted[key].includes(n)));
      const below = told.length ? ["", "{\\footnotesize", ...told, "}"] : [];
      return [...lead, `\\begin{tabular}{${side}}`, "\\toprule", line(headings), "\\midrule", ...body, "\\bottomrule", "\\end{tabular}", ...below, ""].join("\n");
    }

    csv(keys, chosen) {
      const { facts, rows } = this.data.csv;
      const names = [...facts, ...chosen.flatMap((n) => ["mean", "low", "high"].map((end) => `${this.data.csv.names[n]}_${end}`))];
      const places = [...facts.keys(), ...chosen.flatMap((n) => [0, 1, 2].map((end) => facts.length + 3 * n + end))];
      return [names.join(","), ...keys.map((key) => places.map((n) => rows[key][n]).join(",")), ""].join("\n");
    }
  }

  // To the clipboard; where the browser forbids that, a dialog shows the text, selected.
  async function put(text) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const dialog = Charts.html("dialog", { "aria-label": "Text to copy" }, document.body);
      const area = Charts.html("textarea", { rows: "12", cols: "80", "aria-label": "Text to copy" }, dialog);
      area.value = text;
      const form = Charts.html("form", { method: "dialog" }, dialog);
      Charts.html("button", {}, form, "Close");
      dialog.addEventListener("close", () => dialog.remove());
      dialog.showModal();
      area.select();
    }
  }

  function start() {
    document.querySelectorAll("table.board").forEach((table) => boards.set(table.dataset.part, new Board(table)));
    const choice = document.getElementById("datasets");
    const show = () => document.querySelectorAll("section.dataset").forEach((each) => { each.hidden = choice.value !== "" && each.id !== choice.value; });
    if (choice) choice.addEventListener("change", show);
    const open = () => {
      const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
      if (!target) return;
      const part = target.closest("section.dataset");
      if (part && part.hidden) { choice.value = ""; show(); }
      if (target.matches("details")) target.open = true;
    };
    addEventListener("hashchange", open);
    open();
    document.querySelectorAll("pre.command").forEach((each) => {
      const button = Charts.html("button", { type: "button", class: "copy-command" }, undefined, "Copy");
      const box = Charts.html("div", { class: "copyable" });
      each.replaceWith(box);
      box.append(each, button);
      button.addEventListener("click", () => put(each.textContent.trim()).then(() => say("Copied the command.")));
    });
  }

  return { boards, say, start };
})();
