import { useRouterState } from "@tanstack/react-router";
import { useState } from "react";
import { useAt, useRange } from "../lib/at";
import { setPrefs, usePrefs } from "../lib/prefs";
import { ANY_TIME, instant, isAnyTime, isZone, parseRange, PRESETS, timestamp, zoneName, type Range } from "../lib/time";
import { Icon } from "../ui/icons";
import { Menu } from "../ui/parts";
import { OF_ANY_TIME, RANGES } from "../views/names";

const SAYS: Readonly<Record<string, string>> = {
  "15m": "Last 15 minutes", "1h": "Last hour", "6h": "Last 6 hours", "24h": "Last 24 hours", "7d": "Last 7 days", "30d": "Last 30 days", "90d": "Last 90 days",
};

function says(range: Range, zone: string): string {
  if (range.kind === "last") return SAYS[range.text] ?? `Last ${range.text}`;
  if (isAnyTime(range)) return "Any time";
  const at = (time: string) => timestamp(time, zone, 0).slice(0, 16);
  return `${at(range.since)} – ${range.until === null ? "now" : at(range.until)}`;
}

/** The range of time of all views. It stands in the address. */
export function RangePicker() {
  const { range, text } = useRange();
  const { zone } = usePrefs();
  const [{ mode }, change] = useAt<"range" | "mode">();
  const path = useRouterState({ select: (state) => state.location.pathname });
  // A view that is not about a range of time shows none.
  if (!(path in RANGES) || mode === "text" || mode === "sql") return null;
  return (
    <Menu label={`Range of time: ${says(range, zone)}`} button={<><Icon name="clock" /><span className="word">{says(range, zone)}</span><Icon name="down" /></>}>
      {(close) => (
        <>
          {PRESETS.map((preset) => (
            <button key={preset} type="button" className="menu-item" aria-pressed={preset === text}
              onClick={() => { close(); change({ range: preset }, { push: true }); }}>{SAYS[preset]}</button>
          ))}
          {OF_ANY_TIME.has(path) ? (
            <button type="button" className="menu-item" aria-pressed={text === ANY_TIME} onClick={() => { close(); change({ range: ANY_TIME }, { push: true }); }}>Any time</button>
          ) : null}
          <hr />
          <Between range={range} onChoose={(range) => { close(); change({ range }, { push: true }); }} />
        </>
      )}
    </Menu>
  );
}

function Between({ range, onChoose }: { range: Range; onChoose: (text: string) => void }) {
  const minute = (time: string) => `${time.slice(0, 16)}Z`;
  const [since, setSince] = useState(() => minute(range.kind === "between" ? range.since : new Date(Date.now() - range.ms).toISOString()));
  const [until, setUntil] = useState(range.kind === "between" && range.until ? minute(range.until) : "");
  const text = `${since}/${until}`;
  const isRight = parseRange(text) !== null;
  const show = (typed: string) => (instant(typed) === null && typed !== "" ? "true" : undefined);
  return (
    <form className="stack between" onSubmit={(event) => { event.preventDefault(); if (isRight) onChoose(text); }}>
      <div className="field"><label htmlFor="since">From (RFC 3339)</label><input id="since" className="input mono" value={since} aria-invalid={show(since)} onChange={(event) => setSince(event.target.value.trim())} /></div>
      <div className="field"><label htmlFor="until">Until; empty: now</label><input id="until" className="input mono" value={until} placeholder="now" aria-invalid={show(until)} onChange={(event) => setUntil(event.target.value.trim())} /></div>
      <div className="row"><span className="hint grow">{isRight ? "" : "A time has a zone: 2026-11-22T09:30Z"}</span><button type="submit" className="btn primary tiny" disabled={!isRight}>Apply</button></div>
    </form>
  );
}

/** The zone in which times are shown. */
export function ZonePicker() {
  const { zone } = usePrefs();
  const [typed, setTyped] = useState("");
  const short = zone === "UTC" ? "UTC" : zoneName(zone).split("/").at(-1)?.replaceAll("_", " ");
  return (
    <Menu label={`Time zone: ${zoneName(zone)}`} className="btn plain" title={`Times are shown in ${zoneName(zone)}`} button={<span className="small">{short}</span>}>
      {(close) => (
        <>
          <div className="menu-title">Times are shown in</div>
          {(["local", "UTC"] as const).map((each) => (
            <button key={each} type="button" className="menu-item" aria-pressed={zone === each} onClick={() => { setPrefs({ zone: each }); close(); }}>
              {each === "UTC" ? "UTC" : `This browser: ${zoneName("local")}`}
            </button>
          ))}
          <hr />
          <form className="field between" onSubmit={(event) => { event.preventDefault(); if (isZone(typed)) { setPrefs({ zone: typed }); close(); } }}>
            <label htmlFor="zone">Another zone</label>
            <input id="zone" className="input" list="zones" placeholder="Europe/Lisbon" value={typed} onChange={(event) => setTyped(event.target.value)} />
            <datalist id="zones">{Intl.supportedValuesOf("timeZone").map((each) => <option key={each} value={each} />)}</datalist>
          </form>
        </>
      )}
    </Menu>
  );
}
