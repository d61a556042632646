import type { KeyObject } from "node:crypto";
import { createHash, createPublicKey, verify } from "node:crypto";

/** The payload type of in-toto statements. */
const statementType = "application/vnd.in-toto+json";

/** A DSSE envelope (https://github.com/secure-systems-lab/dsse/blob/master/envelope.md), decoded. */
export interface Envelope {
    readonly payloadType: string;
    readonly payload: Buffer;
    readonly signatures: readonly { readonly keyid: string; readonly sig: Buffer }[];
}

/** @throws Error when it is none. */
export function parseEnvelope(content: Buffer): Envelope {
    const found = JSON.parse(content.toString("utf8")) as Partial<Record<string, unknown>> | null;
    const signatures = found?.["signatures"];
    if (typeof found?.["payload"] !== "string" || !Array.isArray(signatures)) {
        throw new Error("it is no DSSE envelope");
    }
    return {
        payloadType: String(found["payloadType"]),
        payload: Buffer.from(found["payload"], "base64"),
        signatures: signatures.map((signature: { readonly keyid?: unknown; readonly sig?: unknown } | null) => ({
            keyid: typeof signature?.keyid === "string" ? signature.keyid : "",
            sig: Buffer.from(typeof signature?.sig === "string" ? signature.sig : "", "base64"),
        })),
    };
}

/**
 * A public key that can check what an exporter signs.
 *
 * @param pem `-----BEGIN PUBLIC KEY-----`
 * @throws Error that says what is wrong with it.
 */
export function parsePublicKey(pem: string): KeyObject {
    // Node.js would derive a public key from a private one: whoever has that should hear that it does not belong here.
    if (/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(pem)) {
        throw new Error("it is a private key; a public one is asked for (openssl pkey -pubout)");
    }
    let key: KeyObject;
    try {
        key = createPublicKey(pem);
    } catch {
        throw new Error("it is no public key in PEM (-----BEGIN PUBLIC KEY-----)");
    }
    const isP256 = key.asymmetricKeyType === "ec" && key.asymmetricKeyDetails?.namedCurve === "prime256v1";
    if (key.asymmetricKeyType !== "ed25519" && !isP256) {
        throw new Error("it is neither an Ed25519 key nor an ECDSA key of the curve P-256");
    }
    return key;
}

/** How a signature names its key: the SHA-256 of the public key's DER form. Only a hint. */
export function keyIdOf(key: KeyObject): string {
    return `sha256:${createHash("sha256")
        .update(key.export({ type: "spki", format: "der" }))
        .digest("hex")}`;
}

/** Whether the envelope holds an in-toto statement that the key's owner signed. */
export function isSignedBy(envelope: Envelope, key: KeyObject): boolean {
    const { payloadType, payload, signatures } = envelope;
    if (payloadType !== statementType) {
        return false;
    }
    // https://github.com/secure-systems-lab/dsse/blob/master/protocol.md
    const message = Buffer.concat([
        Buffer.from(`DSSEv1 ${Buffer.byteLength(payloadType)} ${payloadType} ${payload.length} `),
        payload,
    ]);
    // An Ed25519 signature has its own digest; ECDSA's is DER, as node:crypto has it by default.
    const digest = key.asymmetricKeyType === "ed25519" ? null : "sha256";
    return signatures.some(({ sig }) => verify(digest, message, key, sig));
}
