"use strict";
// The page keeps the tables and the newest events as the stream sends them, marks what changed, and paints that once per
// animation frame. Text goes in through textContent only.

const byId = (id) => document.getElementById(id);
const tables = {};
const events = { decisions: [], exec_reports: [], control: [], risk_events: [] };
const EVENTS_MAX = { decisions: 50, exec_reports: 50, control: 50, risk_events: 600 };
const ORDERS_MAX = 200;
const ORDERS_SHOWN = 10;
const EVENTS_SHOWN = 20;
const MATRIX_MAX = 12;
const STALE_S = 3;
const LOST_MS = 2500;
const RECONNECT_MS = 3000;
const SWITCH_WAIT_MS = 8000;
let desk = null;

/* ---- numbers and times ---- */

const formats = new Map();
function number(value, digits = 0, sign = false) {
  const x = Number(value);
  if (value === null || value === undefined || value === "" || !Number.isFinite(x)) return "–";
  const name = `${digits}${sign}`;
  if (!formats.has(name)) {
    formats.set(name, new Intl.NumberFormat("en-US", {
      minimumFractionDigits: digits, maximumFractionDigits: digits, signDisplay: sign ? "exceptZero" : "negative",
    }));
  }
  return formats.get(name).format(x).replace("-", "−");
}
const money = (value, sign = false) => number(value, 2, sign);
const percent = (value, digits = 2) => (Number.isFinite(value) ? `${number(value * 100, digits)} %` : "–");
const tone = (value) => (value > 0 ? "good" : value < 0 ? "bad" : "");
function time(ns) {
  const date = new Date(Number(ns) / 1e6);
  return Number(ns) > 0 && Number.isFinite(date.getTime()) ? date.toISOString().slice(11, 23) : "–";
}
const eventTime = (ns) => time(ns).slice(0, desk && desk.bucket_ms % 1000 === 0 ? 8 : 12);
function lasting(seconds) {
  const whole = Math.round(seconds);
  if (whole < 120) return `${whole} s`;
  return whole < 7200 ? `${Math.floor(whole / 60)} min` : `${Math.floor(whole / 3600)} h`;
}
const spec = (name) => (desk && desk.instruments[name]) || { tick: "1", lot: "1", name };
const units = (name, lots) => Number(lots) * Number(spec(name).lot);
const decimals = (text) => (String(text).split(".")[1] || "").length;
const quantity = (name, lots, sign = false) => number(units(name, lots), decimals(spec(name).lot), sign);
const price = (name, ticks) => number(Number(ticks) * Number(spec(name).tick), decimals(spec(name).tick));
const deskRow = (table) => (tables[table] && tables[table].desk) || null;

/* ---- tables ---- */

// A cell is text, or [text, class names]. Nodes are reused, so that a selection and the scroll position survive a paint.
function cell(node, value) {
  const [text, classes] = Array.isArray(value) ? value : [value, ""];
  const shown = String(text);
  if (node.textContent !== shown) node.textContent = shown;
  if (node.className !== classes) node.className = classes;
}
function resize(parent, count, make) {
  while (parent.childElementCount > count) parent.lastElementChild.remove();
  while (parent.childElementCount < count) parent.append(make());
}
function fill(table, columns, rows, empty, total = false) {
  let hint = table.parentElement.querySelector(".empty");
  if (!hint) {
    hint = Object.assign(document.createElement("p"), { className: "empty" });
    table.parentElement.append(hint);
  }
  hint.hidden = rows.length > 0;
  table.hidden = rows.length === 0;
  if (hint.textContent !== empty) hint.textContent = empty;
  if (!table.tHead) {
    table.append(document.createElement("thead"), document.createElement("tbody"));
    table.tHead.append(document.createElement("tr"));
  }
  const head = table.tHead.rows[0];
  resize(head, columns.length, () => Object.assign(document.createElement("th"), { scope: "col" }));
  columns.forEach((column, i) => cell(head.cells[i], column));
  const body = table.tBodies[0];
  resize(body, rows.length, () => document.createElement("tr"));
  rows.forEach((row, r) => {
    const line = body.rows[r];
    resize(line, columns.length, () => document.createElement("td"));
    row.forEach((value, c) => cell(line.cells[c], value));
    line.className = total && r === rows.length - 1 ? "total" : "";
  });
}
function facts(list, pairs) {
  resize(list, pairs.length * 2, () => document.createElement(list.childElementCount % 2 ? "dd" : "dt"));
  pairs.forEach(([name, value], i) => {
    cell(list.children[2 * i], name);
    cell(list.children[2 * i + 1], value);
  });
}
const num = (text, classes = "") => [text, `num ${classes}`.trim()];
const right = (text) => [text, "num"];

