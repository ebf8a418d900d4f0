import { QueryClient, QueryClientProvider, timeoutManager } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { TIMERS } from "./api/background";
import { onSignedOut } from "./api/client";
import { isGone, mayRetry } from "./api/problem";
import { endSession } from "./api/session";
import { beginEarly } from "./early";
import { router } from "./router";
import { Toasts } from "./ui/parts";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/ui.css";
import "./styles/shell.css";
import "./styles/views.css";
import "./styles/detections.css";
import "./styles/trace.css";

timeoutManager.setTimeoutProvider(TIMERS);
const queries = new QueryClient({
  defaultOptions: {
    queries: {
      // While the server is not reached, what is shown stays, and is asked for until there is an answer: the bar says so.
      retry: (count, error) => isGone(error) || (count < 2 && mayRetry(error)),
      retryDelay: (count, error) => (isGone(error) ? 3_000 : Math.min(1_000 * 2 ** count, 10_000)),
      networkMode: "always",
      staleTime: 5_000, gcTime: 5 * 60_000,
    },
    mutations: { retry: false },
  },
});
onSignedOut(() => endSession(queries));
void beginEarly(queries, location);

const host = document.getElementById("root");
if (host) {
  createRoot(host).render(
    <StrictMode>
      <QueryClientProvider client={queries}>
        <Toasts><RouterProvider router={router} /></Toasts>
      </QueryClientProvider>
    </StrictMode>,
  );
}
