import { Link, Outlet, useNavigate, useRouterState } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { useSignOut, type Session } from "../api/session";
import { setPrefs, usePrefs } from "../lib/prefs";
import { bind, bindTo, keyName, useShortcuts } from "../lib/shortcuts";
import { Icon, Sign } from "../ui/icons";
import { KeyOf, Menu } from "../ui/parts";
import { Rec } from "../ui/text";
import { Ending } from "./Ending";
import { Help } from "./Help";
import { Gone, OpenCount, RecordSign } from "./RecordSign";
import { Palette } from "./Palette";
import { PLACES, SETTINGS } from "./nav";
import { RangePicker, ZonePicker } from "./TimePicker";

/** The frame of all views. */
export function Shell({ session }: { session: Session }) {
  const { navIsNarrow, theme } = usePrefs();
  const path = useRouterState({ select: (state) => state.location.pathname });
  const isBusy = useRouterState({ select: (state) => state.isLoading });
  // Where the navigation was opened: going elsewhere closes it.
  const [openAt, setOpenAt] = useState<string | null>(null);
  const isOpen = openAt === path;
  const [over, setOver] = useState<"palette" | "help" | null>(null);
  const navigate = useNavigate();
  const signOut = useSignOut();

  const place = [...PLACES.flatMap((group) => group.places), SETTINGS].find((place) => place.to === path)?.name ?? (path === "/trace" ? "Trace" : path === "/entity" ? "Entity" : "");
  useEffect(() => {
    document.title = place === "" ? "Watchkeeper" : `${place} · Watchkeeper`;
  }, [place]);
  const go = (to: string) => void navigate({ to });
  const places = [...PLACES.flatMap((group) => group.places), SETTINGS].filter((place) => session.permissions.includes(place.needs));
  useShortcuts([
    bind("find", () => setOver("palette")),
    bind("findToo", () => setOver("palette")),
    bind("help", () => setOver("help")),
    ...places.map((place) => bindTo(place, () => go(place.to))),
  ]);

  return (
    <div className={`shell${navIsNarrow ? " narrow-nav" : ""}${isOpen ? " nav-open" : ""}`}>
      <a className="skip btn" href="#main" onClick={(event) => { event.preventDefault(); document.getElementById("main")?.focus(); }}>Skip to the content</a>
      <nav className="nav" aria-label="Views">
        <Link to="/" className="brand" aria-label="Watchkeeper, overview"><Sign /><span className="word">Watchkeeper</span></Link>
        {PLACES.map((group) => (
          <div key={group.title} role="group" aria-label={group.title}>
            <div className="nav-title" aria-hidden="true">{group.title}</div>
            {group.places.filter((place) => session.permissions.includes(place.needs)).map((place) => (
              <Link key={place.to} to={place.to} className="nav-link" title={`${place.name}: ${place.says}`} activeOptions={{ exact: place.to === "/", includeSearch: false }}>
                <Icon name={place.icon} /><span className="word">{place.name}</span>
                {place.to === "/detections" ? <OpenCount /> : null}
              </Link>
            ))}
          </div>
        ))}
        <div className="nav-foot">
          <Link to={SETTINGS.to} className="nav-link" title={SETTINGS.says}><Icon name={SETTINGS.icon} /><span className="word">{SETTINGS.name}</span></Link>
          <button type="button" className="btn plain icon no-print" onClick={() => setPrefs({ navIsNarrow: !navIsNarrow })} aria-pressed={navIsNarrow}
            aria-label="Narrow navigation" title="Narrow navigation"><Icon name="narrow" /></button>
        </div>
      </nav>
      {isOpen ? <button type="button" className="nav-scrim" aria-label="Close the navigation" onClick={() => setOpenAt(null)} /> : null}
      <header className="bar">
        <button type="button" className="btn plain icon only-narrow" aria-label="Open the navigation" aria-expanded={isOpen} onClick={() => setOpenAt(path)}><Icon name="menu" /></button>
        <button type="button" className="btn find" onClick={() => setOver("palette")} aria-label="Find and go anywhere" aria-keyshortcuts="Control+K Meta+K">
          <Icon name="search" /><span className="word cut">Find and go anywhere</span><kbd className="word">{keyName("Mod+k")}</kbd>
        </button>
        <div className="bar-end">
          <RecordSign />
          <RangePicker />
          <ZonePicker />
          <Menu label="Your account" className="btn plain icon" button={<Icon name="user" />}>
            {(close) => (
              <>
                <div className="menu-title">Signed in as</div>
                <div className="menu-item"><span className="grow stack-tight"><strong><Rec text={session.key_name ?? session.key_id} /></strong><span className="small faint">{session.role} · <Rec text={session.key_id} /></span></span></div>
                <hr />
                <div className="menu-title">Theme</div>
                {(["system", "light", "dark"] as const).map((each) => (
                  <button key={each} type="button" className="menu-item" aria-pressed={theme === each} onClick={() => setPrefs({ theme: each })}>
                    <Icon name={each === "dark" ? "moon" : each === "light" ? "sun" : "settings"} />{each === "system" ? "As the system" : each === "light" ? "Light" : "Dark"}
                  </button>
                ))}
                <hr />
                <button type="button" className="menu-item" onClick={() => { close(); setOver("help"); }}><Icon name="keyboard" />Keys<span className="end"><KeyOf of="help" /></span></button>
                <button type="button" className="menu-item" onClick={() => { close(); void signOut(); }}><Icon name="out" />Sign out</button>
              </>
            )}
          </Menu>
        </div>
      </header>
      <main className="main" id="main" tabIndex={-1} aria-busy={isBusy}><Gone /><Ending /><Outlet /></main>
      {over === "palette" ? <Palette places={places} onClose={() => setOver(null)} onHelp={() => setOver("help")} /> : null}
      {over === "help" ? <Help onClose={() => setOver(null)} /> : null}
    </div>
  );
}
