import { useMutation } from "@tanstack/react-query";
import { api, take } from "../../api/client";
import { ApiProblem } from "../../api/problem";
import { span } from "../../lib/time";
import { stood } from "../../lib/units";
import { Icon } from "../../ui/icons";
import { Badge, Problem } from "../../ui/parts";
import { Rec } from "../../ui/text";

// What `POST /api/rules/explain` answers: the condition of a rule, part by part, with what stood in the event. The contract leaves its
// form open, so that it is read with care here.

interface Item {
  readonly field?: string | null;
  readonly matcher: string;
  readonly wanted?: string | null;
  readonly seen?: string | null;
  readonly reason: string;
}

interface Part {
  readonly what: string;
  readonly matched: boolean;
  readonly item?: Item;
  readonly parts?: readonly Part[];
}

interface Window {
  readonly kind: string;
  readonly group: readonly (readonly [string, string])[];
  readonly value?: number | null;
  readonly condition: string;
  readonly seconds: number;
  readonly holds: boolean;
}

interface Explanation {
  readonly rule: string;
  readonly title: string;
  readonly place: string;
  readonly matched: boolean;
  readonly notes: readonly string[];
  readonly conditions: readonly Part[];
  readonly window?: Window | null;
  readonly rules: readonly Explanation[];
}

const isExplanation = (value: unknown): value is Explanation =>
  typeof value === "object" && value !== null && Array.isArray((value as Explanation).conditions) && Array.isArray((value as Explanation).notes) && Array.isArray((value as Explanation).rules);

const MATCHERS: Readonly<Record<string, string>> = {
  exact: "is", contains: "contains", startswith: "begins with", endswith: "ends with", regex: "matches", cidr: "is in", numeric: "", gt: "is over", gte: "is at least", lt: "is under", lte: "is at most",
  exists: "exists", keyword: "anywhere",
};

function useExplanation() {
  return useMutation({
    mutationFn: async (event: string) => {
      const answer: unknown = await take(api.POST("/api/rules/explain", { body: { event } as never }));
      return (Array.isArray(answer) ? answer : []).filter(isExplanation);
    },
  });
}

/** Why the rule fired, part by part: asked for, since it reads what was said and that is recorded. */
export function Explain({ id, isRule }: { id: string; isRule: boolean }) {
  const explain = useExplanation();
  const { data, error, isPending } = explain;
  const isNoRule = !isRule || (error instanceof ApiProblem && error.status === 400 && /is no Sigma rule/.test(error.message));
  return (
    <section className="stack" aria-label="Explanation">
      <h3>Explanation</h3>
      {data ? (data.length === 0 ? <p className="faint">The rule is not in force any more.</p> : data.map((each) => <One key={each.rule} of={each} />)) : isNoRule ? (
        <p className="soft">A detector of the program made it, and no rule of conditions. The evidence above is all that it rests on.</p>
      ) : (
        <div className="row"><button type="button" className="btn" disabled={isPending} onClick={() => explain.mutate(id)}><Icon name="info" />{isPending ? "Reading the record again…" : "Explain"}</button>
          <span className="hint">Runs the rule at this event once more, and shows which of its conditions held on what.</span></div>
      )}
      {error && !isNoRule ? <Problem error={error} retry={() => explain.mutate(id)} /> : null}
    </section>
  );
}

function One({ of }: { of: Explanation }) {
  return (
    <div className="stack-tight explained">
      <div className="row"><Held of={of.matched} /><Rec text={of.title} className="strong" /></div>
      <Rec text={of.place} className="mono small faint cut" />
      {of.notes.map((note) => <p key={note} className="small soft"><Rec text={note} max={600} /></p>)}
      {of.window ? <Count of={of.window} /> : null}
      {of.conditions.length > 0 ? <ul className="explain-tree">{of.conditions.map((part, index) => <Branch key={index} part={part} />)}</ul> : null}
      {of.rules.map((rule) => <One key={rule.rule} of={rule} />)}
    </div>
  );
}

function Held({ of }: { of: boolean }) {
  return <span className={of ? "held yes" : "held"}><Icon name={of ? "check" : "close"} /><span className="unseen">{of ? "holds" : "does not hold"}</span></span>;
}

function Count({ of }: { of: Window }) {
  return (
    <p className="row-wrap small"><Held of={of.holds} /><span>{of.kind.replaceAll("_", " ")} in {span(of.seconds * 1000)}:</span><span className="num strong">{of.value ?? "none"}</span><span className="soft">asked for <Rec text={of.condition} /></span>
      {of.group.map(([name, value]) => <Badge key={name} square><Rec text={`${name} ${value}`} max={80} /></Badge>)}</p>
  );
}

/** What does not hold is folded where it is of many parts. */
const FOLD_FROM = 3;

function Branch({ part }: { part: Part }) {
  const { item, parts = [] } = part;
  if (item) {
    return (
      <li className={part.matched ? "leaf" : "leaf off"}>
        <Held of={part.matched} />
        <span className="explain-item">
          <span className="row-wrap">{item.field ? <Rec text={item.field} className="mono" /> : <span className="soft">anywhere</span>}<span className="faint">{MATCHERS[item.matcher] ?? item.matcher.replaceAll("_", " ")}</span>{item.wanted ? <Rec text={item.wanted} className="mono wanted" max={160} /> : null}</span>
          {item.seen ? <span className="small"><span className="faint">stood there</span> <Rec text={stood(item.seen)} className="mono" max={200} /></span> : part.matched ? null : <span className="small faint">{item.reason.replaceAll("_", " ")}</span>}
        </span>
      </li>
    );
  }
  const [on, off] = [parts.filter((each) => each.matched), parts.filter((each) => !each.matched)];
  return (
    <li>
      <div className="row"><Held of={part.matched} /><Rec text={part.what} className="mono small" max={240} /></div>
      <ul>
        {on.map((each, index) => <Branch key={index} part={each} />)}
        {off.length >= FOLD_FROM && part.matched ? (
          <li><details><summary className="small faint">{off.length} parts that do not hold</summary><ul>{off.map((each, index) => <Branch key={index} part={each} />)}</ul></details></li>
        ) : off.map((each, index) => <Branch key={index} part={each} />)}
      </ul>
    </li>
  );
}
