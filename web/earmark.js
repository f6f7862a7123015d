// Script of Earmark's pages: live changes, plots, and the play buttons. Everything else is HTML from the server.
import { Idiomorph } from "idiomorph/dist/idiomorph.esm.js";
import uPlot from "uplot";

const SILENT_MS = 12_000; // the server sends an event every 5 s
const BROKEN_MS = 3_000; // a stream that has ended is opened again after 1 s
const HEIGHT = 200;
const content = document.getElementById("content");
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

// Plots

const drawn = new Map(); // the element of each plot, with its uPlot

function plot(element, options, data) {
  drawn.get(element)?.destroy();
  const width = () => Math.max(200, element.clientWidth);
  const axis = { stroke: colour("dim"), grid: { stroke: colour("grid"), width: 1 }, ticks: { stroke: colour("grid") } };
  const made = new uPlot(
    {
      width: width(),
      height: HEIGHT,
      legend: { show: false },
      cursor: { drag: { x: false, y: false }, points: { show: false } },
      ...options,
      axes: options.axes.map((own) => ({ ...axis, ...own })),
    },
    data,
    element,
  );
  drawn.set(element, made);
  if (!element.dataset.watched) {
    element.dataset.watched = "yes";
    new ResizeObserver(() => {
      const current = drawn.get(element);
      if (current && current.width !== width()) current.setSize({ width: width(), height: HEIGHT });
    }).observe(element);
  }
  return made;
}

const MARKS = { active: "accent", served: "c0", rejected: "c3" };

function marks(states) {
  // One mark for each version: filled where it answers, a diamond where it was rejected
  return (u, series, first, last) => {
    const size = 4 * devicePixelRatio;
    for (const state of ["served", "rejected", "active"]) {
      u.ctx.strokeStyle = u.ctx.fillStyle = colour(MARKS[state]);
      u.ctx.lineWidth = 1.5 * devicePixelRatio;
      for (let n = first; n <= last; n++) {
        const value = u.data[series][n];
        if (value == null || states[n] !== state) continue;
        const x = u.valToPos(u.data[0][n], "x", true);
        const y = u.valToPos(value, "y", true);
        u.ctx.beginPath();
        if (state === "rejected") {
          u.ctx.moveTo(x - size, y);
          u.ctx.lineTo(x, y - size);
          u.ctx.lineTo(x + size, y);
          u.ctx.lineTo(x, y + size);
          u.ctx.closePath();
        } else {
          u.ctx.arc(x, y, state === "active" ? 1.3 * size : 0.8 * size, 0, 2 * Math.PI);
        }
        state === "active" ? u.ctx.fill() : u.ctx.stroke();
      }
    }
    return false;
  };
}

function drawCurve(holder) {
  const curve = JSON.parse(holder.dataset.curve);
  for (const figure of holder.querySelectorAll(".plot")) {
    const { values, line, unit } = figure.dataset;
    const scale = unit === "%" ? 100 : 1;
    const scaled = (name) => curve[name].map((value) => (value == null ? null : scale * value));
    const served = (list) => list.map((value, n) => (curve.states[n] === "rejected" ? null : value));
    const reading = figure.querySelector(".reading");
    const empty = scaled(values).every((value) => value == null);
    reading.textContent = empty ? "Nothing was measured yet." : "";
    plot(
      figure.querySelector(".canvas"),
      {
        scales: { x: { time: false }, y: { range: unit === "%" ? [0, 100] : (u, low, high) => [0, (high || 10) * 1.1] } },
        axes: [
          { size: 32, values: (u, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? tick.toLocaleString("en") : "")) },
          { size: 64, values: (u, ticks) => ticks.map((tick) => `${tick} ${unit}`) },
        ],
        series: [
          {},
          { stroke: colour("dim"), width: 2, spanGaps: true, points: { show: false }, show: Boolean(line) },
          { paths: () => null, points: { show: marks(curve.states) } },
        ],
        hooks: {
          setCursor: [
            (u) => {
              const n = u.cursor.idx;
              const value = n == null ? null : u.data[2][n];
              if (value == null) return;
              const state = { active: "answers now", served: "was served", rejected: "rejected" }[curve.states[n]];
              reading.textContent = `${curve.names[n]}, ${curve.x[n]} annotations, ${state}: ${Math.round(value)} ${unit}`;
            },
          ],
        },
      },
      [curve.x, line ? served(scaled(line)) : curve.x.map(() => null), scaled(values)],
    );
  }
}

