// Charts that can be moved in: they take the place of the pictures, which are shown without this script.
const REREAD = 30_000;

// How instants are written, by how far they are apart: seconds, the text, and what is added where year, day, hour or
// minute begins.
const INSTANTS = [
  [86400 * 28, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [86400, "{MMM} {D}", "\n{YYYY}", null, null, null, null, null, 1],
  [60, "{HH}:{mm}", "\n{MMM} {D}", null, "\n{MMM} {D}", null, null, null, 1],
  [1, "{HH}:{mm}:{ss}", "\n{MMM} {D}", null, "\n{MMM} {D}", null, null, null, 1],
];

const colours = () => {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(name).trim();
  return {
    text: of("--soft"), grid: of("--edge"), band: of("--band"), line: of("--line"), bad: of("--bad"), back: of("--card"),
    weeks: ["#8a97a8", "#a3aebb", "#7f6ba3", "#3f8f86"],
  };
};

// A number as the axis has it: at most four digits, in the unit of the chart.
function written(value, [size, sign]) {
  if (value === null || value === undefined || !Number.isFinite(value)) {
    return "–";
  }
  const text = String(Number((value / size).toPrecision(4)));
  return sign ? (sign.startsWith("/") || sign === "%" ? text + sign : `${text} ${sign}`) : text;
}

function limits(lines, from, to) {
  let low = Infinity;
  let high = -Infinity;
  for (const line of lines) {
    for (let i = from; i <= to; i++) {
      const value = line[i];
      if (value !== null && value !== undefined) {
        low = Math.min(low, value);
        high = Math.max(high, value);
      }
    }
  }
  if (low > high) {
    return [0, 1];
  }
  const margin = 0.06 * (high - low) || 0.1 * Math.abs(high) || 1;
  // What is never negative is not drawn below zero.
  return [low >= 0 && low < margin ? Math.max(low - margin, 0) : low - margin, high + margin];
}

// Runs of samples for which `is` holds, as pairs of index.
function* runs(length, is) {
  for (let i = 0; i < length; i++) {
    if (is(i)) {
      const begin = i;
      while (i + 1 < length && is(i + 1)) {
        i++;
      }
      yield [begin, i];
    }
  }
}

class SeriesChart {
  constructor(figure) {
    this.figure = figure;
    this.address = new URL(figure.dataset.chart, location.href);
    this.moving = !this.address.searchParams.has("to");
    this.host = figure.querySelector(".plot");
    this.readout = figure.querySelector(".readout");
    this.source = figure.querySelector(".source");
    this.key = uPlot.sync(figure.dataset.sync || "charts");
    this.plots = [];
    this.cursor = null;
  }

  async start() {
    // At once what was decided at the time; what has to be judged anew follows.
    await this.read(this.quick(this.address));
    this.whole = [this.data.times[0], this.data.times.at(-1)];
    this.draw();
    this.host.addEventListener("keydown", (event) => this.press(event));
    new ResizeObserver(() => this.resize()).observe(this.host);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    await this.complete(this.address);
    this.figure.dataset.state = "complete";
    if (this.moving) {
      setInterval(() => this.again(), REREAD);
    }
  }

  quick(address) {
    const quick = new URL(address);
    quick.searchParams.set("quick", "yes");
    return quick;
  }

  // Complete a chart whose older part is judged anew.
  async complete(address) {
    if (this.data.partial) {
      try {
        await this.read(address);
        this.fill();
      } catch (fault) {
        this.source.textContent = `What is older could not be judged anew: ${fault.message}`;
      }
    }
  }

  async read(address) {
    const answer = await fetch(address, { headers: { Accept: "application/json" } });
    if (!answer.ok) {
      throw new Error((await answer.text()).trim() || `${answer.status} ${answer.statusText}`);
    }
    this.data = await answer.json();
    this.figure.dataset.state ||= "drawn";
    if (this.source) {
      this.source.textContent = this.data.source;
    }
  }

  // The newest samples, unless the user looks at a part or has the page in the background.
  async again() {
    if (document.hidden || this.zoomed) {
      return;
    }
    try {
      await this.read(this.address);
      this.whole = [this.data.times[0], this.data.times.at(-1)];
      this.fill();
    } catch {
      // The chart shows how old it is.
    }
  }

  resize() {
    const width = Math.max(260, this.host.clientWidth);
    this.plots.forEach((plot) => plot.width !== width && plot.setSize({ width, height: plot.height }));
  }

  options(height, extra) {
    const colour = colours();
    const zone = this.data.zone;
    const axis = { stroke: colour.text, grid: { stroke: colour.grid, width: 1 }, ticks: { show: false } };
    const time = { ...axis, values: INSTANTS, space: 64 };
    const unit = this.data.scale;
    return {
      width: Math.max(260, this.host.clientWidth),
      height,
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), zone),
      cursor: {
        y: false,
        sync: { key: this.key.key, setSeries: false },
        drag: { x: true, y: false, setScale: false },
        points: { size: 6 },
        bind: { dblclick: () => () => this.zoom(null) },
      },
      select: { show: true },
      padding: [8, 16, 4, 0],
      legend: { show: false },
      scales: { x: { time: true }, y: { range: (plot) => this.range(plot) } },
      axes: [time, { ...axis, size: 62, values: (_, splits) => splits.map((value) => written(value, unit)) }],
      hooks: {
        setSelect: [(plot) => {
          if (plot.select.width > 4) {
            const [from, to] = [plot.select.left, plot.select.left + plot.select.width];
            this.zoom([plot.posToVal(from, "x"), plot.posToVal(to, "x")]);
          }
          plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
        }],
        setCursor: [(plot) => this.show(plot.cursor.idx)],
      },
      ...extra(colour, axis),
    };
  }

  // The visible part only, so that a zoom shows more.
  range(plot) {
    const [from, to] = plot.series[0].idxs || [0, this.data.times.length - 1];
    return limits(this.ranged, from, to);
  }

  draw() {
    this.plots.forEach((plot) => plot.destroy());
    this.plots = this.make();
    this.plots.forEach((plot) => this.key.sub(plot));
    this.fill();
  }

  fill() {
    const tables = this.tables();
    this.plots.forEach((plot, index) => plot.setData(tables[index], !this.zoomed));
    if (this.zoomed) {
      this.plots.forEach((plot) => plot.setScale("x", { min: this.zoomed[0], max: this.zoomed[1] }));
    }
  }

  async zoom(part) {
    this.zoomed = part;
    const [min, max] = part || this.whole;
    this.plots.forEach((plot) => plot.setScale("x", { min, max }));
    const address = new URL(this.address);
    if (part) {
      address.searchParams.set("from", Math.floor(min));
      address.searchParams.set("to", Math.max(Math.floor(min) + 60, Math.ceil(max)));
    }
    this.figure.dispatchEvent(new CustomEvent("zoomed", { bubbles: true, detail: address.searchParams }));
    // Fewer samples are shown than there are only where the range is long: then the part is read anew.
    if (this.data.step > this.data.interval || !part) {
      try {
        await this.read(address);
        if (this.zoomed === part) {
          this.fill();
        }
      } catch (fault) {
        this.say(`Not read: ${fault.message}`);
      }
    }
  }

  press(event) {
    const times = this.plots[0].data[0];
    const [min, max] = this.zoomed || this.whole;
    const middle = this.cursor === null ? (min + max) / 2 : times[this.cursor];
    const far = times.length;
    const move = { ArrowLeft: -1, ArrowRight: 1, PageUp: -12, PageDown: 12, Home: -far, End: far }[event.key];
    if (move) {
      const index = Math.min(times.length - 1, Math.max(0, (this.cursor ?? far) + move));
      this.plots.forEach((plot) => plot.setCursor({ left: plot.valToPos(times[index], "x"), top: 10 }, true));
      this.show(index);
    } else if (event.key === "+" || event.key === "=") {
      this.zoom([middle - (max - min) / 4, middle + (max - min) / 4]);
    } else if (event.key === "-" && this.zoomed) {
      const half = (max - min) < (this.whole[1] - this.whole[0]) / 2 ? max - min : 0;
      this.zoom(half ? [Math.max(this.whole[0], middle - half), Math.min(this.whole[1], middle + half)] : null);
    } else if (event.key === "Escape" || event.key === "0") {
      this.zoom(null);
    } else {
      return;
    }
    event.preventDefault();
  }

  at(index) {
    return new Intl.DateTimeFormat("sv-SE", {
      timeZone: this.data.zone, dateStyle: "short", timeStyle: "medium",
    }).format(new Date(this.data.times[index] * 1000));
  }

  say(text) {
    if (this.readout) {
      this.readout.textContent = text;
    }
  }

  show(index) {
    this.cursor = index ?? null;
    this.say(index === null || index === undefined ? this.readout?.dataset.hint || "" : this.describe(index));
  }
}

