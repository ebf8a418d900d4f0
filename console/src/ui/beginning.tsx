import { Icon } from "./icons";
import { Command, Empty, Panel } from "./parts";

/** Says that what the server records of itself is left out, and is the switch for it. */
export function OwnChip({ own, isLeftOut, onChange }: { own: string | undefined; isLeftOut: boolean; onChange: (own: "yes" | undefined) => void }) {
  if (own !== "yes" && !isLeftOut) return null;
  if (!isLeftOut) return <button type="button" className="btn tiny" title="Leaves out what Watchkeeper records of itself: administration, sign-ins, who read what" onClick={() => onChange(undefined)}>Without Watchkeeper’s own</button>;
  return (
    <span className="chip">
      without Watchkeeper’s own
      <button type="button" onClick={() => onChange("yes")} aria-label="Show Watchkeeper’s own, too" title="Show what Watchkeeper records of itself, too"><Icon name="close" /></button>
    </span>
  );
}

/** Stands for a list of which everything was left out. */
export function NothingElse({ icon }: { icon: "search" | "sessions" }) {
  return (
    <Empty icon={icon} title="Nothing but Watchkeeper’s own so far" command="watchkeeper run -- python my_agent.py">
      What the server records of itself is left out here. To record a program’s calls without touching its code:
    </Empty>
  );
}

/** Whether rows tell of nothing but the server itself, by whether each of them does. */
export const isOwnAlone = (rows: readonly boolean[]): boolean => rows.length > 0 && rows.every(Boolean);

/** Said above a list that holds nothing but what the server did itself. */
export function OwnAlone() {
  return (
    <div className="notice">
      <Icon name="info" />
      <span className="grow">So far there is nothing but what this server did itself. To record a program’s calls without touching its code:</span>
      <Command text="watchkeeper run -- python my_agent.py" />
    </div>
  );
}

const WAYS = [
  ["Run a program", "Its calls of models go through the gateway and into the record. Nothing in it changes.", "watchkeeper run -- python my_agent.py"],
  ["Send the telemetry that there is", "OpenTelemetry GenAI, OpenInference, OpenLLMetry and what coding agents send.", "export OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4317\nexport OTEL_EXPORTER_OTLP_PROTOCOL=grpc"],
  ["Connect a coding agent or an MCP server", "Lists the clients that it can connect, and says what to put into which settings.", "watchkeeper setup"],
  ["Make a key for what sends", "What sends to the API needs a key of the role sensor. It is shown once.", "watchkeeper keys create --role sensor NAME"],
  ["Send one event yourself", "With the key of the sensor. Live shows it at once.", `curl -H "authorization: Bearer $KEY" -H 'content-type: application/json' ${location.origin}/v1/events -d '{"kind": "agent_step", "name": "first", "agent": "me"}'`],
  ["See what an attack looks like", "Replays recorded sessions, some with attacks, in a record of their own.", "watchkeeper demo"],
] as const;

/** How to begin, where nothing of an AI system has been recorded. */
export function Beginning() {
  return (
    <Panel title="Nothing of an AI system is recorded in this range of time">
      <div className="ways">
        {WAYS.map(([title, says, command]) => (
          <div key={title} className="stack-tight">
            <h3>{title}</h3>
            <p className="soft">{says}</p>
            <Command text={command} />
          </div>
        ))}
      </div>
    </Panel>
  );
}