function svg(name, values) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [attribute, value] of Object.entries(values)) made.setAttribute(attribute, value);
  return made;
}

// A canvas takes no custom properties: "var(--c3)" is read from the style sheet
const stroke = (value) => (value.startsWith("var(--") ? colour(value.slice(6, -1)) : value);

async function drawCloseup(holder) {
  const from = Number(holder.dataset.from);
  const to = Number(holder.dataset.to);
  const lane = holder.querySelector(".now .lane");
  const text = holder.querySelector(".now .result");
  const address = holder.dataset.curves;
  const answer = await fetch(address);
  const curves = await answer.json();
  if (holder.dataset.curves !== address) return; // another stretch is shown meanwhile
  if (!answer.ok) {
    text.textContent = curves.detail;
    return;
  }
  const regions = curves.regions.map(({ label, start, end }) => `${label} ${start.toFixed(2)} to ${end.toFixed(2)} s`);
  const parts = [...regions.slice(0, 6), ...(regions.length > 6 ? [`${regions.length - 6} more regions`] : [])];
  if (curves.tags.length) parts.push(`tags ${curves.tags.join(", ")}`);
  text.textContent = `${parts.join("; ") || "nothing"}, by ${curves.version}`;
  for (const { colour: fill, start, end } of curves.regions) {
    const place = (seconds) => (1000 * (Math.min(Math.max(seconds, from), to) - from)) / (to - from);
    const values = { fill, x: place(start), y: 0, width: place(end) - place(start), height: 10 };
    lane.append(svg("rect", values));
  }
  // One key of all colours: what is marked is there already
  const key = holder.querySelector(".colours");
  const listed = new Set(Array.from(key.children, (entry) => entry.dataset.label));
  for (const { label, colour: fill } of [...curves.regions, ...curves.series]) {
    if (listed.has(label)) continue;
    listed.add(label);
    const entry = document.createElement("span");
    const swatch = svg("svg", { class: "swatch", viewBox: "0 0 1 1", "aria-hidden": "true" });
    swatch.append(svg("rect", { width: 1, height: 1, fill }));
    entry.append(swatch, label);
    key.append(entry, " ");
  }
  if (!curves.series.length) return;
  const figure = holder.querySelector(".plot");
  figure.hidden = false;
  const inside = (tick) => Math.min(tick - from, to - tick) > 0.03 * (to - from);
  plot(
    figure.querySelector(".canvas"),
    {
      scales: { x: { time: false, range: [from, to] }, y: { range: [0, 1] } },
      // Values stand inside the plot, so that it is as wide as the spectrogram above it
      axes: [
        { size: 32, values: (u, ticks) => ticks.map((tick) => (inside(tick) ? `${tick} s` : "")) },
        { size: 0, gap: -14, align: 1 },
      ],
      padding: [8, 0, 0, 0],
      series: [
        {},
        ...curves.series.map((one) => ({ stroke: stroke(one.colour), width: 2, points: { show: false } })),
      ],
    },
    [curves.x, ...curves.series.map((one) => one.values)],
  );
}

// Another stretch of a sound: merged into the page, which keeps the keyboard's place and the sound that plays

let latestView = "";

async function showView(address) {
  latestView = address;
  const answer = await fetch(address, { cache: "no-store" });
  const text = await answer.text();
  if (latestView !== address) return; // another button was pressed meanwhile
  const fresh = new DOMParser().parseFromString(text, "text/html").getElementById("content");
  Idiomorph.morph(content, fresh, { callbacks: keeping });
  content.querySelectorAll("[data-curves]").forEach(drawCloseup);
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[data-view]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  history.pushState(null, "", link.href);
  showView(link.href);
});
if (document.querySelector("[data-curves]")) addEventListener("popstate", () => showView(location.href));

