// The ticks of the run: those kept by the server, then each as it comes. Changes go through here too.

const CHUNK = 100;

export class Store extends EventTarget {
  constructor() {
    super();
    this.network = null;
    this.ticks = [];
    this.connected = true; // until it is found otherwise
  }

  async start() {
    this.network = await this.get("api/network");
    this.prepare();
    this.tell("network");
    const newest = await this.get(`api/history?limit=${CHUNK}`);
    this.ticks = newest;
    this.tell("ticks");
    this.follow(newest.length ? newest.at(-1).id : 0);
    await this.lookBack();
  }

  prepare() {
    const { links, servers } = this.network;
    this.linkIndex = new Map(links.map((link, index) => [`${link.src}>${link.dst}`, index]));
    this.serverIndex = new Map(servers.map((server, index) => [server.name, index]));
    this.session = new Map(this.network.sessions.map((session) => [session.name, session]));
  }

  async lookBack() {
    while (this.ticks.length) {
      const older = await this.get(`api/history?limit=${CHUNK}&before=${this.ticks[0].id}`);
      if (!older.length) return;
      this.ticks = [...older, ...this.ticks];
      this.tell("ticks");
    }
  }

  follow(after) {
    const source = new EventSource(`api/ticks?after=${after}`);
    source.addEventListener("tick", (event) => this.take(JSON.parse(event.data)));
    source.addEventListener("open", () => this.reconnected());
    source.addEventListener("error", () => {
      this.connected = false;
      this.tell("connection");
      if (source.readyState === EventSource.CLOSED) setTimeout(() => this.follow(this.ticks.at(-1)?.id ?? 0), 2000);
    });
  }

  // Another run may have taken the same address meanwhile; its ticks are counted from 1 again.
  async reconnected() {
    const network = await this.get("api/network");
    if (network.run !== this.network.run) location.reload();
    this.connected = true;
    this.tell("connection");
  }

  take(tick) {
    if (this.ticks.length && tick.id <= this.ticks.at(-1).id) return;
    this.ticks.push(tick);
    while (this.ticks[0].time < tick.time - this.network.kept) this.ticks.shift();
    this.tell("ticks");
  }

  // Sum of what a route costs its session: [name, kind, seconds] of each part.
  parts(tick, name, text, parse) {
    const session = this.session.get(name);
    const { links, server } = parse(text);
    const price = (key) => tick.links[this.linkIndex.get(key)]?.price ?? null;
    const found = links.map((key) => [key.replace(">", "→"), "link", price(key)]);
    if (session.answers && links.length) {
      const back = links.map((key) => price(key.split(">").reverse().join(">")));
      found.push(["answers", "answers", session.answers * back.reduce((sum, each) => sum + (each ?? 0), 0)]);
    }
    if (server) {
      const cost = tick.servers[this.serverIndex.get(server)]?.price ?? null;
      found.push([server, "server", cost == null ? null : session.work[server] * cost]);
    }
    return found;
  }

  // Maximal runs of ticks under one policy in one phase: {name, first, last} as places in ticks.
  phases() {
    const found = [];
    this.ticks.forEach((tick, place) => {
      const name = tick.phase === tick.policy ? tick.policy : `${tick.phase}: ${tick.policy}`;
      if (found.at(-1)?.name === name) found.at(-1).last = place;
      else found.push({ name, first: place, last: place, id: tick.id });
    });
    return found;
  }

  async get(path) {
    const answer = await fetch(path);
    if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
    return answer.json();
  }

  // Ask for a change; the server's own words when it refuses.
  async put(path, body) {
    const headers = { "Content-Type": "application/json" };
    const token = sessionStorage.getItem("token");
    if (token) headers.Authorization = `Bearer ${token}`;
    const answer = await fetch(path, { method: "PUT", headers, body: JSON.stringify(body) });
    if (answer.status === 401) {
      sessionStorage.removeItem("token");
      if (await this.askForToken()) return this.put(path, body);
    }
    if (!answer.ok) throw new Error((await answer.json()).error);
    return answer.json();
  }

  tell(name) {
    this.dispatchEvent(new Event(name));
  }
}
