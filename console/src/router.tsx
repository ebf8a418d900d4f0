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

const routes = [
  at("/", [], lazyRouteComponent(() => import("./views/overview/Overview"), "OverviewView")),
  at("/live", LIVE, lazyRouteComponent(() => import("./views/live/Live"), "Live")),
  at("/detections", DETECTIONS, lazyRouteComponent(() => import("./views/detections/Detections"), "Detections")),
  at("/sessions", SESSIONS, lazyRouteComponent(() => import("./views/sessions/Sessions"), "Sessions")),
  at("/trace", TRACE, lazyRouteComponent(() => import("./views/trace/TraceView"), "TraceView")),
  at("/search", SEARCH, lazyRouteComponent(() => import("./views/search/Search"), "Search")),
  at("/entities", ENTITIES, lazyRouteComponent(() => import("./views/entities/Entities"), "Entities")),
  at("/entity", ENTITY, lazyRouteComponent(() => import("./views/entities/Entity"), "EntityView")),
  at("/models", [], lazyRouteComponent(() => import("./views/models/Models"), "Models")),
  at("/tokens", TOKENS, lazyRouteComponent(() => import("./views/tokens/Tokens"), "Tokens")),
  at("/coverage", COVERAGE, lazyRouteComponent(() => import("./views/coverage/Coverage"), "Coverage")),
  at("/integrity", INTEGRITY, lazyRouteComponent(() => import("./views/integrity/Integrity"), "IntegrityView")),
  at("/settings", SETTINGS, lazyRouteComponent(() => import("./views/settings/Settings"), "Settings")),
];

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
