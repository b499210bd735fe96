"use strict";
// The theme is chosen before the page is drawn: the reader's own choice, else the system's.
(() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const stored = () => { try { return localStorage.getItem("vaezoo-theme"); } catch { return null; } };
  const apply = (theme) => {
    root.dataset.theme = theme;
    const button = document.querySelector("button.theme");
    if (button) {
      button.setAttribute("aria-pressed", String(theme === "dark"));
    }
  };
  const wanted = () => stored() || (system.matches ? "dark" : "light");
  apply(wanted());
  system.addEventListener("change", () => apply(wanted()));
  addEventListener("DOMContentLoaded", () => {
    const button = document.querySelector("button.theme");
    button.hidden = false;
    apply(wanted());
    button.addEventListener("click", () => {
      const next = root.dataset.theme === "dark" ? "light" : "dark";
      try { localStorage.setItem("vaezoo-theme", next); } catch { /* a page without storage forgets the choice */ }
      apply(next);
    });
    const reload = document.querySelector("input.reload");
    if (reload) {
      let timer = null;
      const follow = () => { clearTimeout(timer); if (reload.checked) { timer = setTimeout(() => location.reload(), 30000); } };
      try { reload.checked = sessionStorage.getItem("vaezoo-reload") === "yes"; } catch { /* as above */ }
      reload.addEventListener("change", () => {
        try { sessionStorage.setItem("vaezoo-reload", reload.checked ? "yes" : "no"); } catch { /* as above */ }
        follow();
      });
      follow();
    }
  });
})();
