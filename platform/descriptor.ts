import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ke1Home } from "./home";

/** `$KE1_HOME/platform.json`: where the embedded platform's services are. No secrets. */
export interface PlatformDescriptor {
    readonly version: 1;
    /** Path of the administrator's kubeconfig, 0600. */
    readonly kubeconfig: string;
    readonly kubeContext: string;
    /** Host and port, as in an image's name: `localhost:5000`. */
    readonly registry: string;
    /** Path-style, with the account: `http://10.77.0.1:10000/ke1dev`. */
    readonly blobEndpoint: string;
    /** Path of a JSON file `{ "account": ..., "key": ... }`, 0600. */
    readonly blobCredentialFile: string;
    /** As in DOCKER_HOST: `unix:///...`. */
    readonly dockerHost: string;
    /** By digest: `localhost:5000/ke1-base@sha256:...`. */
    readonly baseImage: string;
    /** For example `v1.34.4`. */
    readonly kubernetesVersion: string;
    /** Path of a kubectl of the same version. */
    readonly kubectl: string;
}

export function descriptorPath(home: string = ke1Home()): string {
    return join(home, "platform.json");
}

/** The descriptor that the last `up` left; undefined when there is none, or none that this version can read. */
export function readDescriptor(home: string = ke1Home()): PlatformDescriptor | undefined {
    try {
        const found = JSON.parse(readFileSync(descriptorPath(home), "utf8")) as { readonly version?: unknown };
        return found.version === 1 ? (found as PlatformDescriptor) : undefined;
    } catch (error) {
        const code = (error as NodeJS.ErrnoException).code;
        if (code === "ENOENT" || error instanceof SyntaxError) {
            return undefined;
        }
        throw error;
    }
}
