// Saves a chart of the page as a picture: its title, which line is whose, and the drawing, on the page's background.
const PAD = 16;

export default function ({ parentElement, data }) {
  const button = parentElement.querySelector("button");
  button.onclick = () => {
    const chart = document.querySelector(`.st-key-${CSS.escape(data.chart)} canvas`);
    if (!chart) return;
    const ratio = chart.width / chart.clientWidth || 1;
    const width = chart.clientWidth + 2 * PAD;
    const picture = document.createElement("canvas");
    const pen = picture.getContext("2d");
    const style = getComputedStyle(document.querySelector(".stApp"));
    const rows = layOut(pen, data.keys, style, width - 2 * PAD);
    const top = PAD + 28 + 22 * rows.length + 8;
    picture.width = width * ratio;
    picture.height = (top + chart.clientHeight + PAD) * ratio;
    pen.scale(ratio, ratio);
    pen.fillStyle = style.backgroundColor;
    pen.fillRect(0, 0, width, picture.height);
    pen.fillStyle = style.color;
    pen.font = `600 17px ${style.fontFamily}`;
    pen.fillText(data.title, PAD, PAD + 16);
    pen.font = `13px ${style.fontFamily}`;
    rows.forEach((row, line) => row.forEach(({ key, left }) => {
      const y = PAD + 28 + 22 * line + 12;
      pen.fillStyle = key.colour;
      pen.fillRect(left, y - 6, 14, 3);
      pen.fillStyle = style.color;
      pen.fillText(key.name, left + 20, y);
    }));
    pen.drawImage(chart, PAD, top, chart.clientWidth, chart.clientHeight);
    picture.toBlob((blob) => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = data.name;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    });
  };
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
