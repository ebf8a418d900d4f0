import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { api, take } from "../api/client";
import { useSignOut } from "../api/session";
import { endsOf, warning, WARN_MS } from "../lib/ending";
import { span } from "../lib/time";
import { Icon } from "../ui/icons";
import { useSay } from "../ui/parts";

/** How often is asked when the sign-in ends; that does not count as use. */
const LOOK_MS = 60_000;
/** The same near the end: somebody may go on in another tab. */
const NEAR_MS = 10_000;
const SECOND = 1_000;

/** Says that the sign-in is about to end, and lets the reader go on. */
export function Ending() {
  const queries = useQueryClient();
  const say = useSay();
  const signOut = useSignOut();
  const { data } = useQuery({
    queryKey: ["ending"],
    queryFn: async ({ signal }) => {
      const { data, response } = await api.GET("/api/session", { signal });
      return endsOf(data ?? {}, response.headers.get("date"), Date.now());
    },
    refetchInterval: ({ state }) => (state.data && warning(state.data, Date.now() + LOOK_MS) ? NEAR_MS : LOOK_MS),
    refetchIntervalInBackground: true,
  });
  const now = useSeconds(data ? Math.min(data.idle ?? Infinity, data.whole ?? Infinity) - WARN_MS : Infinity);
  const told = data ? warning(data, now) : null;
  if (!told) return null;
  const goOn = async () => {
    try {
      await take(api.GET("/api/status"));
      await queries.invalidateQueries({ queryKey: ["ending"] });
    } catch (error) {
      say(error instanceof Error ? error.message : String(error), "bad");
    }
  };
  // The whole of it is an alert, and the seconds are not read out one by one.
  return (
    <div className="gone ending no-print" role="alert">
      <Icon name="clock" />
      <span className="grow">
        <strong>{told.kind === "idle" ? "Your sign-in ends, because nothing was asked for." : "Your sign-in ends: it is as old as one may be."}</strong>{" "}
        <span aria-hidden="true" className="num">{span(told.left)} left. </span>
        {told.kind === "idle" ? "What is open stays if you go on." : "Send what you are writing, and sign in again: this address stays."}
      </span>
      {told.kind === "idle"
        ? <button type="button" className="btn primary" onClick={() => void goOn()}>Go on</button>
        : <button type="button" className="btn primary" onClick={() => void signOut()}>Sign in again</button>}
    </div>
  );
}

/** The time: every second from a moment on, and before it seldom. */
function useSeconds(from: number): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout>;
    const tick = () => {
      setNow(Date.now());
      timer = setTimeout(tick, Date.now() < from ? Math.min(from - Date.now(), LOOK_MS) : SECOND);
    };
    tick();
    return () => clearTimeout(timer);
  }, [from]);
  return now;
}
