// Saves what a page shows: tables, which the server makes when they are asked for, and charts, which are here.
const PAD = 16;
const KEPT_MS = 10_000; // a browser takes a file within so long
const AGAIN_MS = 1_000; // without a file for so long it is asked for again, then after twice as long, and so on

export default function ({ parentElement, data, setTriggerValue }) {
  const host = parentElement.host ?? parentElement;
  host.kwSend = setTriggerValue;
  for (const button of parentElement.querySelectorAll("[data-end]")) {
    button.onclick = () => ask(host, { end: button.dataset.end, number: Date.now() }, AGAIN_MS);
  }
  const about = parentElement.querySelector(".about");
  about.textContent = data.about;
  about.hidden = !data.about;
  const picture = parentElement.querySelector(".picture");
  picture.hidden = !data.picture;
  picture.onclick = () => savePicture(data.picture);
  if (data.file && data.file.number !== host.kwSaved) {
    host.kwSaved = data.file.number;
    clearTimeout(host.kwAsking);
    saveFile(data.file);
  }
}

/** Asks for a file; again, if it does not come: what is sent while the server is busy may be lost. */
function ask(host, wanted, patience) {
  clearTimeout(host.kwAsking);
  if (!host.isConnected) return;
  host.kwSend("wanted", { ...wanted, patience }); // an equal value would be no change, and not be sent
  host.kwAsking = setTimeout(() => ask(host, wanted, 2 * patience), patience);
}

async function saveFile({ name, type, zipped }) {
  const bytes = Uint8Array.from(atob(zipped), (each) => each.charCodeAt(0));
  const content = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  save(new Blob([await new Response(content).blob()], { type }), name);
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), KEPT_MS);
}

/** Saves a chart of the page: its title, which line is whose, and the drawing, on the page's background. */
function savePicture(asked) {
  const chart = document.querySelector(`.st-key-${CSS.escape(asked.chart)} canvas`);
  if (!chart) return;
  const ratio = chart.width / chart.clientWidth || 1;
  const width = chart.clientWidth + 2 * PAD;
  const picture = document.createElement("canvas");
  const pen = picture.getContext("2d");
  const style = getComputedStyle(document.querySelector(".stApp"));
  const rows = layOut(pen, asked.keys, style, width - 2 * PAD);
  const top = PAD + 28 + 22 * rows.length + 8;
  picture.width = width * ratio;
  picture.height = (top + chart.clientHeight + PAD) * ratio;
  pen.scale(ratio, ratio);
  pen.fillStyle = style.backgroundColor;
  pen.fillRect(0, 0, width, picture.height);
  pen.fillStyle = style.color;
  pen.font = `600 17px ${style.fontFamily}`;
  pen.fillText(asked.title, PAD, PAD + 16);
  pen.font = `13px ${style.fontFamily}`;
  rows.forEach((row, line) => row.forEach(({ key, left }) => {
    const y = PAD + 28 + 22 * line + 12;
    pen.fillStyle = key.colour;
    pen.fillRect(left, y - 6, 14, 3);
    pen.fillStyle = style.color;
    pen.fillText(key.name, left + 20, y);
  }));
  pen.drawImage(chart, PAD, top, chart.clientWidth, chart.clientHeight);
  picture.toBlob((blob) => save(blob, asked.name));
}

function layOut(pen, keys, style, width) {
  pen.font = `13px ${style.fontFamily}`;
  const rows = [];
  let left = Infinity;
  for (const key of keys) {
    const needed = 20 + pen.measureText(key.name).width + 20;
    if (left + needed > PAD + width) {
      rows.push([]);
      left = PAD;
    }
    rows.at(-1).push({ key, left });
    left += needed;
  }
  return rows;
}
