import { createContext, useCallback, useContext, useEffect, useId, useLayoutEffect, useRef, useState, type ReactNode } from "react";
import { Icon, type IconName } from "./icons";
import { KEYS, type KeyName } from "../lib/keys";
import { keyName } from "../lib/shortcuts";
import { plainLine } from "../lib/text";
import { Rec } from "./text";
import { isWorthAsking, problemOf } from "../api/problem";

/** How bad something is, as shape, word and colour: none of them alone. */
export type Severity = "informational" | "low" | "medium" | "high" | "critical";
export const SEVERITIES: readonly Severity[] = ["critical", "high", "medium", "low", "informational"];
export const isSeverity = (text: string | null | undefined): text is Severity => SEVERITIES.includes(text as Severity);

const SHAPES: Readonly<Record<Severity, string>> = {
  critical: "M6 .6l5 9.9H1zM6 0",
  high: "M6 .8l5.2 5.2L6 11.2.8 6z",
  medium: "M1.5 1.5h9v9h-9z",
  low: "M6 1.2a4.8 4.8 0 1 0 0 9.6 4.8 4.8 0 0 0 0-9.6z",
  informational: "M6 2.2a3.8 3.8 0 1 0 0 7.6 3.8 3.8 0 0 0 0-7.6zm0 1.6a2.2 2.2 0 1 1 0 4.4 2.2 2.2 0 0 1 0-4.4z",
};

export function Sev({ of, word = true }: { of: string | null | undefined; word?: boolean }) {
  if (!isSeverity(of)) return <span className="faint">–</span>;
  const name = of === "informational" ? "Info" : of;
  return (
    <span className={`sev c-${of}`} title={word ? undefined : name}>
      <svg viewBox="0 0 12 12" aria-hidden="true"><path d={SHAPES[of]} fill="currentColor" fillRule="evenodd" /></svg>
      {word ? name : <span className="unseen">{name}</span>}
    </span>
  );
}

const GRADES = ["seen", "acted_on", "reached"] as const;
const GRADE_SAYS: Readonly<Record<string, string>> = {
  seen: "Seen: the instruction was in what the agent read",
  acted_on: "Acted on: a call of the agent followed it",
  reached: "Reached: the call went through",
};

/** How far an injection got. */
export function Grade({ of }: { of: string | null | undefined }) {
  const at = GRADES.indexOf(of as (typeof GRADES)[number]);
  if (at < 0) return null;
  return (
    <span className={`grade ${of}`} title={GRADE_SAYS[of ?? ""]}>
      <i aria-hidden="true">{GRADES.map((grade, index) => <b key={grade} className={index <= at ? "on" : ""} />)}</i>
      {(of ?? "").replace("_", " ")}
    </span>
  );
}

export function Badge({ tone = "", square = false, children, title }: { tone?: string; square?: boolean; children: ReactNode; title?: string }) {
  return <span className={`badge ${tone}${square ? " square" : ""}`} title={title === undefined ? undefined : plainLine(title)}>{children}</span>;
}

export function Panel({ title, end, children, flush, className, label }: {
  title?: ReactNode; end?: ReactNode; children: ReactNode; flush?: boolean; className?: string; label?: string;
}) {
  const id = useId();
  return (
    <section className={className ? `panel ${className}` : "panel"} aria-labelledby={title ? id : undefined} aria-label={title ? undefined : label}>
      {title ? (
        <header>
          <h2 id={id}>{title}</h2>
          {end ? <div className="row end">{end}</div> : null}
        </header>
      ) : null}
      <div className={flush ? "panel-body flush" : "panel-body"}>{children}</div>
    </section>
  );
}

export function PageHead({ title, children, end }: { title: ReactNode; children?: ReactNode; end?: ReactNode }) {
  return (
    <div className="page-head">
      <div>
        <h1>{title}</h1>
        {children ? <p>{children}</p> : null}
      </div>
      {end ? <div className="row-wrap">{end}</div> : null}
    </div>
  );
}

/** What a view says when it has nothing to show: why, and what would change that. */
export function Empty({ icon = "info", title, children, command }: { icon?: IconName; title: string; children?: ReactNode; command?: string }) {
  return (
    <div className="empty">
      <Icon name={icon} />
      <h3>{title}</h3>
      {children ? <p>{children}</p> : null}
      {command ? <Command text={command} /> : null}
    </div>
  );
}

