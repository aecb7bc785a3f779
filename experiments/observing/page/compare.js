// Two phases of the run side by side: the same colours and widths, each phase as far from its end as the other.

import { NetworkMap } from "./map.js";
import { ms, share } from "./words.js";

export class Comparison {
  constructor(store, pick, redraw) {
    this.store = store;
    const boxes = document.querySelectorAll("#pair .map");
    this.sides = ["left", "right"].map((id, index) => ({ chooser: document.getElementById(id), map: new NetworkMap(boxes[index], store, pick) }));
    for (const { chooser } of this.sides) chooser.addEventListener("change", redraw);
    this.table = document.getElementById("difference");
  }

  // The last tick of each chosen phase; the last two phases until others are chosen.
  show(options) {
    const phases = this.store.phases();
    const chosen = this.sides.map(({ chooser }, index) => {
      const named = phases.map((phase) => [String(phase.id), `${phase.name}, ${phase.last - phase.first + 1} ticks`]);
      const key = named.join("|");
      if (chooser.dataset.key !== key) {
        const before = chooser.value;
        chooser.replaceChildren(...named.map(([id, name]) => new Option(name, id)));
        chooser.value = named.some(([id]) => id === before) ? before : (named.at(index - 2) ?? named[0])[0];
        chooser.dataset.key = key;
      }
      return phases.find((phase) => String(phase.id) === chooser.value) ?? phases.at(-1);
    });
    const ticks = chosen.map((phase) => this.store.ticks[phase.last]);
    this.sides.forEach(({ map }, index) => map.show(ticks[index], options));
    this.differences(chosen, ticks);
    this.table.createCaption().textContent = phases.length > 1 ? "" : "One phase so far: another policy begins the next.";
  }

  differences(phases, ticks) {
    const busiest = (tick) => {
      const used = tick.links.map((state) => state.utilization);
      const place = used.indexOf(Math.max(...used));
      const { src, dst } = this.store.network.links[place];
      return `${used[place].toFixed(2)}, ${src} → ${dst}`;
    };
    const rows = [
      ["mean delay by the model", (tick) => ms(tick.objective)],
      ["delay above the optimum", (tick) => (tick.market ? "not what a market makes least" : share(tick.gap))],
      ["busiest link", busiest],
      ...this.store.network.servers.map((server, index) => [`utilization of ${server.name}`, (tick) => tick.servers[index].utilization.toFixed(2)]),
      ["dearest server", (tick) => ms(Math.max(0, ...tick.servers.map((state) => state.price ?? 0)))],
    ];
    const row = (tag, cells) => {
      const line = document.createElement("tr");
      line.append(...cells.map((text, index) => Object.assign(document.createElement(index ? tag : "th"), { textContent: text })));
      return line;
    };
    this.table.replaceChildren(row("th", ["", ...phases.map((phase) => phase.name)]), ...rows.map(([name, read]) => row("td", [name, ...ticks.map(read)])));
  }
}
