import { useMay } from "../../api/session";
import { Refused } from "../../ui/refused";
import { useAt } from "../../lib/at";
import { plainLine } from "../../lib/text";
import { PageHead } from "../../ui/parts";
import { KeysOfUsers } from "./Keys";
import { Me } from "./Me";
import { People } from "./People";
import { Retention } from "./Retention";
import { Rules } from "./Rules";
import { SuppressionList } from "./Suppressions";

/** What another role does not see. */
const OF_ADMINS: Readonly<Record<string, string>> = { keys: "Keys and roles", people: "People" };

/** You, the keys, the rules, what is kept. */
export function Settings() {
  const [at, change] = useAt<"tab" | "rule">();
  const mayAdminister = useMay("administer");
  const tabs = [
    { id: "me", says: "You and this page" },
    ...(mayAdminister ? [{ id: "keys", says: "Keys and roles" }] : []),
    ...(mayAdminister ? [{ id: "people", says: "People" }] : []),
    { id: "rules", says: "Rules" },
    { id: "suppressions", says: "Suppressions" },
    { id: "retention", says: "Retention and holds" },
  ];
  const refused = mayAdminister ? undefined : OF_ADMINS[at.tab ?? ""];
  const tab = refused ? null : (tabs.find((each) => each.id === at.tab)?.id ?? "me");
  return (
    <div className="page">
      <PageHead title="Settings" />
      <div className="settings">
        <nav aria-label="Settings">
          {tabs.map((each) => <button key={each.id} type="button" className="menu-item" aria-current={each.id === tab ? "page" : undefined} onClick={() => change({ tab: each.id, rule: undefined }, { push: true })}>{each.says}</button>)}
        </nav>
        <div className="stack-wide">
          {refused ? <Refused what={plainLine(refused)} needs="admin" /> : tab === "me" ? <Me /> : tab === "keys" ? <KeysOfUsers /> : tab === "people" ? <People /> : tab === "rules" ? <Rules /> : tab === "suppressions" ? <SuppressionList /> : <Retention />}
        </div>
      </div>
    </div>
  );
}