class BandChart extends SeriesChart {
  make() {
    const narrow = this.host.clientWidth < 560;
    const main = this.options(narrow ? 240 : 320, (colour) => ({
      series: [
        {},
        { label: "upper", stroke: "transparent", points: { show: false } },
        { label: "lower", stroke: "transparent", points: { show: false } },
        { label: "expected", stroke: colour.text, width: 1, dash: [5, 4], points: { show: false } },
        { label: "observed", stroke: colour.line, width: 1.6, points: { show: false } },
        { label: "anomalous", paths: () => null, points: { show: true, size: 6, fill: colour.bad, stroke: colour.bad } },
        { label: "judged anew", paths: () => null, points: { show: true, size: 6, fill: "transparent", stroke: colour.bad } },
        { label: "forecast, upper", stroke: "transparent", points: { show: false } },
        { label: "forecast, lower", stroke: "transparent", points: { show: false } },
        { label: "forecast", stroke: colour.line, width: 1.2, dash: [2, 3], points: { show: false } },
      ],
      bands: [{ series: [1, 2], fill: colour.band }, { series: [7, 8], fill: `${colour.line}29` }],
    }));
    main.hooks.drawClear = [(plot) => this.behind(plot)];
    main.hooks.draw = [(plot) => this.marks(plot)];
    const votes = this.options(86, (colour, axis) => ({
      scales: { x: { time: true }, y: { range: () => [0, Math.max(this.data.quorum, ...this.votes) + 0.5] } },
      axes: [{ ...axis, show: false }, {
        ...axis, splits: () => [0, this.data.quorum], values: (_, splits) => splits, size: 46, label: "votes", labelSize: 16,
      }],
      series: [{}, {
        label: "votes", stroke: colour.line, fill: `${colour.line}88`, width: 0,
        paths: uPlot.paths.stepped({ align: 0 }), points: { show: false },
      }],
    }));
    votes.hooks.draw = [(plot) => this.quorum(plot)];
    this.host.replaceChildren();
    return [main, votes].map((options) => new uPlot(options, [[], ...options.series.slice(1).map(() => [])], this.host));
  }

