import type { ChildProcess } from "node:child_process";
import { execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import * as net from "node:net";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { projectDirectory } from "./ke1";
import type { TemporaryDirectory } from "./temporary";

/** Paths of a private authority's certificate, and of a server's that it has signed. */
export interface ServerCertificate {
    readonly authority: string;
    readonly certificate: string;
    readonly key: string;
}

/** Makes an authority, and a certificate for one address. */
export function makeCertificate(directory: TemporaryDirectory, address: string): ServerCertificate {
    const file = (name: string) => path.join(directory.path, name);
    const make = (name: string, extensions: readonly string[], signer: readonly string[]) =>
        execFileSync(
            "openssl",
            [
                ...[
                    "req",
                    "-x509",
                    "-new",
                    "-newkey",
                    "ec",
                    "-pkeyopt",
                    "ec_paramgen_curve:P-256",
                    "-nodes",
                    "-sha256",
                ],
                ...["-days", "1", "-subj", `/CN=ke1-test-${name}`, "-keyout", file(`${name}.key`)],
                ...["-out", file(`${name}.crt`), ...extensions.flatMap((each) => ["-addext", each]), ...signer],
            ],
            // What it says of its progress is of no interest; what it says of a failure is in the error.
            { stdio: "pipe" },
        );
    make("authority", ["keyUsage=critical,keyCertSign,cRLSign"], []);
    make(
        "server",
        ["basicConstraints=critical,CA:FALSE", `subjectAltName=IP:${address}`, "extendedKeyUsage=serverAuth"],
        ["-CA", file("authority.crt"), "-CAkey", file("authority.key")],
    );
    return { authority: file("authority.crt"), certificate: file("server.crt"), key: file("server.key") };
}

/** Azure's emulator as Azure is: over TLS, and for tokens. It looks at their issuer, audience and time, not at roles. */
export class TlsAzurite {
    public readonly endpoint: string;
    private readonly process: ChildProcess;
    private output = "";

    public constructor(
        private readonly host: string,
        private readonly port: number,
        certificate: ServerCertificate,
    ) {
        const account = "ke1test";
        this.endpoint = `https://${host}:${port}/${account}`;
        const main = path.join(projectDirectory, "node_modules/azurite/dist/src/blob/main.js");
        this.process = spawn(
            process.execPath,
            [main, "--blobHost", host, "--blobPort", String(port), "--inMemoryPersistence"]
                .concat("--oauth", "basic", "--cert", certificate.certificate, "--key", certificate.key)
                .concat("--silent", "--skipApiVersionCheck", "--disableTelemetry", "--disableProductStyleUrl"),
            {
                // A key that nobody knows: only a token opens it.
                env: { ...process.env, AZURITE_ACCOUNTS: `${account}:${randomBytes(64).toString("base64")}` },
                stdio: ["ignore", "pipe", "pipe"],
            },
        );
        for (const stream of [this.process.stdout, this.process.stderr]) {
            stream?.on("data", (data: Buffer) => {
                this.output += data.toString();
            });
        }
    }

    /** Resolves when it listens. */
    public async ready(): Promise<void> {
        const deadline = Date.now() + 20_000;
        for (;;) {
            const socket = net.connect(this.port, this.host);
            const listening = await once(socket, "connect").then(
                () => true,
                () => false,
            );
            socket.destroy();
            if (listening) {
                return;
            }
            if (Date.now() > deadline || this.process.exitCode !== null) {
                throw new Error(`Azurite does not listen: ${this.output}`);
            }
            await sleep(50);
        }
    }

    public async stop(): Promise<void> {
        if (this.process.exitCode === null && this.process.signalCode === null) {
            this.process.kill("SIGKILL");
            await once(this.process, "exit");
        }
    }
}
