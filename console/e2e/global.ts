import { startSite } from "./site";
import { attack, dailyTraffic, hostile } from "./traffic";

/** Sessions of daily traffic. */
const SESSIONS = 120;

export default async function setup(): Promise<() => Promise<void>> {
  const now = Date.now();
  const { site, stop } = await startSite([...dailyTraffic(now, SESSIONS), ...attack(now), ...hostile(now)]);
  process.env["E2E_SITE"] = JSON.stringify(site);
  return stop;
}
