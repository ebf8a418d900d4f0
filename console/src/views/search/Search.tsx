import { PageHead, Choice } from "../../ui/parts";
import { useMay } from "../../api/session";
import { Refused } from "../../ui/refused";
import { useAt } from "../../lib/at";
import { plainLine } from "../../lib/text";
import { Events } from "./Events";
import { Sql } from "./Sql";
import { Texts } from "./Texts";
import { Saved } from "./Saved";
import type { SEARCH } from "../names";

export type Name = (typeof SEARCH)[number];

/** What takes the right to read contents. */
const REFUSED: Readonly<Record<string, string>> = { text: "Search in what was said", sql: "SQL" };

/** Three ways to ask the record: by what is known of events, by what was said, and by SQL. */
export function Search() {
  const [at, change] = useAt<Name>();
  const mayRead = useMay("content.read");
  const refused = mayRead ? undefined : REFUSED[at.mode ?? ""];
  const mode = mayRead && (at.mode === "text" || at.mode === "sql") ? at.mode : "events";
  return (
    <div className="page full">
      <PageHead title="Search" end={
        <>
          <Saved mode={mode} />
          {mayRead ? (
            <Choice label="By what" value={mode} options={[{ value: "events", says: "Events" }, { value: "text", says: "What was said" }, { value: "sql", says: "SQL" }]}
              onChoose={(value) => change({ mode: value === "events" ? undefined : value, id: undefined })} />
          ) : null}
        </>
      } />
      {refused ? <Refused what={plainLine(refused)} needs="analyst" /> : mode === "events" ? <Events /> : mode === "text" ? <Texts /> : <Sql />}
    </div>
  );
}
