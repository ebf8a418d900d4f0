import { defineConfig } from "@playwright/test";

// The tests drive Debian's Chromium against the real program: see README.md.
export default defineConfig({
  testDir: "e2e",
  outputDir: "e2e/out/failures",
  globalSetup: "./e2e/global.ts",
  // One record is shared, and people change it: one after the other.
  workers: 1,
  fullyParallel: false,
  retries: 0,
  // Bounds for a machine that does much else at once, not measures.
  timeout: 120_000,
  expect: { timeout: 45_000 },
  reporter: [["list"]],
  use: {
    browserName: "chromium",
    viewport: { width: 1440, height: 900 },
    timezoneId: "Europe/Lisbon",
    launchOptions: {
      executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
      args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
    },
  },
});
