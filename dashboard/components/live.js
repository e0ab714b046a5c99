// Shows HTML that is drawn again and again: only what differs is touched, so a reader's selection, focus and place stay,
// and a big table costs little. All text in it was escaped where it was rendered.
const FIRST_ROWS = 40; // more than a screen shows; the others of a new table come after the first frame

export default function ({ parentElement, data }) {
  const box = (parentElement.kwBox ??= parentElement.appendChild(document.createElement("div")));
  if (box.kwShown === data) return;
  box.kwShown = data;
  box.className = "kw-live";
  const fresh = document.createElement("template");
  fresh.innerHTML = data;
  const rest = box.firstChild ? [] : [...fresh.content.querySelectorAll("tbody")].map(putOff);
  const focused = document.activeElement;
  patch(box, fresh.content);
  if (focused !== document.activeElement && box.contains(focused)) focused.focus({ preventScroll: true }); // it moved
  if (rest.some((rows) => rows.length)) afterFrame(() => box.kwShown === data && box.querySelectorAll("tbody").forEach(
    (table, place) => table.append(...rest[place])));
}

function putOff(table) {
  const rows = [...table.rows].slice(FIRST_ROWS);
  rows.forEach((row) => row.remove());
  return rows;
}

function afterFrame(act) {
  requestAnimationFrame(() => setTimeout(act));
}

/** Makes the children of `old` those of `fresh`. */
function patch(old, fresh) {
  const rows = new Map([...old.childNodes].filter(rowName).map((row) => [rowName(row), row]));
  let at = old.firstChild;
  for (const node of [...fresh.childNodes]) {
    const row = rows.get(rowName(node));
    if (row && row !== at) old.insertBefore(row, at); // a row that has moved takes its place
    const match = row ?? at;
    if (match && !(rowName(match) && match !== row) && adopt(match, node)) {
      at = match.nextSibling;
    } else {
      old.insertBefore(node, at);
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

/** Makes `old` what `fresh` is; false where they are of different kinds. */
function adopt(old, fresh) {
  if (old.nodeName !== fresh.nodeName) return false;
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return true;
  }
  if (old.isEqualNode(fresh)) return true;
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  patch(old, fresh);
  return true;
}

function rowName(node) {
  return node.dataset?.model;
}
