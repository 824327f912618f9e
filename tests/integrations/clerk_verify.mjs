// What @clerk/backend makes of tokens. Standard input: {key, parties, tokens: {name: token}}; standard
// output: {name: {error} or {sub, organization}}.
import { readFileSync } from "node:fs";
import { verifyToken } from "@clerk/backend";
import { __experimental_JWTPayloadToAuthObjectProperties as read } from "@clerk/shared/jwtPayloadParser";

const { key, parties, tokens } = JSON.parse(readFileSync(0, "utf8"));
const found = {};
for (const [name, token] of Object.entries(tokens)) {
  try {
    const claims = await verifyToken(token, { jwtKey: key, authorizedParties: parties });
    const { userId, orgId, orgSlug, orgRole, orgPermissions } = read(claims);
    const organization = orgId ? [orgId, orgSlug ?? "", orgRole ?? "", (orgPermissions ?? []).sort()] : null;
    found[name] = { sub: userId, organization };
  } catch (error) {
    found[name] = { error: error.reason ?? error.message };
  }
}
console.log(JSON.stringify(found));
