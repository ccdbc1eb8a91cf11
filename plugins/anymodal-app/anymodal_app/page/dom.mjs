// Elements without markup: all text is set as text, whatever it is.

export const byId = (id) => document.getElementById(id);

/** An element; `on...` are listeners, what is false or missing is left out. */
export function make(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (value === false || value === undefined || value === null) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "value") node.value = value;
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== false && child !== undefined && child !== null));
  return node;
}

export const button = (text, onclick, properties = {}) => make("button", { type: "button", onclick, ...properties }, text);

/** A button that is on or off. */
export function toggle(text, on, onclick, properties = {}) {
  return button(text, onclick, { "aria-pressed": String(Boolean(on)), ...properties });
}

/** One of few choices, as buttons side by side. */
export function segments(label, choices, chosen, onchoice) {
  const buttons = choices.map(([value, text]) =>
    button(text, () => onchoice(value), { "aria-pressed": String(value === chosen), "data-key": `${label}-${value}` }),
  );
  return make("div", { class: "segments", role: "group", "aria-label": label }, ...buttons);
}

let numbers = 0;
export const newId = (prefix) => `${prefix}-${++numbers}`;

/** Children in place of others; those that stay are not moved, and the focus stays on the same `data-key`. */
export function replace(parent, ...children) {
  const wanted = children.filter(Boolean);
  const key = parent.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  for (const child of [...parent.childNodes]) if (!wanted.includes(child)) child.remove();
  let next = parent.firstChild;
  for (const child of wanted) {
    if (child === next) next = next.nextSibling;
    else parent.insertBefore(child, next);
  }
  if (key && !parent.contains(document.activeElement)) parent.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus();
}