  tables() {
    const { times, lines, anew, gaps } = this.data;
    this.votes = lines.votes.map((value) => value ?? 0);
    const none = times.map(() => null);
    const ahead = ["forecast_upper", "forecast_lower", "forecast"].map((name) => lines[name] || none);
    this.ranged = [lines.observed, lines.expected, lines.lower, lines.upper, ...ahead];
    const [low, high] = limits(this.ranged, 0, times.length - 1);
    const far = 20 * (high - low);
    // A band with one edge reaches to the end of the chart.
    const edge = (own, other, rest) => own.map((value, i) => value ?? (other[i] === null ? null : rest));
    const marked = (which) => lines.score.map((score, i) =>
      score !== null && score >= 0.5 && Boolean(anew[i]) === which ? lines.observed[i] ?? lines.expected[i] : null);
    const columns = [
      edge(lines.upper, lines.lower, high + far), edge(lines.lower, lines.upper, low - far),
      lines.expected, lines.observed, marked(false), marked(true), ...ahead,
    ];
    // A line is broken where samples are missing.
    const joined = [times, ...columns, this.votes].map((line) => []);
    times.forEach((time, i) => {
      if (i && time - times[i - 1] > gaps) {
        [(time + times[i - 1]) / 2, ...joined.slice(1).map(() => null)].forEach((value, k) => joined[k].push(value));
      }
      [time, ...columns.map((line) => line[i]), this.votes[i]].forEach((value, k) => joined[k].push(value));
    });
    const places = new Map(times.map((time, i) => [time, i]));
    this.index = joined[0].map((time) => places.get(time) ?? -1);
    this.ranged = this.ranged.map((line) => this.index.map((i) => (i < 0 ? null : line[i])));
    return [joined.slice(0, -1), [joined[0], joined.at(-1)]];
  }

