import type { Permission } from "../api/session";
import type { IconName } from "../ui/icons";

export interface Place {
  readonly to: string;
  readonly name: string;
  readonly icon: IconName;
  readonly says: string;
  /** The second key after `g`. */
  readonly key: string;
  readonly needs: Permission;
}

/** Where one can go. */
export const PLACES: readonly { readonly title: string; readonly places: readonly Place[] }[] = [
  {
    title: "Watch",
    places: [
      { to: "/", name: "Overview", icon: "overview", says: "what happened, what needs somebody, whether the record is whole", key: "o", needs: "record.read" },
      { to: "/live", name: "Live", icon: "live", says: "events as they come in", key: "l", needs: "record.read" },
      { to: "/detections", name: "Detections", icon: "detections", says: "triage", key: "d", needs: "record.read" },
    ],
  },
  {
    title: "Record",
    places: [
      { to: "/sessions", name: "Sessions", icon: "sessions", says: "conversations and runs of agents", key: "s", needs: "record.read" },
      { to: "/search", name: "Search", icon: "search", says: "events, texts, SQL", key: "f", needs: "record.read" },
    ],
  },
  {
    title: "Insight",
    places: [
      { to: "/entities", name: "Entities", icon: "entities", says: "users, agents, applications, tools, models and their risk", key: "e", needs: "record.read" },
      { to: "/models", name: "Models", icon: "models", says: "latency, errors, refusals, evaluations, drift", key: "m", needs: "record.read" },
      { to: "/tokens", name: "Tokens", icon: "tokens", says: "who uses how much", key: "t", needs: "record.read" },
    ],
  },
  {
    title: "Assurance",
    places: [
      { to: "/coverage", name: "Coverage", icon: "coverage", says: "ATLAS techniques and the rules that see them", key: "c", needs: "record.read" },
      { to: "/integrity", name: "Integrity", icon: "integrity", says: "verify the record in this browser", key: "i", needs: "record.read" },
    ],
  },
];

export const SETTINGS: Place = { to: "/settings", name: "Settings", icon: "settings", says: "you, keys, rules, retention", key: ",", needs: "record.read" };
