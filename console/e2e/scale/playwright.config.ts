import { defineConfig } from "@playwright/test";
import base from "../../playwright.config";

// The console at the size of a company's day. It measures, and no gate waits for it: see the console's README.
export default defineConfig({
  ...base,
  testDir: ".",
  // Not those of the stories, whose runner looks below this folder, too.
  testMatch: "*.measure.ts",
  outputDir: "../out/scale-failures",
  globalSetup: "./setup.ts",
  // What is measured is not repeated, and takes as long as it takes.
  timeout: 45 * 60_000,
  globalTimeout: 0,
});
