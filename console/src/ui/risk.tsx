import { bandOf, BANDS, reachOf } from "../lib/risk";
import { plainLine } from "../lib/text";
import { Sev } from "./parts";

/** A risk: its band as shape and colour, its figure, and how far it reaches. */
export function Risk({ of }: { of: number }) {
  const band = bandOf(of);
  return (
    <span className="risk-of row" title={plainLine(`Risk ${of.toFixed(0)}${band ? `: ${band}` : ""}`)}>
      <span className="risk-sign">{band ? <Sev of={band} word={false} /> : null}</span>
      <span className={`num strong risk-no ${band ? "" : "faint"}`}>{of.toFixed(0)}</span>
      <span className="bar-line grow"><i className={band ?? ""} style={{ width: `${reachOf(of)}%` }} /></span>
    </span>
  );
}

/** What the colours of risks mean. */
export function RiskLegend() {
  return <span className="risk-legend row small soft" role="group" aria-label="Bands of risk">{BANDS.map(({ severity, from }) => <span key={severity} className="row"><Sev of={severity} /><span className="num faint">from {from}</span></span>)}</span>;
}
