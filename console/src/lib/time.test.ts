import { describe, expect, test } from "vitest";
import { ago, ANY_TIME, bounds, duration, instant, isAnyTime, isZone, parseRange, rangeOfBuckets, shortTime, span, timestamp } from "./time";

const NOW = Date.parse("2026-11-22T16:00:30Z");

describe("ranges", () => {
  test.each([["24h", 86_400_000], ["15m", 900_000], ["7d", 604_800_000]])("%s", (text, ms) => {
    expect(parseRange(text)).toEqual({ kind: "last", text, ms });
  });

  test("any time leaves nothing out", () => {
    const any = parseRange(ANY_TIME);
    expect(any && bounds(any, NOW)).toEqual({ since: "1970-01-01T00:00:00.000Z" });
    expect(any && isAnyTime(any)).toBe(true);
    expect(isAnyTime({ kind: "between", since: "2026-11-22T09:00:00.000Z", until: null })).toBe(false);
  });

  test("between two moments, in UTC", () => {
    expect(parseRange("2026-11-22T10:00:00+01:00/2026-11-22T10:00:00Z")).toEqual({
      kind: "between", since: "2026-11-22T09:00:00.000Z", until: "2026-11-22T10:00:00.000Z",
    });
    expect(parseRange("2026-11-22T09:00:00Z/")).toEqual({ kind: "between", since: "2026-11-22T09:00:00.000Z", until: null });
  });

  test.each(["", "h", "0h", "24", "24y", "99999h", "2026-11-22/", "x/y", "2026-11-22T10:00:00Z/2026-11-22T09:00:00Z", "a/b/c"])(
    "%j is none", (text) => expect(parseRange(text)).toBeNull());

  test("a relative one asks the same for a minute", () => {
    const range = parseRange("1h");
    if (!range) throw new Error("a range");
    expect(bounds(range, NOW)).toEqual({ since: "2026-11-22T15:00:00.000Z" });
    expect(bounds(range, NOW + 29_000)).toEqual(bounds(range, NOW));
  });
});

test("figures of whole buckets lead to the range of these buckets, and not to what was asked for", () => {
  const asked = { since: "2026-11-22T10:07:00Z", until: "2026-11-22T10:52:00Z" };
  const range = rangeOfBuckets(["2026-11-22T10:00:00Z", "2026-11-22T10:20:00Z", "2026-11-22T10:40:00Z"], 1200, asked);
  expect(range).toBe("2026-11-22T10:00:00.000Z/2026-11-22T11:00:00.000Z");
  expect(parseRange(range)).toEqual({ kind: "between", since: "2026-11-22T10:00:00.000Z", until: "2026-11-22T11:00:00.000Z" });
  expect(rangeOfBuckets([], 1200, asked)).toBe("2026-11-22T10:07:00Z/2026-11-22T10:52:00Z");
});

test("an instant needs a zone", () => {
  expect(instant("2026-11-22T10:00:00")).toBeNull();
  expect(instant("2026-11-22T10:00Z")).toBe("2026-11-22T10:00:00.000Z");
});

test("times are shown in the zone, with the record's microseconds", () => {
  const time = "2026-11-22T23:52:08.842409Z";
  expect(timestamp(time, "UTC", 6)).toBe("2026-11-22 23:52:08.842409");
  expect(timestamp(time, "Asia/Tokyo")).toBe("2026-11-23 08:52:08.842");
  expect(timestamp("2026-11-22T00:00:00Z", "UTC", 0)).toBe("2026-11-22 00:00:00");
  expect(timestamp("<b>", "UTC")).toBe("<b>");
  expect(shortTime("2026-11-22T15:00:00Z", "UTC", NOW)).toBe("15:00:00");
  expect(shortTime("2026-11-20T15:00:00Z", "UTC", NOW)).toBe("11-20 15:00");
  expect(shortTime("2026-11-22T15:00:00Z", "UTC", NOW, true)).toBe("11-22 15:00");
});

test("each second is written as a formatter of times writes it, on both sides of a change of the clock and in zones of odd offsets", () => {
  const zones = ["Europe/Lisbon", "Asia/Kathmandu", "Australia/Lord_Howe", "America/New_York", "UTC", "Africa/Monrovia"];
  const moments = ["2026-10-25T00:59:58Z", "2026-10-25T01:00:01Z", "2026-03-29T00:59:59Z", "2026-04-04T14:59:59Z", "2026-04-04T15:00:00Z", "2026-12-31T23:59:59Z", "1971-06-01T12:00:03Z", "1969-12-31T23:59:59Z"];
  for (const zone of zones) {
    const format = new Intl.DateTimeFormat("sv-SE", { timeZone: zone, dateStyle: "short", timeStyle: "medium" });
    for (const moment of moments) {
      for (let second = 0; second < 130; second += 13) {
        const ms = Date.parse(moment) + second * 1000;
        expect(timestamp(new Date(ms).toISOString(), zone, 0), `${zone} ${moment} ${second}`).toBe(format.format(ms));
      }
    }
  }
});

test("zones", () => {
  expect(isZone("Europe/Lisbon")).toBe(true);
  expect(isZone("Mars/Olympus")).toBe(false);
});

test("lengths", () => {
  expect([4_000, 90_000, 3 * 3_600_000, 72 * 3_600_000].map(span)).toEqual(["4 s", "2 min", "3 h", "3 d"]);
  expect(ago("2026-11-22T15:56:30Z", NOW)).toBe("4 min ago");
  expect(ago("2026-11-22T17:00:00Z", NOW)).toBe("now");
  expect([0, 0.00024, 0.005, 0.0124, 0.84, 0.9997, 1.26, 12.3, 999, 3_412, 125_000, 3_720_000].map(duration))
    .toEqual(["0 ms", "0.24 µs", "5 µs", "12 µs", "840 µs", "1.0 ms", "1.3 ms", "12 ms", "999 ms", "3.41 s", "2 min 5 s", "1 h 2 min"]);
});
