// Own line icons, 16 by 16.
const PATHS = {
  overview: "M2.5 9.5a5.5 5.5 0 1 1 11 0M8 9.5l2.6-2.9M2.5 12.5h11",
  live: "M1.5 8h2.8l1.7-4.5 3.4 9L11.2 8h3.3",
  detections: "M8 1.8l5 1.9v3.9c0 3.2-2 5.5-5 6.6-3-1.1-5-3.4-5-6.6V3.7zM8 5.2v3M8 10.6v.1",
  sessions: "M2.5 3.5h8v5.6h-5L2.5 11zM12.5 6.2h1v6.6l-2.3-1.6H7.3",
  search: "M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9zM10.4 10.4l3.4 3.4",
  entities: "M5.8 7.6a2.3 2.3 0 1 0 0-4.6 2.3 2.3 0 0 0 0 4.6zM1.8 13c.3-2.4 1.9-3.7 4-3.7s3.7 1.3 4 3.7M10.6 3.3a2.1 2.1 0 0 1 0 4M11.6 9.6c1.5.4 2.4 1.6 2.6 3.4",
  models: "M4.5 4.5h7v7h-7zM6.5 1.8v2.7M9.5 1.8v2.7M6.5 11.5v2.7M9.5 11.5v2.7M1.8 6.5h2.7M1.8 9.5h2.7M11.5 6.5h2.7M11.5 9.5h2.7",
  tokens: "M8 6.4c3 0 5-.9 5-2.1S11 2.2 8 2.2s-5 .9-5 2.1 2 2.1 5 2.1zM3 4.3v3.6C3 9.1 5 10 8 10s5-.9 5-2.1V4.3M3 7.9v3.7c0 1.2 2 2.1 5 2.1s5-.9 5-2.1V7.9",
  coverage: "M2.5 2.5h3v3h-3zM6.5 2.5h3v3h-3zM10.5 2.5h3v3h-3zM2.5 6.5h3v3h-3zM6.5 6.5h3v3h-3zM10.5 6.5h3v3h-3zM2.5 10.5h3v3h-3zM6.5 10.5h3v3h-3z",
  integrity: "M4 7V5a4 4 0 0 1 8 0v2M3 7h10v6.7H3zM8 9.7v1.6",
  settings: "M2.5 4.5h6M11.5 4.5h2M10 3v3M2.5 8h2M7.5 8h6M6 6.5v3M2.5 11.5h6M11.5 11.5h2M10 10v3",
  chevron: "M6 3.5L10.5 8 6 12.5",
  down: "M3.5 6L8 10.5 12.5 6",
  close: "M3.8 3.8l8.4 8.4M12.2 3.8l-8.4 8.4",
  check: "M3 8.4l3.2 3.2L13 4.8",
  copy: "M5.5 5.5h7.7v7.7H5.5zM3 10.5V3h7.5",
  warning: "M8 2.2l6.2 11H1.8zM8 6.4v3.2M8 11.5v.1",
  info: "M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8zM8 7.3v3.5M8 5.1v.1",
  clock: "M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8zM8 4.6V8l2.4 1.6",
  pause: "M5.5 3.5v9M10.5 3.5v9",
  play: "M4.5 3l8 5-8 5z",
  sun: "M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM8 1.5v1M8 13.5v1M1.5 8h1M13.5 8h1M3.4 3.4l.7.7M11.9 11.9l.7.7M12.6 3.4l-.7.7M4.1 11.9l-.7.7",
  moon: "M13.2 9.6A5.6 5.6 0 0 1 6.4 2.8a5.6 5.6 0 1 0 6.8 6.8z",
  user: "M8 8a2.7 2.7 0 1 0 0-5.4A2.7 2.7 0 0 0 8 8zM2.8 13.8c.4-2.7 2.4-4.1 5.2-4.1s4.8 1.4 5.2 4.1",
  menu: "M2.5 4.5h11M2.5 8h11M2.5 11.5h11",
  narrow: "M2.5 3h11v10h-11zM6.3 3v10M10.8 6.5L9.3 8l1.5 1.5",
  eye: "M1.5 8s2.4-4.3 6.5-4.3S14.5 8 14.5 8 12.1 12.3 8 12.3 1.5 8 1.5 8zM8 6.2a1.8 1.8 0 1 0 0 3.6 1.8 1.8 0 0 0 0-3.6z",
  veil: "M2 2l12 12M6.3 4a6 6 0 0 1 1.7-.3c4.1 0 6.5 4.3 6.5 4.3a12 12 0 0 1-1.9 2.4M4.1 5.2A11.6 11.6 0 0 0 1.5 8S3.9 12.3 8 12.3c1 0 1.9-.3 2.7-.6",
  mute: "M3 6h2.5L9 3v10L5.5 10H3zM11.5 6.3l3 3.4M14.5 6.3l-3 3.4",
  filter: "M2 3h12L9.5 8.3V13l-3-1.5V8.3z",
  link: "M6.7 9.3a2.6 2.6 0 0 0 3.7 0l2.3-2.3A2.6 2.6 0 0 0 9 3.3l-.8.8M9.3 6.7a2.6 2.6 0 0 0-3.7 0L3.3 9A2.6 2.6 0 0 0 7 12.7l.8-.8",
  download: "M8 2.5v7.2M4.9 6.9L8 10l3.1-3.1M2.8 13h10.4",
  seal: "M8 1.7l1.7 1.2 2.1 0 .6 2 1.7 1.2-.7 2 .7 2-1.7 1.2-.6 2-2.1 0L8 14.5l-1.7-1.2-2.1 0-.6-2L1.9 10.1l.7-2-.7-2 1.7-1.2.6-2 2.1 0zM5.7 8.2l1.6 1.6 3-3.3",
  note: "M3 2.5h10v8L10 13.5H3zM10 13.5v-3h3M5.5 5.5h5M5.5 8h3",
  flow: "M2 4.5a1.5 1.5 0 1 0 3 0 1.5 1.5 0 1 0-3 0M11 4.5a1.5 1.5 0 1 0 3 0 1.5 1.5 0 1 0-3 0M6.5 12a1.5 1.5 0 1 0 3 0 1.5 1.5 0 1 0-3 0M5 4.5h6M4.2 5.8l2.9 4.9M11.8 5.8L8.9 10.7",
  waterfall: "M2.5 3.5h5M5 6.5h6M7 9.5h4M8.5 12.5h5",
  tool: "M9.8 2.4a3.3 3.3 0 0 0-3 4.4L2.5 11.1l2.4 2.4 4.3-4.3a3.3 3.3 0 0 0 4.3-4l-2 2-2-.6-.6-2 2-2a3.3 3.3 0 0 0-1.1-.2z",
  out: "M9.5 2.5h-6v11h6M6.5 8h7.5M11.2 5.2L14 8l-2.8 2.8",
  plus: "M8 3v10M3 8h10",
  trash: "M3 4.5h10M6.3 4.5V2.8h3.4v1.7M4.3 4.5l.6 9h6.2l.6-9",
  keyboard: "M1.5 4.5h13v7.5h-13zM4 7h.1M6.7 7h.1M9.3 7h.1M12 7h.1M5 9.7h6",
  refresh: "M13 3v3.4H9.6M3 13V9.6h3.4M12.7 6.2A5 5 0 0 0 4 4.6L3 5.8M3.3 9.8a5 5 0 0 0 8.7 1.6l1-1.2",
  columns: "M2.5 3h11v10h-11zM8 3v10",
} as const;

export type IconName = keyof typeof PATHS;

/** What stands for a kind of event. */
export const KIND_ICON: Readonly<Record<string, IconName>> = {
  model_call: "models", tool_call: "tool", retrieval: "search", guardrail: "detections", agent_step: "flow", external_call: "out", data_access: "eye",
  admin: "settings", session: "user", gap: "warning", detection: "detections", evaluation: "check", system_prompt: "note", installation: "download",
  response_action: "check",
};

/** A picture beside a word; it says nothing by itself. */
export function Icon({ name, className }: { name: IconName; className?: string }) {
  return (
    <svg className={className ? `icon ${className}` : "icon"} viewBox="0 0 16 16" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}

/** The sign of the product: a watch, and the light in it. */
export function Sign() {
  return (
    <svg viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <rect width="32" height="32" rx="8" className="sign-ground" />
      <circle cx="16" cy="16" r="8.5" className="sign-ring" />
      <path d="M16 4.5v4M16 23.5v4M4.5 16h4M23.5 16h4" className="sign-ring" />
      <circle cx="16" cy="16" r="2.6" className="sign-light" />
    </svg>
  );
}
