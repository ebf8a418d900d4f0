import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useEffect, useMemo, useRef, useState } from "react";
import { api, take } from "../api/client";
import { useMay } from "../api/session";
import { ask } from "../lib/asked";
import { setPrefs, usePrefs } from "../lib/prefs";
import { Icon, type IconName } from "../ui/icons";
import { Rec } from "../ui/text";
import type { Place } from "./nav";

interface Entry {
  readonly group: string;
  readonly icon: IconName;
  readonly name: string;
  readonly says?: string;
  readonly run: () => void;
}

/** How many of a kind are offered. */
const FOUND_MAX = 5;
/** How long nothing is typed before the server is asked. */
const PAUSE_MS = 180;

/** What was typed, when no more was typed for a while. */
function useRested(text: string): string {
  const [rested, setRested] = useState(text);
  useEffect(() => {
    const timer = setTimeout(() => setRested(text), PAUSE_MS);
    return () => clearTimeout(timer);
  }, [text]);
  return rested;
}

const ID = /^(?:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32})$/i;

/** Find and go anywhere: views, ids, texts, settings of the page. */
export function Palette({ places, onClose, onHelp }: { places: readonly Place[]; onClose: () => void; onHelp: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [typed, setTyped] = useState("");
  const [at, setAt] = useState(0);
  const navigate = useNavigate();
  const { theme, density } = usePrefs();
  const mayRead = useMay("content.read");
  useEffect(() => {
    dialog.current?.showModal();
  }, []);

  const rested = useRested(typed.trim());
  const { data: entities } = useQuery({
    queryKey: ["palette", "entities", rested],
    queryFn: ({ signal }) => take(api.GET("/api/entities", { signal, params: { query: { q: rested, limit: FOUND_MAX } } })),
    enabled: rested.length > 1,
    staleTime: 30_000,
    placeholderData: (before) => before,
  });
  const { data: sessions } = useQuery({
    queryKey: ["palette", "sessions", rested],
    queryFn: ({ signal }) => take(api.GET("/api/sessions", { signal, params: { query: { q: rested, limit: FOUND_MAX } } })),
    enabled: rested.length > 1 && !/\s/.test(rested),
    staleTime: 30_000,
  });
  // The same answer as that of Settings, Rules.
  const { data: rules } = useQuery({ queryKey: ["rules"], queryFn: ({ signal }) => take(api.GET("/api/rules", { signal })), staleTime: 60_000, enabled: rested.length > 1 });

  const entries = useMemo((): Entry[] => {
    const q = typed.trim();
    const go = (to: string, search: Record<string, string> = {}) => () => void navigate({ to, search: search as never });
    const has = (text: string) => text.toLowerCase().includes(q.toLowerCase());
    const found: Entry[] = [];
    if (q !== "") {
      if (ID.test(q)) {
        found.push({ group: "Open", icon: "flow", name: `Trace, session or event ${q}`, run: go("/trace", { id: q }) });
        found.push({ group: "Open", icon: "detections", name: `Detection ${q}`, run: go("/detections", { id: q }) });
      }
      if (q.length > 1) {
        for (const { session_id: id } of (sessions?.rows ?? []).filter((row) => has(row.session_id))) found.push({ group: "Sessions of the last day", icon: "flow", name: id, says: "session", run: go("/trace", { id }) });
        for (const { kind, name } of (entities?.rows ?? []).filter((row) => has(row.name))) {
          found.push({ group: "Users, agents, tools and models", icon: kind === "user" ? "user" : kind === "model" ? "models" : "entities", name, says: kind, run: go("/entity", { kind, name }) });
        }
        for (const rule of (rules?.rows ?? []).filter((row) => has(row.title) || has(row.id)).slice(0, FOUND_MAX)) {
          found.push({ group: "Rules", icon: "detections", name: rule.title, says: rule.id, run: go("/settings", { tab: "rules", rule: rule.id }) });
        }
      }
      found.push({ group: "Look for it", icon: "detections", name: `“${q}” in detections`, run: go("/detections", { q }) });
      if (mayRead) found.push({ group: "Look for it", icon: "search", name: `“${q}” in what was said`, run: () => { ask("words", q); go("/search", { mode: "text", q })(); } });
      found.push({ group: "Look for it", icon: "entities", name: `“${q}” among entities`, run: go("/entities", { q }) });
    }
    for (const place of places) {
      if (has(place.name) || has(place.says)) found.push({ group: "Go to", icon: place.icon, name: place.name, says: place.says, run: go(place.to) });
    }
    const page: Entry[] = [
      { group: "This page", icon: theme === "dark" ? "sun" : "moon", name: theme === "dark" ? "Light theme" : "Dark theme", run: () => setPrefs({ theme: theme === "dark" ? "light" : "dark" }) },
      { group: "This page", icon: "settings", name: "Theme of the system", run: () => setPrefs({ theme: "system" }) },
      { group: "This page", icon: "columns", name: density === "normal" ? "Compact rows" : "Roomy rows", run: () => setPrefs({ density: density === "normal" ? "compact" : "normal" }) },
      { group: "This page", icon: "clock", name: "Times in UTC", run: () => setPrefs({ zone: "UTC" }) },
      { group: "This page", icon: "clock", name: "Times in this browser's zone", run: () => setPrefs({ zone: "local" }) },
      { group: "This page", icon: "keyboard", name: "Keys", run: onHelp },
    ];
    const isName = q !== "" && !ID.test(q) && !/\s/.test(q);
    return [...found, ...page.filter((entry) => has(entry.name)), ...(isName ? [{ group: "Open by its id", icon: "flow", name: `Session or trace ${q}`, run: go("/trace", { id: q }) } as const] : [])];
  }, [typed, places, navigate, theme, density, mayRead, onHelp, entities, rules, sessions]);

  const run = (entry: Entry | undefined) => {
    if (!entry) return;
    onClose();
    entry.run();
  };
  const chosen = Math.min(at, entries.length - 1);
  useEffect(() => {
    dialog.current?.querySelector(`[data-at="${chosen}"]`)?.scrollIntoView({ block: "nearest" });
  }, [chosen]);
  return (
    // oxlint-disable-next-line jsx-a11y/click-events-have-key-events, jsx-a11y/no-noninteractive-element-interactions
    <dialog ref={dialog} className="palette" aria-label="Find and go anywhere" onCancel={(event) => { event.preventDefault(); onClose(); }}
      onClick={(event) => { if (event.target === dialog.current) onClose(); }}>
      <input role="combobox" aria-expanded="true" aria-controls="palette-list" aria-activedescendant={`palette-${chosen}`} aria-label="What to find"
        placeholder="A view, an id, a word…" value={typed} autoFocus={true} autoComplete="off" spellCheck={false}
        onChange={(event) => { setTyped(event.target.value); setAt(0); }}
        onKeyDown={(event) => {
          const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
          if (step !== undefined) {
            event.preventDefault();
            setAt((chosen + step + entries.length) % Math.max(entries.length, 1));
          } else if (event.key === "Enter") {
            event.preventDefault();
            run(entries[chosen]);
          }
        }} />
      <div id="palette-list" className="palette-list" role="listbox" aria-label="Found">
        {entries.map((entry, index) => (
          <div key={`${entry.group} ${entry.says ?? ""} ${entry.name}`} role="presentation">
            {index === 0 || entries[index - 1]?.group !== entry.group ? <div className="group">{entry.group}</div> : null}
            {/* oxlint-disable-next-line jsx-a11y/click-events-have-key-events */}
            <div id={`palette-${index}`} data-at={index} role="option" tabIndex={-1} aria-selected={index === chosen} className="palette-entry" onClick={() => run(entry)} onMouseMove={() => setAt(index)}>
              <Icon name={entry.icon} /><Rec text={entry.name} className="nowrap" />{entry.says ? <span className="faint cut">{entry.says}</span> : null}
            </div>
          </div>
        ))}
      </div>
    </dialog>
  );
}