  // Anomalous spans, the part that is judged anew, and known events.
  behind(plot) {
    const colour = colours();
    const { ctx, bbox } = plot;
    const { times, lines, anew, events } = this.data;
    const half = (times[1] - times[0]) / 2 || 30;
    const place = (at) => Math.min(bbox.left + bbox.width, Math.max(bbox.left, plot.valToPos(at, "x", true)));
    const block = (from, to, top, height) => ctx.fillRect(place(from), top, Math.max(1, place(to) - place(from)), height);
    ctx.save();
    ctx.fillStyle = `${colour.bad}26`;
    for (const [a, b] of runs(times.length, (i) => lines.score[i] >= 0.5 && !anew[i])) {
      block(times[a] - half, times[b] + half, bbox.top, bbox.height);
    }
    ctx.fillStyle = `${colour.text}99`;
    for (const [from, to] of events) {
      block(from, to, bbox.top, 6 * devicePixelRatio);
    }
    ctx.restore();
  }

  marks(plot) {
    const colour = colours();
    const { ctx, bbox } = plot;
    const { times, anew, changes } = this.data;
    const place = (at) => plot.valToPos(at, "x", true);
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
    ctx.fillStyle = ctx.strokeStyle = colour.text;
    ctx.setLineDash([3 * devicePixelRatio, 4 * devicePixelRatio]);
    for (const [at, text] of changes) {
      ctx.beginPath();
      ctx.moveTo(place(at), bbox.top);
      ctx.lineTo(place(at), bbox.top + bbox.height);
      ctx.stroke();
      ctx.save();
      ctx.translate(place(at) + 11 * devicePixelRatio, bbox.top + 10 * devicePixelRatio);
      ctx.rotate(Math.PI / 2);
      ctx.fillText(text.slice(0, 40), 0, 8 * devicePixelRatio);
      ctx.restore();
    }
    // Hatched, as in the picture: this was not decided at the time.
    ctx.setLineDash([]);
    ctx.globalAlpha = 0.35;
    for (const [a, b] of runs(anew.length, (i) => anew[i])) {
      const [left, right] = [place(times[a]), place(times[b])];
      ctx.save();
      ctx.beginPath();
      ctx.rect(left, bbox.top, right - left, bbox.height);
      ctx.clip();
      for (let x = left - bbox.height; x < right; x += 9 * devicePixelRatio) {
        ctx.beginPath();
        ctx.moveTo(x, bbox.top + bbox.height);
        ctx.lineTo(x + bbox.height, bbox.top);
        ctx.stroke();
      }
      ctx.restore();
    }
    ctx.restore();
  }

