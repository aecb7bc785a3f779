// Prices, load and gap over the time kept; a click goes to that moment.

import uPlot from "./vendor/uplot.js";
import { HUES, judged, share } from "./words.js";

export const CHARTS = ["price", "load", "gap"];
const HEIGHT = 96;
const DASHES = [[], [7, 3], [2, 3]];
const LOWEST_GAP = 1e-4;
const BUSIEST = 4; // links that are drawn where there is no server

export class Charts {
  constructor(store, goTo) {
    this.store = store;
    this.goTo = goTo;
    this.charts = [];
    this.subject = undefined;
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.build());
    new ResizeObserver(() => this.resize()).observe(document.querySelector(".charts"));
  }

  // Build the charts of what is selected: a link, a server, or all servers; the busiest links where there is none.
  build() {
    const css = getComputedStyle(document.documentElement);
    const paint = (name) => css.getPropertyValue(`--${name}`).trim();
    this.charts.forEach((chart) => chart.destroy());
    const lines = (this.drawn = this.lines());
    const names = lines.map((line) => line.name);
    const only = lines.length === 1 ? ` of ${names[0]}` : lines[0]?.rows === "servers" ? " of the servers" : " of the busiest links";
    document.getElementById("price-of").textContent = `Price${only}, ms`;
    document.getElementById("load-of").textContent = `Utilization${only}`;
    const strokes = lines.map((line) => paint(`hue${line.hue % HUES}`));
    const dashes = lines.map((line) => DASHES[Math.floor(line.hue / HUES) % DASHES.length]); // colours come again from the seventh on
    const number = (value) => (value >= 100 ? value.toFixed(0) : String(+value.toPrecision(2)));
    const make = (id, strokes, range, label, more = {}) =>
      new uPlot(
        {
          width: this.width(id),
          height: HEIGHT,
          legend: { show: false },
          cursor: { y: false, points: { size: 6 }, drag: { setScale: false, x: false, y: false } },
          scales: { x: { time: false }, y: range },
          axes: [
            { show: false },
            { stroke: paint("soft"), grid: { stroke: paint("rule"), width: 1 }, ticks: { show: false }, size: 54, gap: 4,
              font: "11px system-ui, sans-serif", space: 28, // crowded logarithmic axes have ticks without a number
              values: (_, values) => values.map((value) => (value == null ? "" : label(value))), ...more },
          ],
          series: [{}, ...strokes.map((stroke, place) => ({ stroke, dash: id === "gap-chart" ? [] : dashes[place], width: 1.5, points: { show: false }, spanGaps: false }))],
          hooks: {
            draw: [(chart) => this.mark(chart, paint("ink"))],
            ready: [(chart) => chart.over.addEventListener("click", () => this.goTo(chart.cursor.idx))],
          },
        },
        [[], ...strokes.map(() => [])],
        document.getElementById(id),
      );
    const upTo = (least) => ({ range: (_, low, high) => [0, Math.max(least, high ?? 0) * 1.08] });
    const logarithm = { distr: 3, range: (_, low, high) => [Math.max(Math.min(low ?? 0.01, 0.01), LOWEST_GAP), Math.max(high ?? 1, 0.1)] };
    // A start above capacity has prices of minutes: on a straight scale they would hide all that comes after.
    const prices = { distr: 3, range: (_, low, high) => [Math.max(low ?? 1, 0.01) / 1.2, Math.max(high ?? 10, (low ?? 1) * 10)] };
    const tens = { splits: (_, axis, low, high) => [0.01, 0.1, 1, 10, 100, 1e3, 1e4, 1e5, 1e6].filter((each) => each >= low && each <= high), space: 10 };
    const decades = { splits: () => [1e-4, 1e-2, 1], space: 10 };
    this.charts = [
      make("price-chart", strokes, prices, number, tens),
      make("load-chart", strokes, upTo(0.2), number),
      make("gap-chart", [paint("model")], logarithm, share, decades),
    ];
  }

  lines() {
    const { store, subject } = this;
    if (subject?.kind === "link") return [{ name: subject.key.replace(">", "→"), rows: "links", index: store.linkIndex.get(subject.key), hue: 0 }];
    const servers = store.network.servers.map((server, index) => ({ name: server.name, rows: "servers", index, hue: index }));
    if (!servers.length) {
      const used = store.ticks.at(-1).links.map((state, index) => [state.utilization, index]);
      const busiest = used.sort((one, other) => other[0] - one[0]).slice(0, BUSIEST);
      return busiest.map(([, index], hue) => ({ name: `${store.network.links[index].src}→${store.network.links[index].dst}`, rows: "links", index, hue }));
    }
    return subject?.kind === "server" ? servers.filter((server) => server.name === subject.key) : servers;
  }

  // Show all ticks in one of the charts, with a line at the one at `place`.
  show(which, subject, place) {
    const same = subject?.kind === this.subject?.kind && subject?.key === this.subject?.key;
    if (!this.charts.length || !same) {
      this.subject = subject;
      this.build();
    }
    this.place = place;
    const { ticks } = this.store;
    const x = ticks.map((tick) => tick.time);
    const column = (line, field, factor) => ticks.map((tick) => (tick[line.rows][line.index][field] ?? null) && tick[line.rows][line.index][field] * factor);
    const columns = {
      price: () => this.drawn.map((line) => column(line, "price", 1e3).map((value) => value || null)),
      load: () => this.drawn.map((line) => column(line, "utilization", 1)),
      gap: () => [ticks.map((tick) => judged(tick)[0]).map((gap) => (gap == null ? null : Math.max(gap, LOWEST_GAP)))],
    };
    if (which === "gap" && ticks[place]) document.getElementById("gap-of").textContent = judged(ticks[place])[1].replace(/^./, (first) => first.toUpperCase());
    this.charts[CHARTS.indexOf(which)].setData([x, ...columns[which]()]);
  }

  mark(chart, stroke) {
    const tick = this.store.ticks[this.place];
    if (!tick) return;
    const { ctx, bbox } = chart;
    const x = chart.valToPos(tick.time, "x", true);
    ctx.save();
    ctx.strokeStyle = stroke;
    ctx.globalAlpha = 0.5;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.restore();
  }

  width(id) {
    return Math.max(document.getElementById(id).clientWidth, 120);
  }

  resize() {
    for (const chart of this.charts) chart.setSize({ width: this.width(chart.root.parentElement.id), height: HEIGHT });
  }
}
