const byId = (id) => document.getElementById(id);
const dark = matchMedia("(prefers-color-scheme: dark)");
const mark = () => document.documentElement.classList.toggle("dark", dark.matches);
mark();
dark.addEventListener("change", mark);

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text.trim()), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip")));
}

async function makeLinks() {
  for (const link of document.querySelectorAll("a[data-csv]")) {
    const text = await (await unpack(link.dataset.csv)).text();
    link.href = `data:text/csv;charset=utf-8,${encodeURIComponent(text)}`;
    link.hidden = false;
  }
}

/* Tables: sorting and filtering by DataTables. Text with data-order is sorted by that number. */
async function makeTables() {
  const source = await (await unpack(byId("library-tables").textContent)).text();
  const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const { default: DataTable } = await import(address);
  URL.revokeObjectURL(address);
  const common = { order: [], autoWidth: false, columnDefs: [{ targets: ["n", "e"], type: "num" }] };
  for (const table of document.querySelectorAll("table.data")) {
    const long = Number(table.dataset.rows) > 12;
    const made = new DataTable(table, {
      ...common,
      paging: long,
      pageLength: 10,
      lengthMenu: [10, 25, 50, 100, { label: "all", value: -1 }],
      language: {
        search: "Filter", lengthMenu: "_MENU_ rows a page", info: "_START_–_END_ of _TOTAL_", infoFiltered: "(of _MAX_)",
        infoEmpty: "nothing", zeroRecords: "No row matches.",
      },
      layout: {
        topStart: long ? "pageLength" : null, topEnd: long ? "search" : null,
        bottomStart: long ? "info" : null, bottomEnd: long ? "paging" : null,
      },
    });
    const menu = document.querySelector(`select[data-table="${table.id}"]`);
    if (menu) {
      const column = made.column("[data-name=group]");
      const choose = () => {
        // whole names, not patterns: a group may be called anything
        column.search.fixed("group", menu.value ? (text) => text === menu.value : null).draw();
      };
      menu.addEventListener("change", choose);
      choose();
    }
  }
  const heat = byId("heat");
  if (heat) {
    new DataTable(heat, { ...common, paging: false, searching: false, info: false });
  }
}

/* Cells: Plotly, with WebGL where the browser has it. */
const FEW = 5000;

function hasWebGL() {
  const canvas = document.createElement("canvas");
  return Boolean(canvas.getContext("webgl"));
}

async function makeCells() {
  const meta = JSON.parse(byId("cells-meta").textContent);
  const buffer = await (await unpack(byId("cells-values").textContent)).arrayBuffer();
  const script = document.createElement("script");
  script.textContent = await (await unpack(byId("library-plots").textContent)).text();
  document.head.append(script);
  const n = meta.n;
  const place = (offset, axis) => {
    const [low, high] = [meta.range[0][axis], meta.range[1][axis]];
    return Float32Array.from(new Uint16Array(buffer, offset, n), (value) => low + (value / 65535) * (high - low));
  };
  const cells = {
    x: place(0, 0), y: place(2 * n, 1), group: new Uint8Array(buffer, 4 * n, n), reliability: new Uint8Array(buffer, 5 * n, n),
    drug: (number) => new Uint8Array(buffer, (6 + number) * n, n),
  };
  const webgl = hasWebGL();
  let rows = Uint32Array.from({ length: n }, (_, row) => row);
  if (!webgl && n > FEW) {
    rows = rows.filter((row) => row % Math.ceil(n / FEW) === 0);
    byId("cells-more").textContent = `This browser has no WebGL: ${rows.length.toLocaleString("en")} of them are shown.`;
  }
  const menu = byId("colour");
  const draw = () => drawCells(meta, cells, rows, webgl, menu.value);
  menu.addEventListener("change", draw);
  dark.addEventListener("change", draw);
  draw();
}

function trace(cells, rows, name, marker, webgl) {
  const pick = (values) => Float32Array.from(rows, (row) => values[row]);
  return {
    type: webgl ? "scattergl" : "scatter", mode: "markers", name, x: pick(cells.x), y: pick(cells.y),
    marker: { size: rows.length > 20000 ? 3 : rows.length > 2000 ? 4 : 6, opacity: 0.85, ...marker },
    hovertemplate: `${escape(name)}<extra></extra>`,
  };
}

/* Plotly reads a few tags in names; names of users are text. */
function escape(text) {
  return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll("%{", "% {");
}

const ink = () => getComputedStyle(document.documentElement).getPropertyValue("--ink").trim();