/* ---- sections: what each one reads, and how it is painted ---- */

const TONES = { READY: "good", SYNCING: "warn", CONNECTING: "warn", DISCONNECTED: "bad", LOCKED: "bad",
  ACTIVE: "good", REDUCING: "warn", HALTED: "bad", PASS: "good", HOLD: "warn", FAIL: "bad" };
function pill(node, text) {
  node.querySelector("b").textContent = text;
  node.dataset.tone = TONES[text] || "none";
}
function switchState() {
  return tables.switch ? Object.values(tables.switch)[0] : null;
}

function paintStatus() {
  const session = deskRow("account") || deskRow("admission");
  pill(byId("session"), session ? session.session : "unknown");
  const state = switchState();
  pill(byId("switch"), state ? state.state : "unknown");
  const halted = Boolean(state) && state.state === "HALTED";
  byId("reset").hidden = !halted;
  showBanner();
  facts(byId("switch-facts"), state
    ? [["Switch", [state.state, TONES[state.state]]], ["Set by", state.by], ["Reason", state.reason || "–"]]
    : [["Switch", "no word yet from the risk worker"]]);
}

let lost = "";
function showBanner() {
  const state = switchState();
  const halted = state && state.state === "HALTED" ? `Trading is HALTED by ${state.by}: ${state.reason || "no reason given"}` : "";
  const words = [lost, halted].filter(Boolean).join(" · ");
  const banner = byId("banner");
  if (banner.hidden === Boolean(words)) banner.hidden = !words;
  if (banner.textContent !== words) banner.textContent = words;
}

function paintGates() {
  if (!desk) return;
  const list = byId("gates");
  resize(list, desk.stages.length, () => {
    const item = document.createElement("li");
    const verdict = Object.assign(document.createElement("span"), { className: "verdict" });
    item.append(document.createElement("b"), document.createElement("span"), verdict, document.createElement("small"));
    return item;
  });
  desk.stages.forEach((stage, i) => {
    const row = (tables.gates || {})[String(stage.number)];
    const [index, title, verdict, why] = list.children[i].children;
    cell(index, stage.number);
    title.textContent = stage.title + (stage.required ? " · required here" : "");
    verdict.textContent = row ? row.verdict : "HOLD";
    verdict.dataset.tone = TONES[verdict.textContent] || "none";
    if (!row) {
      why.textContent = `no evidence yet: ${stage.criteria.join(", ")}`;
    } else {
      const evidence = Object.values(row.evidence || {}).map((e) => `${e.name}${e.instrument ? `[${e.instrument}]` : ""} = ${Number(e.value).toPrecision(3)}`);
      why.textContent = [...(row.reasons || []), ...(row.reasons && row.reasons.length ? [] : evidence)].join("; ");
    }
  });
}

