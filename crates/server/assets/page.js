// Everything shown here was written by strangers: text goes into the page as text, never as markup.
"use strict";

const LIVE_ROWS_MAX = 200;
const byId = (id) => document.getElementById(id);

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = String(text);
  if (className) made.className = className;
  return made;
}

// Characters that would be invisible or would turn the text around are shown by their code.
function visible(text) {
  return String(text).replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]|\udb40[\udc00-\udc7f]/gu,
    (char) => "⟨U+" + char.codePointAt(0).toString(16).toUpperCase().padStart(4, "0") + "⟩");
}

async function call(path, options) {
  const response = await fetch(path, options);
  if (response.status === 401) { showSignIn(); throw new Error("signed out"); }
  if (response.status === 204) return null;
  const body = await response.json();
  if (!response.ok) throw new Error(body.error ? body.error.message : response.statusText);
  return body;
}

function showSignIn() {
  byId("sign-in").hidden = false;
  byId("views").hidden = true;
  byId("sign-out").hidden = true;
  byId("key").focus();
}

function showViews() {
  byId("sign-in").hidden = true;
  byId("views").hidden = false;
  byId("sign-out").hidden = false;
}

function sessionButton(id) {
  const cell = element("td");
  if (!id) return cell;
  const button = element("button", visible(id), "link");
  button.type = "button";
  button.addEventListener("click", () => { location.hash = "trace=" + encodeURIComponent(id); });
  cell.append(button);
  return cell;
}

function shortTime(time) { return String(time ?? "").replace("T", " ").slice(0, 23); }

function liveRow(row) {
  const line = element("tr");
  line.append(element("td", shortTime(row.time), "mono"), element("td", row.kind), element("td", visible(row.name ?? "")),
    element("td", visible(row.user_id ?? "")), element("td", visible(row.agent ?? row.application ?? "")),
    element("td", row.score == null ? "" : row.score.toFixed(2), row.score >= 0.8 ? "high" : row.score >= 0.4 ? "medium" : ""),
    sessionButton(row.session_id ?? row.trace_id));
  return line;
}

async function showDetections() {
  const table = await call("/api/detections");
  const at = Object.fromEntries(table.columns.map((name, index) => [name, index]));
  const body = byId("detections");
  body.replaceChildren(...table.rows.map((row) => {
    const line = element("tr");
    const get = (name) => row[at[name]];
    line.append(element("td", shortTime(get("time")), "mono"), element("td", get("severity"), get("severity")),
      element("td", visible(get("title") ?? "")), element("td", get("technique") ?? "", "mono"), element("td", get("grade") ?? ""),
      sessionButton(get("session_id") ?? get("trace_id")));
    return line;
  }));
  byId("no-detections").hidden = table.rows.length > 0;
}

// Marks the spans (in code points) that inspection found.
function marked(text, findings) {
  const points = Array.from(text);
  const flags = new Uint8Array(points.length);
  for (const finding of findings ?? []) flags.fill(1, finding.start, finding.end);
  const pre = element("pre");
  for (let from = 0; from < points.length;) {
    let to = from;
    while (to < points.length && flags[to] === flags[from]) to++;
    pre.append(element(flags[from] ? "mark" : "span", visible(points.slice(from, to).join(""))));
    from = to;
  }
  return pre;
}

// What was detected in the session, and for content flow the way from its source to the call that followed it.
function detectionItem(detection) {
  const item = element("li");
  const grade = detection.grade ? " — " + detection.grade : "";
  item.append(element("strong", detection.severity ?? "", detection.severity), " ",
    element("span", visible((detection.technique ?? "") + " " + (detection.title ?? "") + grade)));
  const parts = Array.isArray(detection.evidence) ? detection.evidence : [];
  const step = (what, label) => parts.filter((part) => part.what === what).slice(0, 1).forEach((part) => {
    const name = part.field ? part.field + " " : "";
    item.append(element("span", visible(label + name + String(part.value ?? "").slice(0, 300)), "step"));
  });
  step("source", "from: ");
  step("shared_value", "carried: ");
  step("call", "to: ");
  return item;
}

async function showTrace(id) {
  const trace = await call("/api/trace/" + id.split("/").map(encodeURIComponent).join("/"));
  byId("trace-section").hidden = false;
  byId("trace-id").textContent = visible(id);
  byId("flow").replaceChildren(...(trace.detections ?? []).map(detectionItem));
  const shown = new Set();
  byId("trace").replaceChildren(...trace.events.map((event) => {
    const item = element("li", null, event.kind === "detection" || (event.score ?? 0) >= 0.4 ? "marked" : "");
    item.append(element("strong", event.kind), " ", element("span", visible(event.name ?? "")), " ", element("span", shortTime(event.time), "mono hint"));
    for (const piece of event.pieces ?? []) {
      // The conversation is repeated with every call: each text is shown where it came first.
      const key = piece.role + piece.part + piece.content_id;
      if (piece.history || shown.has(key)) continue;
      shown.add(key);
      const block = element("div", null, "piece");
      const names = [piece.role, piece.part, piece.name].filter(Boolean).map(visible).join(" · ");
      const rules = (piece.findings ?? []).map((finding) => finding.technique ?? finding.risk).join(", ");
      block.append(element("div", rules ? names + " — " + rules : names, rules ? "who high" : "who"), marked(piece.text ?? "", piece.findings));
      item.append(block);
    }
    return item;
  }));
  byId("trace-section").scrollIntoView({ block: "start" });
}

let next = null;

async function live() {
  for (;;) {
    try {
      const answer = await call("/api/tail?wait=true&limit=100" + (next === null ? "" : "&after=" + next));
      const body = byId("live");
      for (const row of answer.rows) body.prepend(liveRow(row));
      while (body.rows.length > LIVE_ROWS_MAX) body.deleteRow(-1);
      byId("no-live").hidden = body.rows.length > 0;
      next = answer.next;
      if (answer.rows.length > 0) await Promise.all([showDetections(), showProgress()]);
    } catch (error) {
      if (error.message === "signed out") return;
      byId("progress").textContent = "Not connected: " + error.message;
      await new Promise((resolve) => setTimeout(resolve, 2000));
    }
  }
}

async function showProgress() {
  const status = await call("/api/status");
  const { recorded, sealed, detected } = status.progress;
  byId("progress").textContent = status.stopped ? "Stopped: " + status.stopped
    : `${recorded.toLocaleString()} recorded · ${sealed.toLocaleString()} sealed · ${detected.toLocaleString()} examined`;
}

function route() {
  const match = location.hash.match(/^#trace=(.+)$/);
  if (match) showTrace(decodeURIComponent(match[1])).catch((error) => { byId("trace-id").textContent = error.message; });
}

async function start() {
  await showProgress();
  showViews();
  await showDetections();
  route();
  live();
}

byId("sign-in").addEventListener("submit", async (submit) => {
  submit.preventDefault();
  byId("sign-in-error").textContent = "";
  const response = await fetch("/api/session", { method: "POST", body: JSON.stringify({ key: byId("key").value }) });
  byId("key").value = "";
  if (response.ok) start().catch(() => {});
  else byId("sign-in-error").textContent = (await response.json()).error.message;
});
byId("sign-out").addEventListener("click", async () => { await fetch("/api/session", { method: "DELETE" }); location.reload(); });
window.addEventListener("hashchange", route);
start().catch(() => {});
