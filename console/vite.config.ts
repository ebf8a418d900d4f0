import { defineConfig } from "vitest/config";
import react from "@vitejs/plugin-react";
import { notices } from "./scripts/notices";
import { tactics } from "./scripts/tactics";

/** Where `watchkeeper serve` listens for the console while one works on it. */
const server = process.env["WATCHKEEPER_CONSOLE"] ?? "http://127.0.0.1:7700";

// The server takes writes of its own origin only: behind the proxy that is the server's.
const proxy = {
  target: server,
  changeOrigin: true,
  headers: { origin: new URL(server).origin },
};
const proxied = { "/api": proxy, "/v1": proxy, "/healthz": proxy };

/** What the server says with every answer; the built console must work under it. */
const policy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; font-src 'self'; " +
  "base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

export default defineConfig({
  plugins: [react(), tactics(), notices()],
  build: {
    target: "es2023",
    // Nothing inline: the content security policy lets no data: URL and no inline script through.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    cssCodeSplit: false,
    reportCompressedSize: false,
  },
  server: { proxy: proxied },
  preview: { proxy: proxied, headers: { "content-security-policy": policy, "x-content-type-options": "nosniff" } },
  test: { include: ["src/**/*.test.ts", "src/**/*.test.tsx", "scripts/*.test.mjs"], environment: "node", testTimeout: 60_000 },
});
