import { createRootRoute, createRoute, createRouter, lazyRouteComponent, retainSearchParams, useRouter, type AnyRoute, type ErrorComponentProps } from "@tanstack/react-router";
import { useState } from "react";
import { signInOf, useSessionQuery } from "./api/session";
import { params, parseSearch, stringifySearch } from "./lib/at";
import { Shell } from "./shell/Shell";
import { SignIn } from "./shell/SignIn";
import { Empty, Loading, Problem } from "./ui/parts";
import { COVERAGE, DETECTIONS, ENTITIES, ENTITY, INTEGRITY, LIVE, SEARCH, SESSIONS, SETTINGS, TOKENS, TRACE } from "./views/names";

function Root() {
  const { data: session, error, isPending, refetch } = useSessionQuery();
  const [was, setWas] = useState(false);
  if (session && !was) setWas(true);
  if (session) return <Shell key={signInOf(session)} session={session} />;
  if (error) return <main className="sign-in"><Problem error={error} retry={() => void refetch()} /></main>;
  if (isPending) return null;
  return <SignIn wasSignedIn={was} />;
}

function NotFound() {
  return <div className="page"><Empty icon="search" title="There is no such view">The address is of another version of the console, or has a slip in it.</Empty></div>;
}

function Failed({ error }: ErrorComponentProps) {
  const router = useRouter();
  return <div className="page"><Problem error={error} retry={() => void router.invalidate()} /></div>;
}

const root = createRootRoute({ component: Root, validateSearch: params("range"), search: { middlewares: [retainSearchParams(["range"]) as never] } });
const at = <Path extends string>(path: Path, names: readonly string[], component: ReturnType<typeof lazyRouteComponent>) =>
  createRoute({ getParentRoute: () => root, path, validateSearch: params(...names) as never, component }) as unknown as AnyRoute;

/** The views: what their addresses may hold, and their code, in the order in which they are likely to be opened. */
const VIEWS = {
  "/": { names: [], view: lazyRouteComponent(() => import("./views/overview/Overview"), "OverviewView") },
  "/live": { names: LIVE, view: lazyRouteComponent(() => import("./views/live/Live"), "Live") },
  "/detections": { names: DETECTIONS, view: lazyRouteComponent(() => import("./views/detections/Detections"), "Detections") },
  "/sessions": { names: SESSIONS, view: lazyRouteComponent(() => import("./views/sessions/Sessions"), "Sessions") },
  "/trace": { names: TRACE, view: lazyRouteComponent(() => import("./views/trace/TraceView"), "TraceView") },
  "/search": { names: SEARCH, view: lazyRouteComponent(() => import("./views/search/Search"), "Search") },
  "/entities": { names: ENTITIES, view: lazyRouteComponent(() => import("./views/entities/Entities"), "Entities") },
  "/entity": { names: ENTITY, view: lazyRouteComponent(() => import("./views/entities/Entity"), "EntityView") },
  "/models": { names: [], view: lazyRouteComponent(() => import("./views/models/Models"), "Models") },
  "/tokens": { names: TOKENS, view: lazyRouteComponent(() => import("./views/tokens/Tokens"), "Tokens") },
  "/coverage": { names: COVERAGE, view: lazyRouteComponent(() => import("./views/coverage/Coverage"), "Coverage") },
  "/integrity": { names: INTEGRITY, view: lazyRouteComponent(() => import("./views/integrity/Integrity"), "IntegrityView") },
  "/settings": { names: SETTINGS, view: lazyRouteComponent(() => import("./views/settings/Settings"), "Settings") },
} as const;

/** Loads the code of the view of a path. */
export async function loadView(path: string): Promise<void> {
  const of = Object.entries(VIEWS).find(([each]) => each === path)?.[1];
  await of?.view.preload?.();
}


const routes = Object.entries(VIEWS).map(([path, { names, view }]) => at(path, names, view));

export const router = createRouter({
  routeTree: root.addChildren(routes),
  parseSearch,
  stringifySearch,
  defaultPreload: "intent",
  defaultPendingComponent: () => <div className="page"><Loading lines={10} /></div>,
  defaultNotFoundComponent: NotFound,
  defaultErrorComponent: Failed,
  scrollRestoration: false,
});
