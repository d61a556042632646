import { createCipheriv, createDecipheriv, pbkdf2, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { promisify } from "node:util";
import { UserError } from "../contract/errors";

/** Encrypts and decrypts single values. */
export interface Crypter {
    encrypt(plaintext: string): string;
    decrypt(ciphertext: string): string;
}

/**
 * The passphrase secrets provider of the Pulumi CLI: AES-256-GCM with a key derived by PBKDF2 (SHA-256, 1,000,000 rounds)
 * from a passphrase and a salt. Its state, `v1:<salt>:v1:<nonce>:<ciphertext of "pulumi">`, is the `encryptionsalt` of a
 * stack's configuration and `secrets_providers.state.salt` of its checkpoint
 * (pkg/secrets/passphrase/manager.go, sdk/go/common/resource/config/crypt.go).
 */
export async function openSecrets(passphrase: string, state: string): Promise<Crypter> {
    const [version, salt, ...check] = state.split(":");
    if (version !== "v1" || salt === undefined || check.length !== 3) {
        throw new UserError(
            "The encryption salt is not one of the passphrase secrets provider, which alone is supported.",
        );
    }
    const crypter = await deriveCrypter(passphrase, Buffer.from(salt, "base64"));
    try {
        if (crypter.decrypt(check.join(":")) === "pulumi") {
            return crypter;
        }
    } catch {
        // Reported below: authentication fails for any key but the right one.
    }
    throw new UserError(
        "The passphrase is not the one this stack was encrypted with: set PULUMI_CONFIG_PASSPHRASE or " +
            "PULUMI_CONFIG_PASSPHRASE_FILE to the right one.",
    );
}

/** A secrets provider with a salt of its own, for a stack that has none yet. */
export async function createSecrets(
    passphrase: string,
): Promise<{ readonly state: string; readonly crypter: Crypter }> {
    const salt = randomBytes(8);
    const crypter = await deriveCrypter(passphrase, salt);
    return { state: `v1:${salt.toString("base64")}:${crypter.encrypt("pulumi")}`, crypter };
}

async function deriveCrypter(passphrase: string, salt: Buffer): Promise<Crypter> {
    const key = await promisify(pbkdf2)(passphrase, salt, 1_000_000, 32, "sha256");
    return {
        encrypt(plaintext) {
            const nonce = randomBytes(12);
            const cipher = createCipheriv("aes-256-gcm", key, nonce);
            const sealed = Buffer.concat([cipher.update(plaintext, "utf8"), cipher.final(), cipher.getAuthTag()]);
            return `v1:${nonce.toString("base64")}:${sealed.toString("base64")}`;
        },
        decrypt(ciphertext) {
            const [version, nonce, data] = ciphertext.split(":");
            if (version !== "v1" || nonce === undefined || data === undefined) {
                throw new Error("A secret in the state is not in the format of the passphrase secrets provider.");
            }
            const sealed = Buffer.from(data, "base64");
            const decipher = createDecipheriv("aes-256-gcm", key, Buffer.from(nonce, "base64"), { authTagLength: 16 });
            decipher.setAuthTag(sealed.subarray(-16));
            return Buffer.concat([decipher.update(sealed.subarray(0, -16)), decipher.final()]).toString("utf8");
        },
    };
}

/**
 * The passphrase: PULUMI_CONFIG_PASSPHRASE, or the content of PULUMI_CONFIG_PASSPHRASE_FILE, in the CLI's order; where
 * neither is set, `fallback`.
 */
export function readPassphrase(env: NodeJS.ProcessEnv, fallback: () => string): string {
    if (env.PULUMI_CONFIG_PASSPHRASE !== undefined) {
        return env.PULUMI_CONFIG_PASSPHRASE;
    }
    const file = env.PULUMI_CONFIG_PASSPHRASE_FILE;
    if (!file) {
        return fallback();
    }
    try {
        return readFileSync(file, "utf8").trim();
    } catch (error) {
        throw new UserError(`PULUMI_CONFIG_PASSPHRASE_FILE cannot be read: ${(error as Error).message}`);
    }
}
