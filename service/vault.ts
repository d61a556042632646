import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";

const algorithm = "aes-256-gcm";
const keyBytes = 32;
/** NIST SP 800-38D, 8.2: 96 bits. */
const nonceBytes = 12;
const tagBytes = 16;

/** Encrypts what the queue must keep and nobody may read from its file: with a key beside it that only its owner reads. */
export class Vault {
    private constructor(private readonly key: Buffer) {}

    /** Makes the key where there is none. */
    public static open(directory: string): Vault {
        const file = path.join(directory, "key");
        if (!fs.existsSync(file)) {
            // Renamed when it is whole, and never over one that is there.
            const made = `${file}.${process.pid}`;
            fs.writeFileSync(made, randomBytes(keyBytes), { mode: 0o600 });
            try {
                fs.linkSync(made, file);
            } catch (error) {
                if ((error as NodeJS.ErrnoException).code !== "EEXIST") {
                    throw error;
                }
            } finally {
                fs.rmSync(made);
            }
        }
        const key = fs.readFileSync(file);
        if (key.length !== keyBytes) {
            throw new Error(
                `${file} is not a key of ${keyBytes} bytes; restore it, or remove it and the queue with it`,
            );
        }
        return new Vault(key);
    }

    public seal(text: string): Buffer {
        const nonce = randomBytes(nonceBytes);
        const cipher = createCipheriv(algorithm, this.key, nonce);
        const sealed = Buffer.concat([cipher.update(text, "utf8"), cipher.final()]);
        return Buffer.concat([nonce, cipher.getAuthTag(), sealed]);
    }

    public unseal(sealed: Uint8Array): string {
        const bytes = Buffer.from(sealed);
        const decipher = createDecipheriv(algorithm, this.key, bytes.subarray(0, nonceBytes));
        decipher.setAuthTag(bytes.subarray(nonceBytes, nonceBytes + tagBytes));
        const rest = bytes.subarray(nonceBytes + tagBytes);
        return decipher.update(rest, undefined, "utf8") + decipher.final("utf8");
    }
}
