import { activeShortcuts, keyName } from "../lib/shortcuts";
import { usePrefs } from "../lib/prefs";
import { Dialog } from "../ui/parts";

/** The keys that work where one is. */
export function Help({ onClose }: { onClose: () => void }) {
  const { singleKeys } = usePrefs();
  const all = activeShortcuts();
  const groups = [...new Set(all.map((each) => each.group))];
  return (
    <Dialog title="Keys" onClose={onClose} className="wide">
      <div className="keys-grid">
        {groups.map((group) => (
          <section key={group}>
            <h3>{group}</h3>
            <dl>
              {all.filter((each) => each.group === group).map((each) => (
                <div key={each.keys} className="key-line">
                  <dt>{(each.keys === " " ? [" "] : each.keys.split(" ")).map((key) => <kbd key={key}>{keyName(key)}</kbd>)}</dt>
                  <dd className="soft">{each.says}</dd>
                </div>
              ))}
            </dl>
          </section>
        ))}
      </div>
      <p className="hint">Arrow keys, Page Up and Page Down, Home and End move through a list, too. Escape closes what is open.{singleKeys ? " Settings turn off what is a letter alone." : " Single-key shortcuts are turned off: Settings, You and this page."}</p>
    </Dialog>
  );
}
