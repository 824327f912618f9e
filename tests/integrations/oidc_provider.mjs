// node-oidc-provider as an issuer with the device grant, whose access tokens are JWTs. Writes its
// issuer's URL as one line of standard output; ends with its standard input.
import { createServer } from "node:http";
import { once } from "node:events";
import Provider from "oidc-provider";

const server = createServer();
server.listen(0, "127.0.0.1");
await once(server, "listening");
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: "playcast-desktop",
      application_type: "native",
      token_endpoint_auth_method: "none",
      grant_types: ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"],
      redirect_uris: [],
      response_types: [],
    },
  ],
  features: {
    devInteractions: { enabled: true },
    deviceFlow: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => "https://play.example",
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({
        audience: "playcast",
        scope: "host",
        accessTokenFormat: "jwt",
        accessTokenTTL: 120,
        jwt: { sign: { alg: "RS256" } },
      }),
    },
  },
  extraTokenClaims: () => ({ role: "moderator host", room: "*" }),
  rotateRefreshToken: true,
});
server.on("request", provider.callback());
console.log(issuer);
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
