// Elements made from data. Texts become text nodes and attributes, never markup, so nothing in a message can be code.

const SVG = "http://www.w3.org/2000/svg";

/** Return an element. Attributes that are null or false are left out; children are nodes, texts, or lists of them. */
export const h = (name, attributes, ...children) => fill(document.createElement(name), attributes, children);

/** Return an element of SVG. */
export const svg = (name, attributes, ...children) => fill(document.createElementNS(SVG, name), attributes, children);

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((one) => one !== null && one !== undefined && one !== false));
  return element;
}

/**
 * Change the children of `old` into `fresh`, keeping every element that is in both.
 *
 * So the focus, what is typed, open details and how far they are scrolled stay as they are. Children with an id are
 * the same if their ids are, others if they have the same place and name.
 */
export function morph(old, fresh) {
  const wanted = new Set(fresh.map((one) => one.id).filter(Boolean));
  for (const one of [...old.children]) if (one.id && !wanted.has(one.id)) one.remove();
  const kept = new Map([...old.children].filter((one) => one.id).map((one) => [one.id, one]));
  let place = old.firstChild;
  for (const one of fresh) {
    const same = one.id ? kept.get(one.id) : place;
    if (!same || same.nodeName !== one.nodeName || (same.id || "") !== (one.id || "")) {
      old.insertBefore(one, place);
      continue;
    }
    kept.delete(one.id);
    if (same === place) place = place.nextSibling;
    else old.insertBefore(same, place);
    update(same, one);
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

function update(old, fresh) {
  if (old.nodeType === Node.TEXT_NODE) {
    // A change would end a selection. What is being copied is brought up to date once it is not selected any more.
    if (old.data !== fresh.data && !isSelected(old)) old.data = fresh.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (name !== "open" && !fresh.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  if (old.localName !== "textarea") morph(old, [...fresh.childNodes]);
}

function isSelected(node) {
  const selection = document.getSelection();
  return selection && !selection.isCollapsed && selection.containsNode(node, true);
}
