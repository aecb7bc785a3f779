// The scales of colours and widths. They hold for all ticks seen, so that a colour means the same before and after.

export const STEPS = 9;
const BINS = 10; // of prices, in a factor of ten
const FIRST = -12; // the smallest price that is told apart, as a power of ten of a second

export class Scale {
  constructor() {
    this.widest = 0; // the largest load of a link, bit/s
    this.dearest = 0; // the highest price, s
    this.counts = []; // of prices, in bins even in the logarithm
    this.count = 0;
    this.oldest = Infinity; // numbers of the first and the last tick that were taken in
    this.newest = 0;
  }

  // Take in those of these ticks that are new; a run gives one a second, a page that is opened all that were kept.
  stretch(ticks) {
    for (const tick of ticks) if (tick.id < this.oldest || tick.id > this.newest) this.take(tick);
    this.oldest = Math.min(this.oldest, ticks[0].id);
    this.newest = ticks.at(-1).id;
  }

  take({ links, servers }) {
    for (const { load, price } of links) {
      if (load > this.widest) this.widest = load;
      this.add(price);
    }
    for (const { price } of servers) this.add(price);
  }

  add(price) {
    if (!price) return;
    if (price > this.dearest) this.dearest = price;
    const bin = Math.max(0, Math.round(BINS * (Math.log10(price) - FIRST)));
    this.counts[bin] = (this.counts[bin] ?? 0) + 1;
    this.count += 1;
  }

  // Borders of the colours of price, s, even in the logarithm: from what a quarter of all prices stay below, so that a
  // start above capacity, with its prices of minutes, leaves colours for what comes after.
  borders() {
    const high = this.dearest || 1;
    let below = 0, bin = 0;
    while (bin < this.counts.length && below + (this.counts[bin] ?? 0) < this.count / 4) below += this.counts[bin++] ?? 0;
    const from = Math.min(this.count ? 10 ** (FIRST + bin / BINS) : high, high / 2);
    return Array.from({ length: STEPS + 1 }, (_, place) => from * (high / from) ** (place / STEPS));
  }
}
