// Signs tokens with another program's cryptography: sign.mjs KEYS-FOLDER, and on standard input a JSON list of
// [algorithm, name of the key, header, claims]. Prints a JSON list of tokens.
import { constants, createPrivateKey, sign } from "node:crypto";
import { readFileSync } from "node:fs";

const folder = process.argv[2];
const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

function signature(algorithm, key, message) {
  if (algorithm === "EdDSA") return sign(null, message, key);
  const hash = `sha${algorithm.slice(2)}`;
  if (algorithm.startsWith("ES")) return sign(hash, message, { key, dsaEncoding: "ieee-p1363" });
  if (algorithm.startsWith("RS")) return sign(hash, message, key);
  const { RSA_PKCS1_PSS_PADDING, RSA_PSS_SALTLEN_DIGEST } = constants;
  return sign(hash, message, { key, padding: RSA_PKCS1_PSS_PADDING, saltLength: RSA_PSS_SALTLEN_DIGEST });
}

const tokens = JSON.parse(readFileSync(0, "utf8")).map(([algorithm, name, header, claims]) => {
  const message = `${part(header)}.${part(claims)}`;
  const key = createPrivateKey(readFileSync(`${folder}/${name}.pem`));
  return `${message}.${signature(algorithm, key, Buffer.from(message)).toString("base64url")}`;
});
console.log(JSON.stringify(tokens));