function paintMoney() {
  const risk = events.risk_events[events.risk_events.length - 1];
  if (!risk) return;
  byId("nav").textContent = money(risk.nav_usd);
  byId("pnl").textContent = money(risk.pnl_usd, true);
  byId("pnl").className = tone(risk.pnl_usd);
  byId("gross").textContent = money(risk.gross_usd);
  byId("net").textContent = money(risk.net_usd);
  byId("drawdown").textContent = percent(risk.drawdown_frac, 3);
  byId("clock").textContent = `event time ${time(risk.ts_event_ns).slice(0, 8)} UTC · PSR ${
    risk.psr === null ? `insufficient (${risk.returns} of 30 returns)` : number(risk.psr, 3)}`;
}

function paintPositions() {
  const { mids = {}, taken_usd: taken = {} } = deskRow("risk") || {};
  const sums = { value: 0, pnl: 0, commissions: 0, fills: 0 };
  const rows = Object.entries(tables.positions || {}).sort().map(([name, row]) => {
    const mid = name in mids ? (Number(mids[name]) / 2) * Number(spec(name).tick) : NaN;
    const value = row.lots === 0 ? 0 : units(name, row.lots) * mid;
    const pnl = value + Number(row.cash_flow) - Number(taken[name] || 0);
    sums.value += value;
    sums.pnl += pnl;
    sums.commissions += Number(row.commissions);
    sums.fills += row.fills;
    return [name, right(quantity(name, row.lots, true)), num(money(pnl, true), tone(pnl)), right(money(value)),
      right(number(mid, decimals(spec(name).tick) + 1)), right(money(row.commissions)), right(number(row.fills))];
  });
  if (rows.length) {
    rows.push(["Total", "", num(money(sums.pnl, true), tone(sums.pnl)), right(money(sums.value)), "",
      right(money(sums.commissions)), right(number(sums.fills))]);
  }
  fill(byId("positions"), ["Instrument", right("Quantity"), right("PnL USD"), right("Value USD"), right("Mid"),
    right("Commissions USD"), right("Fills")], rows, "No positions yet. The first fill opens one.", true);
}

function paintDenials() {
  const row = deskRow("admission");
  const denied = Object.entries((row && row.denied) || {}).sort((a, b) => b[1] - a[1]);
  fill(byId("denials"), ["Denied because", right("Count")], denied.map(([reason, count]) => [reason, right(number(count))]),
    row ? "Nothing denied so far." : "No decisions yet.");
  byId("orders-count").textContent = row ? number(row.admitted) : "–";
  const total = denied.reduce((sum, [, count]) => sum + count, 0);
  byId("orders-note").textContent = row ? `admitted · ${number(total)} denials` : "admitted";
}

function paintSignals() {
  const names = [...new Set([...Object.keys(tables.ofi || {}), ...Object.keys(tables.signals || {})])].sort();
  const rows = names.map((name) => {
    const flow = (tables.ofi || {})[name] || {};
    const signal = (tables.signals || {})[name] || {};
    const fit = signal.fit || {};
    const learned = signal.learned || {};
    const r2 = fit.n ? (fit.zu * fit.zu) / (fit.zz * fit.uu) : NaN;
    const ic = learned.n ? learned.zu / Math.sqrt(learned.zz * learned.uu) : NaN;
    return [name, right(price(name, flow.bid)), right(price(name, flow.ask)), right(number(flow.ofi, 0, true)),
      right(number(flow.trade, 0, true)), num(number(signal.z, 2, true), tone(signal.z)),
      right(number(signal.sigma * 1e4, 2)), right(number(r2, 2)), right(number(ic, 3, true)),
      [flow.halted ? "halted" : flow.source || "–", flow.halted ? "bad" : "muted"]];
  });
  fill(byId("signals"), ["Instrument", right("Bid"), right("Ask"), right("OFI lots"), right("Trades lots"), right("z"),
    right("σ bp"), right("R²"), right("IC"), "Source"], rows, "No order flow yet. It begins with the first quotes.");
}

