// Draws the charts of the overview and renews its numbers every ten seconds. Without
// it the page holds the numbers of the time when it was loaded.
(() => {
  "use strict";
  const board = document.getElementById("board");
  const state = document.getElementById("board-state");
  const idle = document.getElementById("board-idle");
  if (!board || !state || typeof uPlot !== "function") return;

  const every = 10_000;
  const height = 200;
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  const places = [...board.querySelectorAll("[data-chart]")];
  const charts = new Map(); // by place
  let data = null;
  let running = false;

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // seconds is a duration as the page says it.
  const seconds = (value) => {
    if (value == null) return "–";
    if (value === 0) return "0 s";
    if (value < 0.001) return Math.round(value * 1e6) + " µs";
    if (value < 0.01) return (value * 1000).toFixed(1) + " ms";
    if (value < 1) return Math.round(value * 1000) + " ms";
    return (value < 10 ? value.toFixed(1) : Math.round(value)) + " s";
  };
  // clock is the time of day of each tick, with seconds where minutes repeat.
  const clock = (_, ticks) => {
    const length = ticks.length > 1 && ticks[1] - ticks[0] < 60 ? 19 : 16;
    return ticks.map((at) => new Date(at * 1000).toISOString().slice(11, length));
  };
  const number = (value) => (value == null ? "–" : String(value));

  function options(place) {
    const format = place.dataset.unit === "seconds" ? seconds : number;
    const axis = {
      stroke: colour("--quiet"),
      grid: { stroke: colour("--line"), width: 1 },
      ticks: { stroke: colour("--line"), width: 1 },
      font: "12px system-ui, sans-serif",
    };
    const series = place.dataset.labels.split("|").map((label, n) => ({
      label,
      stroke: colour("--series-" + (n + 1)),
      width: 2,
      dash: n === 0 ? [] : [6 / n, 3], // not by colour alone
      value: (_, value) => format(value),
    }));
    return {
      width: Math.max(place.clientWidth, 200),
      height,
      tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC"),
      padding: [12, 28, 0, 0],
      cursor: { drag: { x: false, y: false } },
      legend: { markers: { width: 2 } },
      scales: { x: { range: (_, low, high) => [low ?? data.from, Math.max(high ?? 0, (low ?? data.from) + 60)] }, y: { range: (_, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
      axes: [
        { ...axis, values: clock, space: 70 },
        { ...axis, size: 64, values: (_, ticks) => ticks.map((t) => (Number.isInteger(t) || format === seconds ? format(t) : "")) },
      ],
      series: [{ label: "UTC", value: "{HH}:{mm}:{ss}" }, ...series],
    };
  }

  // points gives a chart what it draws: the times, and the values of each line.
  function points(place) {
    const lines = data.charts[place.dataset.chart] ?? [];
    // The last piece is not told by all yet: it would look like a collapse.
    const length = Math.max(0, ...lines.map((line) => (line?.length ?? 0) - 1));
    const times = Array.from({ length }, (_, n) => data.from + n * data.step);
    return [times, ...lines.map((line) => (line ?? []).slice(0, length))];
  }

  function draw() {
    for (const place of places) {
      const chart = charts.get(place);
      if (chart) chart.setData(points(place));
      else charts.set(place, new uPlot(options(place), points(place), place));
      place.setAttribute("role", "img");
      place.setAttribute("aria-label", place.dataset.title + ", as a chart. Its numbers are below.");
    }
  }

  function redraw() {
    for (const chart of charts.values()) chart.destroy();
    charts.clear();
    if (data) draw();
  }

  // say writes the texts; rows that the table lacks yet are made.
  function say(texts) {
    for (const body of board.querySelectorAll("[data-rows]")) grow(body, texts);
    for (const element of board.querySelectorAll("[data-text]")) {
      const text = texts[element.dataset.text];
      if (text !== undefined && element.textContent !== text) element.textContent = text;
    }
  }

  function grow(body, texts) {
    for (let row = body.rows.length; texts[body.dataset.rows + "." + row + ".0"] !== undefined && row < 13; row++) {
      const line = body.insertRow();
      for (let n = 0; n < Number(body.dataset.columns); n++) {
        const cell = document.createElement(n === 0 ? "th" : "td");
        if (n === 0) cell.scope = "row";
        cell.className = n === 0 ? "time" : "num";
        cell.dataset.text = body.dataset.rows + "." + row + "." + n;
        line.append(cell);
      }
    }
  }

  const tell = (text) => {
    if (state.textContent !== text) state.textContent = text;
  };

  async function renew() {
    if (running || document.hidden) return;
    running = true;
    try {
      const answer = await fetch(board.dataset.source, { redirect: "manual", headers: { Accept: "application/json" }, signal: AbortSignal.timeout(every) });
      if (answer.type === "opaqueredirect") {
        tell("You are signed out; load this page again to sign in.");
        return;
      }
      if (!answer.ok) throw new Error(String(answer.status));
      data = await answer.json();
      say(data.texts);
      if (idle) idle.hidden = data.busy;
      draw();
      tell("");
    } catch {
      tell("It cannot be renewed just now; trying again every ten seconds.");
    } finally {
      running = false;
    }
  }

  scheme.addEventListener("change", redraw);
  new ResizeObserver(() => {
    for (const [place, chart] of charts) {
      const width = Math.max(place.clientWidth, 200);
      if (width !== chart.width) chart.setSize({ width, height });
    }
  }).observe(board);
  document.addEventListener("visibilitychange", renew);
  setInterval(renew, every);
  renew();
})();