/** A command of ours to copy. */
export function Command({ text }: { text: string }) {
  return (
    <div className="command">
      <code>{text}</code>
      <Copy text={text} what="command" />
    </div>
  );
}

export function Copy({ text, what }: { text: string; what: string }) {
  const [isCopied, setCopied] = useState(false);
  const say = useSay();
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setCopied(true);
      setTimeout(() => setCopied(false), 1500);
    } catch {
      say(`This browser does not let the console copy the ${what}. Select it and copy it by hand.`, "bad");
    }
  };
  return (
    <button type="button" className="btn plain tiny icon" onClick={() => void copy()} title={`Copy the ${what}`} aria-label={`Copy the ${what}`}>
      <Icon name={isCopied ? "check" : "copy"} />
    </button>
  );
}

/** An error, with what to do about it. */
export function Problem({ error, retry }: { error: unknown; retry?: () => void }) {
  const { title, says } = problemOf(error);
  return (
    <div className="problem" role="alert">
      <Icon name="warning" />
      <div className="grow stack-tight">
        <strong>{title}</strong>
        <Rec text={says} max={600} className="soft" />
      </div>
      {retry && isWorthAsking(error) ? <button type="button" className="btn tiny" onClick={retry}>Try again</button> : null}
    </div>
  );
}

export function Loading({ lines = 6 }: { lines?: number }) {
  return (
    <div className="skeleton" role="status" aria-label="Loading">
      {Array.from({ length: lines }, (_, index) => <i key={index} />)}
    </div>
  );
}

const FIELD = ":is(input, select, textarea):not(:disabled)";

/** Where somebody goes on in a dialog: its first field, or the choice that is made there, or else its first button. */
function beginIn(dialog: HTMLDialogElement): void {
  const field = dialog.querySelector<HTMLElement>(`.dialog-body ${FIELD}`);
  const made = field instanceof HTMLInputElement && field.type === "radio" ? dialog.querySelector<HTMLElement>(`.dialog-body [name="${CSS.escape(field.name)}"]:checked`) : null;
  (made ?? field ?? dialog.querySelector<HTMLElement>(".dialog-foot button"))?.focus();
}

/** The key of a button, for the eye: its name stays what is written on it. */
export const KeyOf = ({ of }: { of: KeyName }) => <kbd className="single" aria-hidden="true">{keyName(KEYS[of].keys)}</kbd>;

/** A dialog: it begins in its first field, focus stays in it, Escape closes it and gives the focus back. */
export function Dialog({ title, onClose, children, foot, className, isFirm = false }: {
  title: ReactNode; onClose: () => void; children: ReactNode; foot?: ReactNode; className?: string;
  /** Whether its own buttons alone close it: Escape only tells, by `onClose`. */
  isFirm?: boolean;
}) {
  const ref = useRef<HTMLDialogElement>(null);
  const id = useId();
  // Before the dialog leaves the page it is closed: that gives the focus back to where it was.
  useLayoutEffect(() => {
    const dialog = ref.current;
    if (dialog && !dialog.open) {
      dialog.showModal();
      beginIn(dialog);
    }
    return () => dialog?.close();
  }, []);
  return (
    // A click on the backdrop closes it, as Escape does.
    // oxlint-disable-next-line jsx-a11y/click-events-have-key-events, jsx-a11y/no-noninteractive-element-interactions
    <dialog ref={ref} className={className} aria-labelledby={id} onCancel={(event) => { event.preventDefault(); onClose(); }}
      // A browser closes it at the second Escape, whatever is said to the first: unless the key itself is taken.
      onKeyDown={(event) => { if (isFirm && event.key === "Escape") { event.preventDefault(); onClose(); } }}
      onClick={(event) => { if (!isFirm && event.target === ref.current) onClose(); }}>
      <div className="dialog-head">
        <h2 id={id} className="grow">{title}</h2>
        {isFirm ? null : <button type="button" className="btn plain icon" onClick={onClose} aria-label="Close the dialog"><Icon name="close" /></button>}
      </div>
      <div className="dialog-body">{children}</div>
      {foot ? <div className="dialog-foot">{foot}</div> : null}
    </dialog>
  );
}