function paintTargets() {
  const row = deskRow("targets");
  const lots = (row && row.positions) || {};
  const weights = Object.entries((row && row.weights) || {}).sort();
  byId("rung").textContent = row && row.rung ? `solver: ${row.rung}` : "";
  fill(byId("targets"), ["Instrument", right("Target weight"), right("Position")],
    weights.map(([name, weight]) => [name, num(percent(weight), tone(weight)), right(quantity(name, lots[name] || 0, true))]),
    "No targets yet. The optimiser waits for a warm covariance and the account's value.");
}

function paintOrders() {
  const orders = Object.values(tables.orders || {}).filter((row) => row.command);
  orders.sort((a, b) => b.command.order_id - a.command.order_id);
  const states = { FILLED: "good", CANCELLED: "muted", REJECTED: "bad", UNKNOWN: "bad" };
  fill(byId("orders"), [right("Id"), "Event time", "Instrument", "Side", right("Quantity"), right("Filled"), right("Limit"),
    "State", "Reason"],
  orders.slice(0, ORDERS_SHOWN).map(({ command: c, filled_lots: filled, state, reason }) => [right(c.order_id),
    eventTime(c.ts_event_ns), c.instrument, c.side, right(quantity(c.instrument, c.quantity_lots)),
    right(quantity(c.instrument, filled)), right(number(c.limit_price, decimals(spec(c.instrument).tick))),
    [state, states[state] || ""], [reason || "", "muted"]]),
  "No orders yet. An order needs an intent that admission lets through.");
}

function paintDecisions() {
  const newest = events.decisions.slice(-EVENTS_SHOWN).reverse();
  fill(byId("decisions"), ["Event time", "Instrument", "Decision", "Why", "Intent"], newest.map((d) => [
    eventTime(d.ts_event_ns), d.instrument, d.admitted ? ["admitted", "good"] : ["denied", "bad"],
    [String(d.message || "").replaceAll(` intent=${d.intent_id}`, ""), "wrap"], [String(d.intent_id || "").slice(0, 8), "muted"],
  ]), "No decisions yet. The first order intent brings one.");
}

function paintReports() {
  const newest = events.exec_reports.slice(-EVENTS_SHOWN).reverse();
  fill(byId("reports"), ["Clock time", "Report", right("Order"), "Instrument", "Side", right("Quantity"), right("Price"), "State", "Detail"],
    newest.map((r) => {
      if (r.type === "session") return [time(r.ts_ns), "session", "", "", "", "", "", [r.state, TONES[r.state] || ""], r.reason || ""];
      const digits = decimals(spec(r.instrument).tick);
      const detail = r.kind === "COMMISSION" ? `commission ${money(r.commission)} USD` : r.reason || "";
      return [time(r.ts_ns), String(r.kind).toLowerCase(), right(r.order_id), r.instrument, r.side,
        right(r.kind === "FILL" ? quantity(r.instrument, r.fill_lots) : ""),
        right(r.kind === "FILL" ? number(r.fill_price, digits) : ""), r.state, [detail, "muted"]];
    }), "No reports yet.");
}

function paintRegime() {
  const row = deskRow("regime");
  const hysteresis = (row && row.hysteresis) || {};
  facts(byId("regime"), row
    ? [["Regime", [hysteresis.regime, { calm: "good", normal: "", storm: "bad" }[hysteresis.regime] || ""]],
      ["Volatility", `${percent(row.vol_annual, 1)} a year`], ["Mean correlation", number(row.mean_correlation, 3)]]
    : [["Regime", "unknown until the first cross-section"]]);
  paintCovariance();
}

