// A certified OpenID provider with a few people in it. Says `ready ISSUER` when it listens; ends when its standard input does.
import { createServer } from "node:http";
import { Provider } from "oidc-provider";

const [redirect, secret] = process.argv.slice(2);

const people = {
  ann: { name: "Ann Lee", email: "ann.lee@example.com", email_verified: true, groups: ["staff", "wk-analysts"] },
  root: { name: "Rosa Root", groups: ["wk-admins", "wk-auditors"] },
  guest: { name: "Gus Guest", groups: ["staff"] },
};

const server = createServer();
server.listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const client = (client_id, more) => ({
    client_id,
    application_type: "native",
    redirect_uris: [redirect],
    grant_types: ["authorization_code"],
    response_types: ["code"],
    ...more,
  });
  const provider = new Provider(issuer, {
    clients: [
      client("watchkeeper", { client_secret: secret, token_endpoint_auth_method: "client_secret_basic" }),
      client("public", { token_endpoint_auth_method: "none" }),
    ],
    claims: { openid: ["sub"], profile: ["name"], email: ["email", "email_verified"], groups: ["groups"] },
    cookies: { keys: ["the tests' own"] },
    pkce: { required: () => true },
    ttl: { Interaction: 600, Session: 600, Grant: 600, AccessToken: 600, IdToken: 600 },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...people[id] }) }),
  });
  server.on("request", provider.callback());
  console.log(`ready ${issuer}`);
});
process.stdin.on("end", () => process.exit(0));
process.stdin.resume();
