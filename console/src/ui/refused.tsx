import { useSessionQuery } from "../api/session";
import { plainLine } from "../lib/text";
import { Empty } from "./parts";

/** Said where an address leads to what the role of the reader does not allow. */
export function Refused({ what, needs }: { what: string; needs: string }) {
  const { data: session } = useSessionQuery();
  return <Empty icon="veil" title={`${plainLine(what)}: only with the role ${needs}`}>You are signed in with the role {session?.role ?? "of no name"}. Sign in with a key of the role {needs}, or ask whoever administers Watchkeeper.</Empty>;
}
