// What AsyncAPI's own parser makes of a document. Standard input: the document; standard output:
// {valid, version, operations, problems}.
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const { document, diagnostics } = await new Parser().parse(readFileSync(0, "utf8"));
console.log(
  JSON.stringify({
    valid: document !== undefined,
    version: document?.version(),
    operations: document?.operations().length,
    problems: diagnostics.filter(({ severity }) => severity < 2).map(({ message }) => message),
  }),
);