/** A button with what it opens below it. */
export function Menu({ label, button, children, className = "btn", title }: {
  label?: string; button: ReactNode; children: (close: () => void) => ReactNode; className?: string; title?: string;
}) {
  const id = useId();
  const anchor = useRef<HTMLButtonElement>(null);
  const popover = useRef<HTMLDivElement>(null);
  const [isOpen, setOpen] = useState(false);
  const close = useCallback(() => popover.current?.hidePopover(), []);
  const place = useCallback(() => {
    const [from, menu] = [anchor.current?.getBoundingClientRect(), popover.current];
    if (!from || !menu) return;
    menu.style.top = `${Math.min(from.bottom + 4, window.innerHeight - menu.offsetHeight - 8)}px`;
    menu.style.left = `${Math.max(8, Math.min(from.left, window.innerWidth - menu.offsetWidth - 8))}px`;
  }, []);
  useEffect(() => {
    if (isOpen) place();
  }, [isOpen, place]);
  return (
    <>
      <button ref={anchor} type="button" className={className} popoverTarget={id} aria-haspopup="dialog" aria-expanded={isOpen} aria-label={label} title={title}>
        {button}
      </button>
      <div ref={popover} id={id} popover="auto" className="menu" onToggle={(event) => setOpen(event.newState === "open")}>
        {isOpen ? children(close) : null}
      </div>
    </>
  );
}

// Short messages of what was done, read out by assistive technology.
type Say = (text: string, tone?: "good" | "bad") => void;
const Saying = createContext<Say>(() => undefined);
export const useSay = (): Say => useContext(Saying);
const TOAST_MS = 5_000;

export function Toasts({ children }: { children: ReactNode }) {
  const [toasts, setToasts] = useState<{ id: number; text: string; tone: "good" | "bad" }[]>([]);
  const next = useRef(0);
  const say = useCallback<Say>((text, tone = "good") => {
    next.current += 1;
    const id = next.current;
    setToasts((before) => [...before.slice(-3), { id, text, tone }]);
    setTimeout(() => setToasts((before) => before.filter((toast) => toast.id !== id)), TOAST_MS);
  }, []);
  return (
    <Saying.Provider value={say}>
      {children}
      <div className="toasts" role="status" aria-live="polite">
        {toasts.map((toast) => (
          <div key={toast.id} className={toast.tone === "bad" ? "toast bad" : "toast"}>
            <Icon name={toast.tone === "bad" ? "warning" : "check"} className={toast.tone === "bad" ? "c-critical" : "c-good"} />
            <span className="grow"><Rec text={toast.text} /></span>
          </div>
        ))}
      </div>
    </Saying.Provider>
  );
}

/** Small tabs, or a choice of few. */
export function Choice<T extends string>({ label, value, options, onChoose }: {
  label: string; value: T; options: readonly { value: T; says: ReactNode }[]; onChoose: (value: T) => void;
}) {
  return (
    <div className="toggle" role="group" aria-label={label}>
      {options.map((option) => (
        <button key={option.value} type="button" className="btn" aria-pressed={option.value === value} onClick={() => onChoose(option.value)}>
          {option.says}
        </button>
      ))}
    </div>
  );
}

/** A filter that is set, with the way to take it off. */
export function FilterChip({ name, value, onRemove }: { name: string; value: string; onRemove: () => void }) {
  return (
    <span className="chip">
      {name}
      <span className="cut"><Rec text={value} max={60} /></span>
      <button type="button" onClick={onRemove} aria-label={`Remove the filter ${name}`}><Icon name="close" /></button>
    </span>
  );
}

/** What one types, begun with a value of the address and begun anew whenever that changes. */
export function useDraft(value: string): [string, (text: string) => void] {
  const [draft, setDraft] = useState({ value, text: value });
  if (draft.value !== value) {
    setDraft({ value, text: value });
    return [value, (text) => setDraft({ value, text })];
  }
  return [draft.text, (text) => setDraft({ value, text })];
}

/** Milliseconds without a key after which what was typed counts. */
const PAUSE_MS = 120;

/** The same, told after a pause. */
export function useTyped(value: string, settle: (text: string) => void): [string, (text: string) => void] {
  const [text, setText] = useDraft(value);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const type = (text: string) => {
    setText(text);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => settle(text), PAUSE_MS);
  };
  return [text, type];
}