// `reference` is the lower triangle, row by row, as base64 of little-endian float64.
function triangle(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const data = new DataView(bytes.buffer);
  return Array.from({ length: bytes.length / 8 }, (_, i) => data.getFloat64(8 * i, true));
}
function paintCovariance() {
  const row = deskRow("covariance");
  const names = desk ? desk.universe.slice(0, MATRIX_MAX) : [];
  let rows = [];
  if (row && row.reference) {
    const values = triangle(row.reference);
    const at = (i, j) => values[(Math.max(i, j) * (Math.max(i, j) + 1)) / 2 + Math.min(i, j)];
    rows = names.map((name, i) => [name, right(percent(Math.sqrt(at(i, i) * desk.bars_per_year), 1)),
      ...names.map((_, j) => num(number(at(i, j) / Math.sqrt(at(i, i) * at(j, j)), 2), i === j ? "muted" : ""))]);
  }
  fill(byId("covariance"), ["Instrument", right("Vol a year"), ...names.map(right)], rows,
    row ? `Covariance is warming up: ${number(row.updates)} buckets so far.` : "No covariance yet.");
}

let health = null;
function paintHealth() {
  if (!health) return;
  byId("health-seen").textContent = `seen ${time(health.seen_ns).slice(0, 8)} UTC`;
  const away = health.answer_ms === null;
  facts(byId("health"), [
    ["Broker", away ? [health.problem, "bad"] : [`answered in ${number(health.answer_ms)} ms`, "good"]],
    ["Topics", away ? "unknown" : health.topics.length ? [health.topics.join("; "), "bad"] : ["all are as declared", "good"]],
  ]);
  fill(byId("groups"), ["Group", right("Workers"), right("Lag records"), "Most at", right("Queue batches")],
    health.groups.map(({ group, workers, lag_records: lags }) => {
      const worst = Object.entries(lags).sort((a, b) => b[1] - a[1])[0];
      const total = Object.values(lags).reduce((sum, lag) => sum + lag, 0);
      const slow = worst && worst[1] > health.lag_records_max;
      const own = health.workers.filter((worker) => worker.group === group);
      const queues = own.map((worker) => worker.producer_queue_batches);
      const restoring = own.filter((worker) => worker.restoring_records)
        .map(({ restoring_records: [read, total] }) => `, restoring ${number(read)} of ${number(total)} records`).join("");
      const silent = queues.includes(null);
      return [group, num(`${number(workers)}${restoring}`, workers ? "" : "bad"), num(worst ? number(total) : "–", slow ? "bad" : ""),
        worst && worst[1] ? `${worst[0]}: ${number(worst[1])}` : "–",
        num(silent ? "no answer" : queues.length ? queues.map((queue) => number(queue)).join(", ") : "–", silent ? "bad" : "")];
    }), away ? "Not known while Kafka is away." : "No group has read anything yet.");
  fill(byId("partitions"), ["Group", "Partition", right("Lag records")],
    health.groups.flatMap(({ group, lag_records: lags }) => Object.entries(lags).map(([place, lag]) => [group, place, right(number(lag))])),
    "No group has read anything yet.");
  fill(byId("letters"), ["Topic", "Reason", right("Count")],
    health.dead_letters.map(({ topic, reason, count }) => [topic, reason, num(number(count), "bad")]),
    "No dead letters: every record fitted its contract.");
}

/* ---- raw tables ---- */

