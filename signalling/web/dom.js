// Making and updating elements. Text goes in as text nodes only: nothing here parses HTML.

const SVG = "http://www.w3.org/2000/svg";

export function make(name, className = "", attributes = {}, children = []) {
  return dress(document.createElement(name), className, attributes, children);
}

export function svg(name, attributes = {}, children = []) {
  return dress(document.createElementNS(SVG, name), "", attributes, children);
}

/** One of the page's icons: see the symbols in index.html. */
export function icon(name) {
  return svg("svg", { "aria-hidden": "true" }, [svg("use", { href: `#icon-${name}` })]);
}

/** A button with a word, or an icon before it. */
export function button(words, onClick, { className = "quiet", label = "" } = {}) {
  const node = make("button", className, { type: "button" }, [words]);
  if (label) node.setAttribute("aria-label", label);
  node.addEventListener("click", onClick);
  return node;
}

/** A <select> of [value, words] pairs. */
export function select(label, options, value = options[0]?.[0]) {
  const node = make("select", "", { "aria-label": label });
  fillSelect(node, options, value);
  return node;
}

/** Give a <select> these options; what was chosen stays chosen where it is still there. */
export function fillSelect(node, options, value = node.value) {
  const now = JSON.stringify(options);
  if (node.dataset.options !== now) {
    node.dataset.options = now;
    node.replaceChildren(...options.map(([key, words]) => make("option", "", { value: key }, [words])));
  }
  if (options.some(([key]) => key === value)) node.value = value;
}

/** Make `parent` have one child for each item, and draw each. */
export function sync(parent, items, create, draw) {
  while (parent.children.length > items.length) parent.lastElementChild.remove();
  while (parent.children.length < items.length) parent.append(create());
  items.forEach((item, i) => draw(parent.children[i], item));
}

/**
 * Make `parent` have one child for each item, in their order; a child belongs to its key for life,
 * so that what a person types or has focused in it stays. `create(key)` returns {node, draw(item)}.
 */
export function syncKeyed(parent, items, keyOf, create) {
  parent.keyed ??= new Map();
  const rows = parent.keyed;
  const wanted = new Set(items.map(keyOf));
  for (const [key, row] of rows) {
    if (wanted.has(key)) continue;
    row.node.remove();
    rows.delete(key);
  }
  items.forEach((item, i) => {
    const key = keyOf(item);
    if (!rows.has(key)) rows.set(key, create(key));
    const row = rows.get(key);
    if (parent.children[i] !== row.node) parent.insertBefore(row.node, parent.children[i] ?? null);
    row.draw(item);
  });
}

/** Set a text only where it differs: a live region must not say it again. */
export function setText(node, words) {
  if (node.textContent !== words) node.textContent = words;
}

function dress(node, className, attributes, children) {
  if (className) node.setAttribute("class", className);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}
