import { useState } from "react";
import { useSignIn } from "../api/session";
import { Sign } from "../ui/icons";
import { Command, Problem } from "../ui/parts";

export function SignIn({ wasSignedIn }: { wasSignedIn: boolean }) {
  const signIn = useSignIn();
  const [key, setKey] = useState("");
  const [error, setError] = useState<unknown>(null);
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
        <p className="soft">{wasSignedIn ? "Your sign-in is over. What you had open is still there." : "The flight recorder of your AI systems. Sign in with a key."}</p>
        <div className="field">
          <label htmlFor="key">Key</label>
          <input id="key" className="input mono" type="password" autoComplete="current-password" spellCheck={false} required
            placeholder="wk_…" value={key} onChange={(event) => setKey(event.target.value)} autoFocus={true} />
        </div>
        <button type="submit" className="btn primary" disabled={isBusy || key.trim() === ""}>{isBusy ? "Signing in…" : "Sign in"}</button>
        {error === null ? null : <Problem error={error} />}
        <div className="stack-tight hint">
          <span>The first start of the server printed a key. Another one:</span>
          <Command text="watchkeeper keys create --role analyst NAME" />
          <span>Signing in is recorded, and so is what you read.</span>
        </div>
      </form>
    </main>
  );
}
