import { randomBytes } from "node:crypto";
import {
    type sendUnaryData,
    Server,
    ServerCredentials,
    type ServerUnaryCall,
    type ServiceDefinition,
} from "@grpc/grpc-js";
import { BinaryReader, BinaryWriter } from "google-protobuf";
import { findCredential, type RegistryCredential } from "./credentials";
import type { DockerDaemon } from "./daemon";

/**
 * A BuildKit session, over which a build asks for credentials: of the base images' registries, say. The daemon is the client
 * on a connection that we have opened; we serve `moby.filesync.v1.Auth` and the health check without which it hangs up.
 */
export class BuildSession {
    public readonly id = randomBytes(16).toString("hex");
    private readonly server = new Server();

    public constructor(
        /** Credentials that the program gives, by registry. */
        private readonly own: Readonly<Record<string, RegistryCredential>>,
        private readonly environment: NodeJS.ProcessEnv,
    ) {
        this.server.addService(authService, {
            credentials: (call: ServerUnaryCall<string, Credentials>, callback: sendUnaryData<Credentials>) => {
                this.credentials(call.request).then(
                    (credentials) => callback(null, credentials),
                    (error: unknown) => callback(error as Error),
                );
            },
        });
        this.server.addService(healthService, {
            check: (_call: ServerUnaryCall<string, number>, callback: sendUnaryData<number>) => callback(null, serving),
        });
    }

    public async open(daemon: DockerDaemon): Promise<void> {
        const socket = await daemon.openSession(this.id, [authService.credentials.path, healthService.check.path]);
        this.server.createConnectionInjector(ServerCredentials.createInsecure()).injectConnection(socket);
    }

    public close(): void {
        this.server.forceShutdown();
    }

    private async credentials(host: string): Promise<Credentials> {
        // BuildKit asks by the address it pulls from.
        const address = host === "registry-1.docker.io" ? "https://index.docker.io/v1/" : host;
        const found = this.own[address] ?? (await findCredential(address, this.environment));
        return found.identitytoken
            ? { username: "", secret: found.identitytoken }
            : { username: found.username ?? "", secret: found.password ?? "" };
    }
}

interface Credentials {
    readonly username: string;
    readonly secret: string;
}

/** `HealthCheckResponse.SERVING`. */
const serving = 1;

// The messages have one or two fields each; their generated classes are not published for JavaScript.
const authService = {
    credentials: {
        path: "/moby.filesync.v1.Auth/Credentials",
        requestStream: false,
        responseStream: false,
        requestSerialize: (host: string) => writeText(host),
        requestDeserialize: readText,
        responseSerialize: ({ username, secret }: Credentials) => writeText(username, secret),
        responseDeserialize: (): Credentials => ({ username: "", secret: "" }),
    },
} satisfies ServiceDefinition;

const healthService = {
    check: {
        path: "/grpc.health.v1.Health/Check",
        requestStream: false,
        responseStream: false,
        requestSerialize: (service: string) => writeText(service),
        requestDeserialize: readText,
        responseSerialize: (status: number) => {
            const writer = new BinaryWriter();
            writer.writeEnum(1, status);
            return Buffer.from(writer.getResultBuffer());
        },
        responseDeserialize: () => serving,
    },
} satisfies ServiceDefinition;

/** Texts as the fields 1, 2, ... of a message. */
function writeText(...texts: readonly string[]): Buffer {
    const writer = new BinaryWriter();
    texts.forEach((text, index) => writer.writeString(index + 1, text));
    return Buffer.from(writer.getResultBuffer());
}

/** Field 1 of a message, a text. */
function readText(message: Buffer): string {
    const reader = new BinaryReader(new Uint8Array(message));
    let text = "";
    while (reader.nextField() && !reader.isEndGroup()) {
        if (reader.getFieldNumber() === 1) {
            text = reader.readString();
        } else {
            reader.skipField();
        }
    }
    return text;
}