const text = (value) => (value === null ? "" : typeof value === "object" ? JSON.stringify(value) : String(value));
function paintRaw() {
  for (const name of Object.keys(tables).sort()) {
    const details = (byId(`raw-${name}`) || rawTable(name)).querySelector("details");
    const rows = Object.entries(tables[name]);
    details.querySelector("summary").textContent = `${name} · ${rows.length} ${rows.length === 1 ? "row" : "rows"}`;
    if (!details.open || !dirty.has(name)) continue;
    const table = details.querySelector("table");
    if (rows.length === 1 && typeof rows[0][1] === "object") {
      fill(table, ["field", rows[0][0]], Object.entries(rows[0][1]).map(([field, value]) => [field, [text(value), "wrap"]]), "");
    } else {
      const fields = [...new Set(rows.flatMap(([, state]) => Object.keys(Object(state))))];
      fill(table, ["key", ...fields],
        rows.sort().map(([key, state]) => [key, ...fields.map((field) => text(Object(state)[field] ?? null))]), "No rows yet.");
    }
  }
}
function rawTable(name) {
  const row = Object.assign(document.createElement("div"), { id: `raw-${name}`, className: "rawrow" });
  const details = document.createElement("details");
  const scroll = Object.assign(document.createElement("div"), { className: "scroll rawtable", tabIndex: 0 });
  scroll.append(document.createElement("table"));
  details.append(document.createElement("summary"), scroll);
  details.addEventListener("toggle", () => mark(name));
  const links = document.createElement("nav");
  links.setAttribute("aria-label", `${name} for scripts`);
  for (const form of ["json", "csv"]) {
    links.append(Object.assign(document.createElement("a"), { href: `/api/tables/${name}.${form}`, textContent: form.toUpperCase() }));
  }
  row.append(details, links);
  const holder = byId("raw");
  holder.querySelector(":scope > .empty")?.remove();
  holder.insertBefore(row, [...holder.children].find((other) => other.id > row.id) || null);
  return row;
}

/* ---- charts ---- */

