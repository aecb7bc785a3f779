// What a market and the classes of a network say: prices of locations in their parts, waits and prices of classes.

const TOKENS = 1e6; // tokens that a price is told for: one costs next to nothing
const SHOWN = 12; // machines in the table of classes
export const PARTS = [["cost", "server"], ["scarcity", "scarce"], ["fees", "link"], ["congestion", "answers"]];

export const money = (value, currency) => (value == null ? "?" : `${+value.toPrecision(3)} ${currency}`);
export const perMillion = (price) => (price == null ? "?" : String(+(price * TOKENS).toPrecision(3)));

// The locational price of a session: {price, parts: [[name, kind, currency a token]], shed}; null where no market was cleared.
// A token pays the server's cost and scarcity for its work, and the links' fees and congestion for its bits, both ways.
export function location(store, tick, name, parse) {
  const market = tick.market, session = store.session.get(name);
  if (!market || market.prices[name] == null) return null;
  const sums = { cost: 0, scarcity: 0, fees: 0, congestion: 0 };
  for (const [text, weight] of tick.decided[name] ?? []) {
    const { links, server } = parse(text);
    const add = (key, bits) => {
      const place = store.linkIndex.get(key), quote = market.links[place];
      if (!quote) return;
      const { fee } = store.network.links[place];
      sums.fees += weight * bits * fee;
      sums.congestion += weight * bits * (quote.price - fee);
    };
    for (const key of links) {
      add(key, session.frame_bits / session.tokens);
      if (session.answers) add(key.split(">").reverse().join(">"), (session.answers * session.frame_bits) / session.tokens);
    }
    const place = store.serverIndex.get(server), quote = market.servers[place];
    if (!quote) continue;
    const work = session.request_work / session.tokens, { cost } = store.network.servers[place];
    sums.cost += weight * work * cost;
    sums.scarcity += weight * work * (quote.price - cost);
  }
  return { price: market.prices[name], shed: market.shed[name] ?? 0, parts: PARTS.map(([part, kind]) => [part, kind, Math.max(sums[part], 0)]) };
}

// What a market says of a link or a server, as [what, value] for its list of facts.
export function quoted(store, tick, rows, place, own) {
  const quote = tick.market?.[rows]?.[place];
  if (!quote) return [];
  const { currency } = tick.market;
  const unit = rows === "links" ? "a bit" : "a work";
  const amount = rows === "links" ? `${(quote.load / 1e6).toFixed(2)} Mbit/s` : `${quote.load.toFixed(0)} work/s`;
  return [
    ["cleared", amount],
    [rows === "links" ? "fee" : "cost", `${money(own, currency)} ${unit}`],
    [rows === "links" ? "congestion" : "scarcity", `${money(Math.max(quote.price - own, 0), currency)} ${unit}`],
    ["rent", `${money(quote.rent, currency)}/s`],
  ];
}

// The classes at a machine: [{klass, load, wait, price}], the first class first; empty where there is one class alone.
export function classesAt({ classes }, machine) {
  const place = classes ? classes.machines.indexOf(machine) : -1;
  if (place < 0) return [];
  return classes.wait[place].map((wait, index) => ({
    klass: index + 1, wait, load: classes.load[place][index], price: classes.base[place] + classes.premium[place][index],
  }));
}

// Rows of the table of classes: the machines that carry most, with the wait of each class.
export function busiest(tick) {
  if (!tick.classes) return [];
  return tick.classes.machines
    .map((name) => ({ name: name.replace("->", " → "), classes: classesAt(tick, name) }))
    .map((row) => ({ ...row, load: row.classes.reduce((sum, each) => sum + each.load, 0) }))
    .filter((row) => row.load > 0)
    .sort((one, other) => other.load - one.load)
    .slice(0, SHOWN);
}
