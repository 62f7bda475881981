// Draws the dashboard's charts with uPlot, and renews the page's content without reloading it.
// No inline code and no style attribute: the page works under `default-src 'self'`.
"use strict";

(() => {
  const RENEW_MS = 15000;
  const HEIGHT = 150;
  const SHORT = { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  const COLOURS = {
    accepted: "--outbox-accepted",
    deferred: "--outbox-deferred",
    refused: "--outbox-refused",
    "in-doubt": "--outbox-in-doubt",
  };
  let charts = [];

  const colour = (name) => getComputedStyle(document.getElementById("outbox-dashboard")).getPropertyValue(name).trim();

  // Each series stands on those before it, so the tops are what is drawn, the highest first.
  function stacked(data) {
    const tops = [];
    data.series.forEach((series, index) => {
      tops.push(series.counts.map((count, point) => count + (index ? tops[index - 1][point] : 0)));
    });
    return [data.times, ...tops.reverse()];
  }

  function seriesOf(data) {
    const bars = uPlot.paths.bars({ size: [0.8, 64], align: 1 });
    return [...data.series].reverse().map((each) => ({
      label: each.name,
      stroke: colour(COLOURS[each.name]),
      fill: colour(COLOURS[each.name]),
      width: 0,
      paths: bars,
      points: { show: false },
      // The pointed-at step's, and all together while nothing is pointed at.
      value: (_plot, _top, _series, point) => (point == null ? sum(each.counts) : each.counts[point]).toLocaleString(),
    }));
  }

  function axis(options) {
    return {
      stroke: colour("--outbox-quiet"),
      font: "11px system-ui, sans-serif",
      grid: { stroke: colour("--outbox-line"), width: 1 },
      ticks: { show: false },
      ...options,
    };
  }

  const sum = (counts) => counts.reduce((total, count) => total + count, 0);

  const brief = (number) =>
    number >= 1e6 ? `${number / 1e6} M` : number >= 1e3 ? `${number / 1e3} k` : Number.isInteger(number) ? `${number}` : "";

  function draw(place) {
    const data = JSON.parse(document.getElementById(place.dataset.chart).textContent);
    const last = data.times[data.times.length - 1] + data.step;
    return new uPlot(
      {
        width: place.clientWidth,
        height: HEIGHT,
        padding: [10, 16, 0, 0],
        cursor: { y: false, points: { show: false }, drag: { x: false, y: false }, sync: { key: place.dataset.chart.split("-")[0] } },
        scales: {
          x: { time: true, range: [data.times[0], last] },
          y: { range: (_plot, _least, most) => [0, Math.max(most * 1.05, 4)] },
        },
        axes: [
          axis({ size: 26, space: 64, grid: { show: false }, values: timesOf(data.step) }),
          axis({ size: 44, space: 36, values: (_plot, splits) => splits.map(brief) }),
        ],
        series: [{ value: (_plot, time) => (time == null ? "" : new Date(time * 1000).toLocaleString(undefined, SHORT)) }, ...seriesOf(data)],
        legend: { markers: { width: 0, fill: (_plot, index) => (index ? colour(COLOURS[seriesName(data, index)]) : "transparent") } },
      },
      stacked(data),
      place,
    );
  }

  const seriesName = (data, index) => data.series[data.series.length - index].name;

  function timesOf(step) {
    const format = new Intl.DateTimeFormat(
      undefined,
      step < 3600 ? { hour: "2-digit", minute: "2-digit", hourCycle: "h23" } : { day: "numeric", month: "short" },
    );
    return (_plot, splits) => splits.map((time) => format.format(new Date(time * 1000)));
  }

  function drawAll() {
    charts.forEach((chart) => chart.destroy());
    charts = [...document.querySelectorAll(".outbox-canvas")].map(draw);
  }

  function resize() {
    charts.forEach((chart) => {
      const width = chart.root.parentElement.clientWidth;
      if (width !== chart.width) chart.setSize({ width, height: HEIGHT });
    });
  }

  async function renew() {
    const old = document.getElementById("outbox-dashboard");
    if (document.hidden || old.contains(document.activeElement)) return;
    const answer = await fetch(window.location.href, { credentials: "same-origin" });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const found = page.getElementById("outbox-dashboard");
    // A session that ended gives the log-in page: what is shown stays, with the time it is of.
    if (!answer.ok || !found) return;
    old.replaceChildren(...found.children);
    old.querySelector(".outbox-live").hidden = false;
    drawAll();
  }

  drawAll();
  document.querySelector(".outbox-live").hidden = false;
  new ResizeObserver(resize).observe(document.getElementById("outbox-dashboard"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  new MutationObserver(drawAll).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  setInterval(() => renew().catch(() => {}), RENEW_MS);
})();
