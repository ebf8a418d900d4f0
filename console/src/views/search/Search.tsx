import { PageHead, Choice } from "../../ui/parts";
import { useMay } from "../../api/session";
import { useAt } from "../../lib/at";
import { Events } from "./Events";
import { Sql } from "./Sql";
import { Texts } from "./Texts";
import { Saved } from "./Saved";
import type { SEARCH } from "../names";

export type Name = (typeof SEARCH)[number];

/** Three ways to ask the record: by what is known of events, by what was said, and by SQL. */
export function Search() {
  const [at, change] = useAt<Name>();
  const mayRead = useMay("content.read");
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
      {mode === "events" ? <Events /> : mode === "text" ? <Texts /> : <Sql />}
    </div>
  );
}
