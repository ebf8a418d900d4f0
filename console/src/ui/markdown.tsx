import type { ReactNode } from "react";
import { Rec, RecBlock } from "./text";

// Runbooks and descriptions are Markdown of ours and of operators. Headings, lists, code and emphasis are shown; links and markup are
// text, as everywhere.

function inline(text: string): ReactNode[] {
  return text.split(/(`[^`]+`|\*\*[^*]+\*\*)/).map((part, index) => {
    if (part.startsWith("`") && part.length > 2) return <code key={index}><Rec text={part.slice(1, -1)} max={2000} /></code>;
    if (part.startsWith("**") && part.length > 4) return <strong key={index}><Rec text={part.slice(2, -2)} max={2000} /></strong>;
    return part === "" ? null : <Rec key={index} text={part} max={4000} />;
  });
}

type Block = { readonly kind: "heading" | "text" | "code"; readonly text: string } | { readonly kind: "list"; readonly items: string[]; readonly isNumbered: boolean };

function blocks(source: string): Block[] {
  const made: Block[] = [];
  let code: string[] | null = null;
  let open: string[] = [];
  const flush = () => {
    if (open.length > 0) made.push({ kind: "text", text: open.join(" ") });
    open = [];
  };
  for (const line of source.split("\n")) {
    if (line.trimStart().startsWith("```")) {
      if (code) made.push({ kind: "code", text: code.join("\n") });
      else flush();
      code = code ? null : [];
      continue;
    }
    if (code) {
      code.push(line);
      continue;
    }
    const heading = /^#{1,6}\s+(.*)$/.exec(line);
    const item = /^\s*(?:[-*]|(\d+)[.)])\s+(.*)$/.exec(line);
    const last = made.at(-1);
    if (heading) {
      flush();
      made.push({ kind: "heading", text: heading[1] ?? "" });
    } else if (item) {
      flush();
      const isNumbered = item[1] !== undefined;
      if (last?.kind === "list" && last.isNumbered === isNumbered) last.items.push(item[2] ?? "");
      else made.push({ kind: "list", isNumbered, items: [item[2] ?? ""] });
    } else if (line.trim() === "") flush();
    else if (/^\s+\S/.test(line) && last?.kind === "list" && open.length === 0) last.items[last.items.length - 1] += ` ${line.trim()}`;
    else open.push(line.trim());
  }
  flush();
  if (code) made.push({ kind: "code", text: code.join("\n") });
  return made;
}

export function Markdown({ text }: { text: string }) {
  return (
    <div className="prose">
      {blocks(text).map((block, index) => {
        if (block.kind === "heading") return <h3 key={index}>{inline(block.text)}</h3>;
        if (block.kind === "code") return <RecBlock key={index} className="code" text={block.text} />;
        if (block.kind !== "list") return <p key={index}>{inline(block.text)}</p>;
        const items = block.items.map((item, at) => <li key={at}>{inline(item)}</li>);
        return block.isNumbered ? <ol key={index}>{items}</ol> : <ul key={index}>{items}</ul>;
      })}
    </div>
  );
}