function drawAll() {
  document.querySelectorAll("[data-curve]").forEach(drawCurve);
}

// Sound: one player for all buttons

const player = new Audio();
let pressed = null;
let stopAt = Infinity;

function stop() {
  player.pause();
  pressed?.setAttribute("aria-pressed", "false");
  pressed = null;
}

player.addEventListener("ended", stop);
player.addEventListener("timeupdate", () => player.currentTime >= stopAt && stop());
document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("[data-play]");
  if (!button) return;
  const again = button === pressed;
  stop();
  if (again) return;
  pressed = button;
  button.setAttribute("aria-pressed", "true");
  stopAt = Number(button.dataset.to) || Infinity;
  player.src = button.dataset.play;
  player.currentTime = Number(button.dataset.from) || 0;
  try {
    await player.play();
  } catch (error) {
    if (error.name === "AbortError") return; // another button was pressed meanwhile
    stop();
    button.textContent = "Cannot be played";
    button.removeAttribute("aria-label");
    button.disabled = true;
  }
});

// Live changes: the page is fetched again and merged into what is open

const live = document.getElementById("live");
let receivedAt = Date.now();
let brokenAt = Infinity;
let fetching = false;
let again = false;

const keeping = {
  beforeAttributeUpdated: (name, node) => !(name === "open" && node.tagName === "DETAILS") && name !== "aria-pressed",
  beforeNodeMorphed: (old, fresh) => {
    if (!(old instanceof HTMLElement) || !("curve" in old.dataset)) return true;
    if (old.dataset.curve !== fresh.dataset.curve) {
      old.dataset.curve = fresh.dataset.curve;
      drawCurve(old);
    }
    return false;
  },
};

async function refresh() {
  if (fetching) {
    again = true;
    return;
  }
  fetching = true;
  try {
    const answer = await fetch(location.href, { cache: "no-store" });
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("content");
    Idiomorph.morph(content, fresh, { callbacks: keeping });
    content.dataset.state = fresh.dataset.state;
    drawAllNew();
  } catch (error) {
    if (!(error instanceof TypeError)) throw error; // no connection: the next event tries again
  } finally {
    fetching = false;
    if (again) {
      again = false;
      refresh();
    }
  }
}

function drawAllNew() {
  for (const holder of document.querySelectorAll("[data-curve]")) {
    if (!drawn.has(holder.querySelector(".canvas"))) drawCurve(holder);
  }
}

function showConnection(lost) {
  if (lost === live.classList.contains("lost")) return;
  live.classList.toggle("lost", lost);
  const since = new Date(receivedAt).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  live.textContent = lost ? `Connection lost at ${since}: what you see may be old` : "Live";
}

if (live) {
  let source;
  const follow = () => {
    source = new EventSource(live.dataset.events);
    source.addEventListener("error", () => (brokenAt = Math.min(brokenAt, Date.now())));
    source.addEventListener("state", ({ data }) => {
      receivedAt = Date.now();
      brokenAt = Infinity;
      showConnection(false);
      if (content.dataset.state !== data) refresh();
    });
  };
  follow();
  // A browser opens six connections to a server at most: tabs in the background must not hold them
  document.addEventListener("visibilitychange", () => {
    source.close();
    if (document.hidden) return;
    receivedAt = Date.now();
    brokenAt = Infinity;
    follow();
  });
  setInterval(() => {
    if (document.hidden) return;
    showConnection(Date.now() - receivedAt > SILENT_MS || Date.now() - brokenAt > BROKEN_MS);
    // A browser gives up after some failures, such as a proxy's error page
    if (source.readyState === EventSource.CLOSED) follow();
  }, 1000);
}

drawAll();
document.querySelectorAll("[data-curves]").forEach(drawCloseup);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
