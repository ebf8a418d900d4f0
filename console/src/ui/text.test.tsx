import { renderToStaticMarkup } from "react-dom/server";
import { expect, test } from "vitest";
import { Rec } from "./text";

const textOf = (markup: string) => markup.replaceAll(/<[^>]*>/g, "");

test.each(["customer-support-agent-eu-west-17", "https://files.example.org/a/b/quarterly-report.pdf"])("a name that is cut in its middle is once in the text of the page, and whole: %s", (name) => {
  const markup = renderToStaticMarkup(<Rec isName text={name} />);
  expect(markup).toContain('class="rec middle"');
  expect(textOf(markup)).toBe(name);
  // What is seen of it is no text, and hidden from who reads out.
  const seen = /<span class="seen" aria-hidden="true">(.*)<\/span><\/bdi>$/.exec(markup)?.[1] ?? "";
  expect([...seen.matchAll(/data-part="([^"]*)"/g)].map((part) => part[1]).join("")).toBe(name);
});
