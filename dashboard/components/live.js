// Shows HTML that is drawn again and again: only what differs is touched, so a reader's selection and place stay, and a
// big table costs little. Rows are told apart by data-model, which is unique in a table; what a reader may open or fill
// in (<details>, fields) is not for here. All text was escaped where it was rendered.
const FIRST_ROWS = 40; // more than a screen shows; a table's other rows come after the next frame

export default function ({ parentElement, data }) {
  const box = (parentElement.kwBox ??= parentElement.appendChild(document.createElement("div")));
  if (box.kwShown === data) return;
  box.kwShown = data;
  box.className = "kw-drawn";
  const fresh = parse(data);
  cancelAnimationFrame(box.kwFrame);
  // A hidden tab has no frames: there all is drawn at once.
  const isLong = !document.hidden && [...fresh.querySelectorAll("tbody")].filter(cut).length > 0;
  update(box, fresh, isLong);
  if (isLong) box.kwFrame = requestAnimationFrame(() => setTimeout(() => update(box, parse(box.kwShown), false)));
}

function parse(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content;
}

/** Takes all but the first rows from a table; true if there were others. */
function cut(table) {
  const others = [...table.rows].slice(FIRST_ROWS);
  others.forEach((row) => row.remove());
  return others.length > 0;
}

function update(box, fresh, isBegun) {
  const focused = document.activeElement;
  patch(box, fresh, isBegun);
  if (focused !== document.activeElement && box.contains(focused)) focused.focus({ preventScroll: true }); // it moved
}

/** Makes the children of `old` those of `fresh`; `isBegun`: a table's later rows stay as they are for now. */
function patch(old, fresh, isBegun) {
  const rows = new Map([...old.childNodes].filter(rowName).map((row) => [rowName(row), row]));
  let at = old.firstChild;
  for (const node of [...fresh.childNodes]) {
    const row = rows.get(rowName(node));
    if (row && row !== at) old.insertBefore(row, at); // a row that has moved takes its place
    const match = row ?? at;
    if (match && !(rowName(match) && match !== row) && adopt(match, node, isBegun)) {
      at = match.nextSibling;
    } else {
      old.insertBefore(node, at);
    }
  }
  if (isBegun && old.localName === "tbody") return;
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

/** Makes `old` what `fresh` is; false where they are of different kinds. */
function adopt(old, fresh, isBegun) {
  if (old.nodeName !== fresh.nodeName) return false;
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return true;
  }
  if (old.isEqualNode(fresh)) return true;
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  patch(old, fresh, isBegun);
  return true;
}

function rowName(node) {
  return node.dataset?.model;
}
