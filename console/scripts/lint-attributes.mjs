// Attributes have no text nodes that isolate what they hold: a title, a label, a placeholder made of data goes through `plainLine`. Each
// such attribute has to be made of texts of ours, numbers, and what is named here; it exits with 1 and names the place of any other.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";

const ATTRIBUTES = new Set(["title", "label", "what", "placeholder", "alt", "aria-label", "aria-description", "aria-roledescription", "aria-valuetext"]);
// What makes a text of data safe, or gives numbers, times and words of ours.
const SAFE = new Set(["plainLine", "count", "counted", "short", "share", "duration", "span", "ms", "says", "zoneName", "toFixed"]);
// Texts of ours that a component hands on or reads from a table of its own; who uses the component is looked at by itself.
const OURS = {
  "ui/text.tsx": ["run.title", "full"],
  "ui/parts.tsx": ["name", "what", "label", "title", "GRADE_SAYS[of ?? \"\"]"],
  "ui/chart.tsx": ["label"],
  "ui/table.tsx": ["label"],
  "ui/beginning.tsx": ["title"],
  "shell/Shell.tsx": ["group.title", "place.name", "place.says", "SETTINGS.says"],
  "views/coverage/Coverage.tsx": ["means", "STATES.find((state) => state.state === each.state)?.says"],
  "views/settings/Retention.tsx": ["scope"],
  "views/models/Models.tsx": ["TOKENS_UNTOLD"],
  "views/overview/Overview.tsx": ["says", "TOKENS_UNTOLD"],
  "views/sessions/Sessions.tsx": ["TOKENS_UNTOLD"],
  "views/trace/Waterfall.tsx": ["TOKENS_UNTOLD"],
  "views/tokens/Tokens.tsx": ["BY.find((each) => each.value === by)?.says", "TOKENS_UNTOLD"],
};

const root = new URL("../src", import.meta.url).pathname;
const files = (dir) => readdirSync(dir, { withFileTypes: true }).flatMap((entry) => entry.isDirectory() ? files(join(dir, entry.name)) : [join(dir, entry.name)]);

/** The first part of an expression that is none of ours, or nothing. */
function stranger(node, source, ours) {
  const inside = (...nodes) => nodes.map((each) => stranger(each, source, ours)).find(Boolean);
  if (ours.includes(node.getText(source))) return undefined;
  if (ts.isStringLiteralLike(node) || ts.isNumericLiteral(node) || ts.isJsxElement(node) || ts.isJsxFragment(node) || ts.isJsxSelfClosingElement(node)) return undefined;
  if (ts.isIdentifier(node) && node.text === "undefined") return undefined;
  if (node.kind === ts.SyntaxKind.NullKeyword) return undefined;
  if (ts.isParenthesizedExpression(node)) return inside(node.expression);
  if (ts.isConditionalExpression(node)) return inside(node.whenTrue, node.whenFalse);
  if (ts.isTemplateExpression(node)) return inside(...node.templateSpans.map((each) => each.expression));
  if (ts.isBinaryExpression(node) && [ts.SyntaxKind.QuestionQuestionToken, ts.SyntaxKind.BarBarToken, ts.SyntaxKind.PlusToken].includes(node.operatorToken.kind)) return inside(node.left, node.right);
  if (ts.isPropertyAccessExpression(node) && node.name.text === "length") return undefined;
  if (ts.isCallExpression(node)) {
    const called = ts.isPropertyAccessExpression(node.expression) ? node.expression.name.text : node.expression.getText(source);
    if (SAFE.has(called)) return undefined;
  }
  return node;
}

let faults = 0;
for (const file of files(root)) {
  if (!file.endsWith(".tsx")) continue;
  const source = ts.createSourceFile(file, readFileSync(file, "utf8"), ts.ScriptTarget.Latest, true, ts.ScriptKind.TSX);
  const ours = OURS[file.slice(root.length + 1)] ?? [];
  const visit = (node) => {
    if (ts.isJsxAttribute(node) && ATTRIBUTES.has(node.name.getText(source)) && node.initializer && ts.isJsxExpression(node.initializer) && node.initializer.expression) {
      const found = stranger(node.initializer.expression, source, ours);
      if (found) {
        faults += 1;
        const { line } = source.getLineAndCharacterOfPosition(found.getStart(source));
        console.error(`${file}:${line + 1}: ${node.name.getText(source)} of data that does not go through plainLine: ${found.getText(source)}`);
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
}
process.exit(faults > 0 ? 1 : 0);