const charts = [];
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
function chart(id, height, series) {
  const holder = byId(id);
  const axis = { stroke: css("--muted"), grid: { stroke: css("--grid"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
  const lines = series.map(([label, colour, fillIt]) => ({ label, stroke: css(colour), width: 1.5, points: { show: false },
    fill: fillIt ? `${css(colour)}22` : undefined, value: (_, v) => (v === null ? "–" : money(v)) }));
  const plot = new uPlot({
    width: Math.max(holder.clientWidth, 200), height,
    tzDate: (s) => uPlot.tzDate(new Date(s * 1e3), "Etc/UTC"),
    cursor: { y: false, sync: { key: "desk" } },
    // Without a pointer over it the legend shows the newest point.
    hooks: { draw: [(u) => u.cursor.idx == null && u.setLegend({ idx: u.data[0].length - 1 })] },
    series: [{ label: "UTC", value: (_, s) => (s === null ? "–" : clock(s)) }, ...lines],
    axes: [
      { ...axis, space: 80, size: 28, values: (_, ticks) => ticks.map(clock) },
      { ...axis, space: 24, size: 72, values: (_, ticks) => ticks.map((v) => number(v, ticks[1] - ticks[0] < 1 ? 2 : 0)) },
    ],
  }, [[], ...series.map(() => [])], holder);
  charts.push({ plot, holder, height });
  return plot;
}
const clock = (s) => time(s * 1e9).slice(0, 8);
let pnlChart, exposureChart;
function makeCharts() {
  charts.splice(0).forEach(({ plot }) => plot.destroy());
  pnlChart = chart("chart-pnl", 160, [["PnL USD", "--accent", true]]);
  exposureChart = chart("chart-exposure", 140, [["Gross USD", "--warn"], ["Net USD", "--accent"]]);
  mark("risk_events");
}
function paintCharts() {
  const risk = events.risk_events;
  const there = risk.length > 1;
  byId("chart-empty").hidden = there;
  byId("chart-pnl").hidden = byId("chart-exposure").hidden = !there;
  if (!there) return;
  if (!pnlChart) makeCharts();
  const x = risk.map((event) => Number(event.ts_event_ns) / 1e9);
  pnlChart.setData([x, risk.map((event) => event.pnl_usd)]);
  exposureChart.setData([x, risk.map((event) => event.gross_usd), risk.map((event) => event.net_usd)]);
}

/* ---- one paint per animation frame ---- */

const SECTIONS = [
  [paintStatus, ["switch", "account", "admission", "control"]],
  [paintGates, ["gates"]],
  [paintMoney, ["risk_events"]],
  [paintCharts, ["risk_events"]],
  [paintPositions, ["positions", "risk"]],
  [paintDenials, ["admission"]],
  [paintSignals, ["ofi", "signals"]],
  [paintTargets, ["targets"]],
  [paintOrders, ["orders"]],
  [paintRegime, ["regime", "covariance"]],
  [paintDecisions, ["decisions"]],
  [paintReports, ["exec_reports"]],
  [paintHealth, ["health"]],
];
const dirty = new Set();
let asked = false;
function mark(name) {
  dirty.add(name);
  if (!asked) {
    asked = true;
    requestAnimationFrame(paint);
  }
}
function paint() {
  asked = false;
  for (const [section, sources] of SECTIONS) if (sources.some((name) => dirty.has(name))) section();
  paintRaw();
  dirty.clear();
}
function markAll() {
  SECTIONS.forEach(([, sources]) => sources.forEach(mark));
}

/* ---- the stream ---- */

let lastMessageMs = 0;
let ageS = null;
function take(message) {
  lastMessageMs = performance.now();
  ageS = message.age_s;
  if (message.since === 0) { // a new connection: everything comes again
    for (const name of Object.keys(tables)) tables[name] = {};
    for (const topic of Object.keys(events)) events[topic] = [];
  }
  for (const [name, rows] of Object.entries(message.tables)) {
    const table = (tables[name] ??= {});
    for (const [key, state] of Object.entries(rows)) {
      if (state === null) delete table[key];
      else table[key] = state;
    }
    if (name === "orders") trim(table);
    mark(name);
  }
  for (const [topic, fresh] of Object.entries(message.events)) {
    events[topic] = [...events[topic], ...fresh].slice(-EVENTS_MAX[topic]);
    mark(topic);
  }
  if (message.health) {
    health = message.health;
    mark("health");
  }
  if (message.since === 0) markAll();
  showLive();
  followCommand();
}
function trim(orders) {
  const rows = Object.entries(orders);
  if (rows.length <= ORDERS_MAX) return;
  rows.sort((a, b) => a[1].command.order_id - b[1].command.order_id);
  rows.slice(0, rows.length - ORDERS_MAX).forEach(([key]) => delete orders[key]);
}
function showLive() {
  const silentMs = performance.now() - lastMessageMs;
  let state = "live", words = "live";
  if (lastMessageMs === 0) [state, words] = ["lost", "connecting"];
  else if (silentMs > LOST_MS) [state, words] = ["lost", `lost ${lasting(silentMs / 1000)}`];
  else if (ageS === null) [state, words] = ["stale", "waiting for data"];
  else if (ageS > STALE_S) [state, words] = ["stale", `stale ${lasting(ageS)}`];
  if (lastMessageMs) lost = state === "lost" ? "No connection to the desk: everything below is old. Reconnecting" : "";
  showBanner();
  const node = byId("live");
  if (node.dataset.state !== state) node.dataset.state = state;
  if (byId("live-text").textContent !== words) byId("live-text").textContent = words;
}

/* ---- kill and reset ---- */

const COMMANDS = {
  KILL: { path: "/api/kill", title: "Stop trading", button: "Stop trading", wanted: "HALTED",
    text: "No new orders go out from the moment the switch says HALTED, and it stays so, also over restarts, until an operator resets it. Working orders are cancelled at the broker; what fills before its cancel arrives stays filled, and positions stay open." },
  RESET: { path: "/api/reset", title: "Allow trading again", button: "Allow trading", wanted: "ACTIVE",
    text: "The switch goes back to ACTIVE and admission lets orders through again. A kill from the command line also stands in the kill file, which this page cannot change: python -m app reset lifts it." },
};
let command = null; // the word of the open dialog
let waiting = null; // what the page waits for after the command was sent
const dialog = byId("dialog");

const NO_COMMANDS = "This page only shows: more than its own machine can reach it, and it has no login. On the desk's machine run python -m app kill --operator NAME --reason WHY, or put a proxy that signs people in before the page and set FLOWGATE_WEB__COMMANDS=true.";

function openDialog(word) {
  command = word;
  waiting = null;
  byId("form").reset();
  byId("steps").replaceChildren();
  byId("dialog-title").textContent = COMMANDS[word].title;
  byId("dialog-text").textContent = desk && !desk.commands ? NO_COMMANDS : COMMANDS[word].text;
  byId("word-wanted").textContent = word;
  byId("confirm").textContent = COMMANDS[word].button;
  byId("cancel").textContent = "Cancel";
  checkForm();
  dialog.showModal();
  byId("operator").focus();
}
function typed() {
  return { operator: byId("operator").value.trim(), reason: byId("reason").value.trim(), word: byId("word").value.trim() };
}
function checkForm() {
  const { operator, reason, word } = typed();
  const allowed = desk !== null && desk.commands;
  byId("confirm").disabled = !(allowed && operator && reason && word === command) || waiting !== null;
}
function step(words, classes = "") {
  const item = document.createElement("li");
  cell(item, [words, classes]);
  byId("steps").append(item);
}
async function send(event) {
  event.preventDefault();
  const order = typed();
  const { path, wanted } = COMMANDS[command];
  const mine = { wanted, since: performance.now(), sent: false };
  waiting = mine;
  checkForm();
  byId("steps").replaceChildren();
  step("Sending the command");
  try {
    const response = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Flowgate-Command": command },
      body: JSON.stringify(order),
    });
    const result = await response.json();
    if (waiting !== mine) return; // the dialog was opened anew
    if (!response.ok) throw new Error(result.error);
    step(`On the log: topic ${result.topic}, offset ${result.offset}`, "good");
    waiting.sent = true;
    step(`Waiting for the switch to say ${wanted}`);
    followCommand();
  } catch (error) {
    if (waiting !== mine) return;
    waiting = null;
    step(`Not sent: ${error.message}`, "bad");
    checkForm();
  }
}
// Called with every message of the stream, so four times a second.
function followCommand() {
  if (!waiting || !waiting.sent) return;
  const state = switchState();
  if (state && state.state === waiting.wanted) {
    step(`The switch is ${state.state}, set by ${state.by}`, "good");
    const terminal = ["FILLED", "CANCELLED", "REJECTED"];
    const working = Object.values(tables.orders || {}).filter((row) => !terminal.includes(row.state)).length;
    step(`${working} ${working === 1 ? "order is" : "orders are"} still working`, working ? "warn" : "good");
    byId("cancel").textContent = "Close";
    waiting = { done: true };
  } else if (performance.now() - waiting.since > SWITCH_WAIT_MS) {
    step("The switch has not answered. The command is on the log and takes effect when the risk worker runs; see that it does.", "bad");
    byId("cancel").textContent = "Close";
    waiting = { done: true };
  }
}

/* ---- start ---- */

byId("kill").addEventListener("click", () => openDialog("KILL"));
byId("reset").addEventListener("click", () => openDialog("RESET"));
byId("cancel").addEventListener("click", () => dialog.close());
byId("form").addEventListener("input", checkForm);
byId("form").addEventListener("submit", send);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => pnlChart && makeCharts());
new ResizeObserver(() => {
  for (const { plot, holder, height } of charts) {
    if (holder.clientWidth && holder.clientWidth !== plot.width) plot.setSize({ width: holder.clientWidth, height });
  }
}).observe(byId("chart-pnl"));
setInterval(showLive, 500);

function connect() {
  const stream = new EventSource("/api/stream");
  stream.addEventListener("message", (event) => take(JSON.parse(event.data)));
  stream.addEventListener("error", () => {
    // After an error status the browser gives up by itself; after a broken connection it does not.
    if (stream.readyState === EventSource.CLOSED) setTimeout(connect, RECONNECT_MS);
  });
}
async function start() {
  desk = await (await fetch("/api/desk")).json();
  markAll();
  connect();
}
start().catch(() => {
  lost = "The page cannot reach its server. See whether the web worker runs, then load the page again.";
  showBanner();
});
