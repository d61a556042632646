import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ke1Home } from "./home";

/** `$KE1_HOME/image-builder.json`: what builds images in the embedded platform's cluster. No secrets. */
export interface ImageBuilderDescriptor {
    readonly version: 1;
    /** What it was made from. */
    readonly recipe: string;
    /** By digest. */
    readonly image: string;
    /** The registry as pods reach it: host and port. */
    readonly registry: string;
    /** Path of a JSON file `{ "username": ..., "password": ... }`, 0600: who may push there. */
    readonly credentialFile: string;
    /** As a pod names it: relative to the kubelet's directory of profiles. */
    readonly seccompProfile: string;
}

export function imageBuilderPath(home: string): string {
    return join(home, "image-builder.json");
}

/** What the last `ensureImageBuilder` left; undefined when there is none, or none that this version can read. */
export function readImageBuilder(home: string = ke1Home()): ImageBuilderDescriptor | undefined {
    try {
        const found = JSON.parse(readFileSync(imageBuilderPath(home), "utf8")) as { readonly version?: unknown };
        return found.version === 1 ? (found as ImageBuilderDescriptor) : undefined;
    } catch (error) {
        const code = (error as NodeJS.ErrnoException).code;
        if (code === "ENOENT" || error instanceof SyntaxError) {
            return undefined;
        }
        throw error;
    }
}