  quorum(plot) {
    const { ctx, bbox } = plot;
    const top = plot.valToPos(this.data.quorum, "y", true);
    ctx.save();
    ctx.strokeStyle = colours().bad;
    ctx.setLineDash([4 * devicePixelRatio, 3 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(bbox.left, top);
    ctx.lineTo(bbox.left + bbox.width, top);
    ctx.stroke();
    ctx.restore();
  }

  describe(place) {
    const index = this.index[place];
    if (index === undefined || index < 0) {
      return "no sample";
    }
    const { lines, severities, anew, changes, events, scale, times, quorum } = this.data;
    const of = (name) => written(lines[name][index], scale);
    const score = lines.score[index];
    if (lines.forecast && lines.forecast[index] !== null) {
      return `${this.at(index)} · forecast ${of("forecast")}, four of five values are ${of("forecast_lower")} to ${of("forecast_upper")}`;
    }
    const parts = [this.at(index), `observed ${of("observed")}`, `expected ${of("expected")}`, `band ${of("lower")} to ${of("upper")}`];
    parts.push(score === null ? "not judged" : `score ${score.toFixed(2)}${score >= 0.5 ? ", anomalous" : ""}`);
    if (lines.votes[index] !== null) {
      parts.push(`${lines.votes[index]} votes, ${quorum} are enough`);
    }
    const each = Object.entries(severities).filter(([, line]) => line[index] !== null);
    if (each.length) {
      parts.push(`severities: ${each.map(([kind, line]) => `${kind} ${line[index]}`).join(", ")}`);
    }
    const near = (times[1] - times[0]) * 4;
    changes.filter(([at]) => Math.abs(at - times[index]) <= near).forEach(([, text]) => parts.push(`change: ${text}`));
    events.filter(([a, b]) => a <= times[index] && times[index] <= b).forEach(([, , text]) => parts.push(`event: ${text}`));
    if (anew[index]) {
      parts.push("judged anew");
    }
    return parts.join(" · ");
  }
}

class LinesChart extends SeriesChart {
  make() {
    const names = Object.keys(this.data.lines);
    const options = this.options(this.host.clientWidth < 560 ? 200 : 210, (colour) => ({
      series: [{}, ...names.map((name, i) => ({
        label: name,
        stroke: i === names.length - 1 ? colour.line : colour.weeks[i % colour.weeks.length],
        width: i === names.length - 1 ? 1.6 : 1,
        points: { show: false },
      }))],
    }));
    this.host.replaceChildren();
    return [new uPlot(options, [[], ...names.map(() => [])], this.host)];
  }

  tables() {
    const { times, lines } = this.data;
    this.ranged = Object.values(lines);
    return [[times, ...this.ranged]];
  }

  describe(index) {
    if (!(index < this.data.times.length)) {
      return "";
    }
    const values = Object.entries(this.data.lines).map(([name, line]) => `${name} ${written(line[index], this.data.scale)}`);
    return [this.at(index), ...values].join(" · ");
  }
}

// The picture, where no chart can be drawn.
function fallBack(figure) {
  const picture = figure.querySelector("noscript");
  if (picture) {
    const content = new DOMParser().parseFromString(picture.textContent, "text/html");
    figure.querySelector(".plot").replaceChildren(...content.body.childNodes);
  }
  figure.dataset.state = "picture";
}

function begin(figure) {
  const chart = new (figure.dataset.part === "band" ? BandChart : LinesChart)(figure);
  chart.start().catch(() => fallBack(figure));
}

// A chart further down is drawn when it comes into view.
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries.filter((each) => each.isIntersecting)) {
    seen.unobserve(entry.target);
    begin(entry.target);
  }
}, { rootMargin: "200px" });
document.querySelectorAll("figure[data-chart]").forEach((figure) => seen.observe(figure));

// The address of a page is what is seen, so that it can be sent to others.
document.addEventListener("zoomed", (event) => {
  const address = new URL(location.href);
  for (const name of ["from", "to"]) {
    if (event.detail.has(name)) {
      address.searchParams.set(name, event.detail.get(name));
    } else {
      address.searchParams.delete(name);
    }
  }
  history.replaceState(null, "", address);
});
