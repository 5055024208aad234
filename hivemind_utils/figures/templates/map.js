"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const by = document.getElementById("by"), model = document.getElementById("model");
const search = document.getElementById("search"), count = document.getElementById("count");
const lower = data.text.map(text => text.toLowerCase());
const escape = text => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
const wrap = text => {  // lines of about sixty characters, cut first and escaped last, so that no entity is broken
  const cut = text.length > {{ longest }} ? text.slice(0, {{ longest }}) + "…" : text, lines = [];
  let line = "";
  for (const word of cut.match(/\S{1,60}/gu) || []) {
    if (line.length + word.length > 60) { lines.push(line); line = ""; }
    line = line ? line + " " + word : word;
  }
  return [...lines, line].map(escape).join("<br>");
};
const modelOf = i => data.groups.model.names[data.groups.model.codes[i]];
for (const name of Object.keys(data.groups)) by.add(new Option(name, name));
data.groups.model.names.forEach((name, k) => model.add(new Option(name, k)));
const layout = {
  margin: {l: 10, r: 10, t: 10, b: 10}, hovermode: "closest", dragmode: "pan",
  xaxis: {visible: false}, yaxis: {visible: false, scaleanchor: "x"},
  legend: {itemsizing: "constant", ...(innerWidth < 700 ? {orientation: "h", x: 0, y: 0, yanchor: "top"} : {})},
  hoverlabel: {align: "left", bgcolor: "white", font: {color: "#222"}}, uirevision: "keep"
};
function draw() {
  const group = data.groups[by.value], wanted = model.value, words = search.value.toLowerCase().trim();
  const rows = group.names.map(() => []);
  let shown = 0;
  for (let i = 0; i < data.x.length; i++) {
    if (wanted !== "" && data.groups.model.codes[i] !== +wanted) continue;
    if (words && !lower[i].includes(words)) continue;
    rows[group.codes[i]].push(i);
    shown++;
  }
  const size = data.x.length > 5000 ? 4 : 6;
  const traces = group.names.map((name, k) => ({
    type: "scattergl", mode: "markers", name: escape(name.length > 42 ? name.slice(0, 41) + "…" : name),
    x: rows[k].map(i => data.x[i]), y: rows[k].map(i => data.y[i]), customdata: rows[k],
    text: rows[k].map(i => "<b>" + escape(modelOf(i)) + "</b><br>" + wrap(data.text[i])),
    hovertemplate: "%{text}<extra></extra>", marker: {size: size, color: group.colours[k], symbol: group.shapes[k], opacity: 0.8}
  })).filter(trace => trace.x.length);
  const buttons = {responsive: true, displaylogo: false, scrollZoom: true, modeBarButtonsToRemove: ["toImage"]};
  Plotly.react("map", traces, layout, buttons);
  const whole = data.x.length.toLocaleString("en");
  count.textContent = (shown === data.x.length ? "" : shown.toLocaleString("en") + " of ") + whole + " responses";
}
let timer;
search.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(draw, 150); });
by.addEventListener("change", draw);
model.addEventListener("change", draw);
draw();
