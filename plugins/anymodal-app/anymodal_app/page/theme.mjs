// Light or dark: as the system has it, until a person says otherwise.

import { byId } from "./dom.mjs";

const KEY = "anymodal-theme";
const dark = matchMedia("(prefers-color-scheme: dark)");

function stored() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // a page may be refused any memory
  }
}

let chosen = stored();

function show() {
  const isDark = chosen ? chosen === "dark" : dark.matches;
  if (chosen) document.documentElement.dataset.theme = chosen;
  byId("theme").textContent = isDark ? "Light" : "Dark";
  byId("theme").setAttribute("aria-label", isDark ? "Switch to light" : "Switch to dark");
  byId("theme").setAttribute("aria-pressed", String(isDark));
}

export function startTheme() {
  show();
  dark.addEventListener("change", show);
  byId("theme").addEventListener("click", () => {
    chosen = (chosen ? chosen === "dark" : dark.matches) ? "light" : "dark";
    try {
      localStorage.setItem(KEY, chosen);
    } catch {
      // it then lasts as long as the page
    }
    show();
  });
}