function drawCells(meta, cells, rows, webgl, choice) {
  const [traces, sentence] = choice === "group" ? groupTraces(meta, cells, rows, webgl) : valueTraces(meta, cells, rows, webgl, choice);
  const axis = (number) => ({
    title: { text: `${escape(meta.basis)} ${number}`, font: { size: 12 } }, showgrid: false, zeroline: false, showticklabels: false,
    ...(number === 2 ? { scaleanchor: "x" } : {}),
  });
  const figure = byId("cells");
  const width = figure.clientWidth;
  const narrow = width < 600;
  const layout = {
    height: Math.max(340, Math.min(640, width * 0.75)), margin: { l: 30, r: 10, t: 30, b: 30 },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: ink(), size: 12 },
    xaxis: axis(1), yaxis: axis(2), hovermode: "closest", uirevision: "cells", showlegend: traces.length > 1,
    legend: { itemsizing: "constant", ...(narrow || choice !== "group" ? { orientation: "h", y: 1, yanchor: "bottom" } : {}) },
  };
  const buttons = ["select2d", "lasso2d", "autoScale2d"];
  window.Plotly.react(figure, traces, layout, { responsive: true, displaylogo: false, modeBarButtonsToRemove: buttons });
  keepForPaper(traces, layout);
  byId("cells-caption").textContent = `${meta.basis} of the cells, coloured by ${sentence}`;
}

/* A picture for print: a sheet is narrower than most windows, and WebGL is not drawn anew in time. */
let waiting = 0;
function keepForPaper(traces, layout) {
  clearTimeout(waiting);
  waiting = setTimeout(async () => {
    const size = { width: 900, height: 600 };
    const paper = { ...layout, ...size, font: { color: "#000", size: 13 }, paper_bgcolor: "#fff" };
    byId("cells-print").src = await window.Plotly.toImage({ data: traces, layout: paper }, { format: "png", scale: 2, ...size });
  }, 300);
}

function groupTraces(meta, cells, rows, webgl) {
  const traces = [];
  meta.groups.forEach((group, code) => {
    const own = rows.filter((row) => cells.group[row] === code);
    const name = group.refused ? `${group.name} (refused)` : group.name;
    if (own.length) traces.push(trace(cells, own, name, { color: group.color }, webgl));
  });
  const none = rows.filter((row) => cells.group[row] >= meta.groups.length);
  if (none.length) traces.unshift(trace(cells, none, "no label", { color: meta.other }, webgl));
  for (const one of traces) one.name = escape(one.name);
  return [traces, `group: ${meta.groups.map((group) => group.name).join(", ")}.`];
}

function valueTraces(meta, cells, rows, webgl, choice) {
  const isDrug = choice !== "reliability";
  const values = isDrug ? cells.drug(Number(choice)) : cells.reliability;
  const what = isDrug ? `percentile of ${meta.drugs[Number(choice)]}` : "reliability";
  const believed = (row) => values[row] !== 255 && !(isDrug && meta.groups[cells.group[row]]?.refused);
  const shown = rows.filter(believed);
  const others = rows.filter((row) => !believed(row));
  const bar = { title: { text: isDrug ? "percentile" : "reliability", side: "right" }, thickness: 12, len: 0.8, outlinewidth: 0 };
  const colours = isDrug ? meta.scale : [[0, meta.scale[1][1]], [1, meta.scale[0][1]]];
  const marker = { color: Float32Array.from(shown, (row) => values[row] / 100), colorscale: colours, cmin: 0, cmax: 1, colorbar: bar };
  const main = trace(cells, shown, what, marker, webgl);
  main.hovertemplate = `${escape(what)}: %{marker.color:.2f}<extra></extra>`;
  main.showlegend = false;
  const traces = [main];
  if (others.length) {
    traces.unshift(trace(cells, others, "grey: refused or not predicted", { color: meta.other, opacity: 0.5 }, webgl));
  }
  let means = "";
  if (isDrug && meta.means.length) {
    const told = meta.groups.map((group, code) => [group, meta.means[Number(choice)][code]]).filter(([, value]) => value !== null);
    means = ` Mean by group: ${told.map(([group, value]) => `${group.name} ${value.toFixed(2)}${group.refused ? " (refused)" : ""}`).join(", ")}.`;
  }
  return [traces, `${what}.${means}`];
}

/* Methods */
byId("copy").addEventListener("click", async () => {
  const text = byId("methods-text").innerText;
  try {
    await navigator.clipboard.writeText(text);
    byId("copied").textContent = "Copied.";
  } catch {
    // pages that are opened as files may not write to the clipboard: mark the text instead
    getSelection().selectAllChildren(byId("methods-text"));
    byId("copied").textContent = "Marked: copy it with your keyboard.";
  }
});

const jobs = [makeLinks(), makeTables()];
if (byId("cells-meta")) jobs.push(makeCells());
Promise.all(jobs).then(() => document.documentElement.setAttribute("data-ready", "yes"));
