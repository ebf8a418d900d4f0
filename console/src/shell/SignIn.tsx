import { useState } from "react";
import { signInError, useProvider, type Provider } from "../api/people";
import { useSignIn } from "../api/session";
import { Sign } from "../ui/icons";
import { Command, Problem } from "../ui/parts";
import { Rec } from "../ui/text";

/** What the provider sent back with: taken out of the address before that becomes the address of a view. */
const SENT_BACK = takeCode();

function takeCode(): string | null {
  const address = new URL(location.href);
  const code = address.searchParams.get("sign_in_error");
  if (code !== null) {
    address.searchParams.delete("sign_in_error");
    history.replaceState(history.state, "", address);
  }
  return code;
}

export function SignIn({ wasSignedIn }: { wasSignedIn: boolean }) {
  const signIn = useSignIn();
  const { data: provider } = useProvider();
  const [key, setKey] = useState("");
  const [error, setError] = useState<unknown>(() => (wasSignedIn ? null : signInError(SENT_BACK)));
  const [isBusy, setBusy] = useState(false);
  const submit = async () => {
    setBusy(true);
    setError(null);
    try {
      await signIn(key.trim());
    } catch (problem) {
      setError(problem);
      setBusy(false);
    }
    setKey("");
  };
  return (
    <main className="sign-in">
      <form className="panel" onSubmit={(event) => { event.preventDefault(); void submit(); }}>
        <h1 className="brand"><Sign />Watchkeeper</h1>
        <p className="soft">{wasSignedIn ? "Your key was ended, or the sign-in is over. What you had open is still there." : "The flight recorder of your AI systems."}</p>
        {error === null ? null : <Problem error={error} />}
        {provider ? <Elsewhere provider={provider} /> : null}
        <div className="field">
          <label htmlFor="key">Key</label>
          <input id="key" className="input mono" type="password" autoComplete="current-password" spellCheck={false} required
            placeholder="wk_…" value={key} onChange={(event) => setKey(event.target.value)} autoFocus={!provider} />
        </div>
        <button type="submit" className={provider ? "btn" : "btn primary"} disabled={isBusy || key.trim() === ""}>{isBusy ? "Signing in…" : "Sign in"}</button>
        <div className="stack-tight hint">
          <span>The first start of the server printed a key. Another one:</span>
          <Command text="watchkeeper keys create --role analyst NAME" />
          <span>Signing in is recorded, and so is what you read.</span>
        </div>
      </form>
    </main>
  );
}

/** Signing in with the company's provider; the way back is to what was asked for. */
function Elsewhere({ provider }: { provider: Provider }) {
  const to = location.pathname + location.search;
  const href = `${provider.start}?${new URLSearchParams({ to }).toString()}`;
  return (
    <>
      <a className="btn primary" href={href}><span>Sign in with <Rec text={provider.name} max={60} /></span></a>
      <div className="or faint small" role="presentation">or with a key</div>
    </>
  );
}
