import { createHash } from "node:crypto";

import type { BuildRecord } from "../build";
import type { AgentApi } from "./agentApi";
import type { StoredArtifact } from "./builds";
import type { Annotation, Artifact } from "./protocol";

/** As many artifacts as the agent registers at once (internal/artifact/batch_creator.go). */
const batchSize = 30;
/** An annotation names no more than this. */
const named = 50;

/** What a build has made, and where it is. */
export interface Handover {
    readonly record: BuildRecord;
    readonly artifacts: readonly StoredArtifact[];
    readonly logUrl?: string;
}

/**
 * Tells the server of a build's artifacts. They stay in the blob store: the server gets their names, sizes, SHA-256 and
 * addresses, as it does from an agent that uploads to a bucket of its own (internal/artifact/uploader.go).
 */
export async function registerArtifacts(api: AgentApi, job: string, stored: readonly StoredArtifact[]): Promise<void> {
    const artifacts = stored.map(({ name, url, size, sha256, mediaType }): Artifact => {
        const path = `bin/${name}`;
        return {
            ...{ path, absolute_path: `/${path}`, glob_path: "bin/**/*", file_size: size, url },
            ...{ sha1sum: "", sha256sum: sha256, content_type: mediaType },
        };
    });
    for (let first = 0; first < artifacts.length; first += batchSize) {
        const batch = artifacts.slice(first, first + batchSize);
        const destination = (batch[0]?.url ?? "").replace(/\/bin\/.*$/, "");
        const ids = await api.createArtifacts(job, {
            id: batchId(job, first),
            artifacts: batch,
            upload_destination: destination,
        });
        await api.finishArtifacts(job, ids);
    }
}

/** The server knows a batch by its id: one that is sent again is not taken for another. */
function batchId(job: string, first: number): string {
    const hash = createHash("sha256").update(`${job}/${first}`).digest("hex");
    // The form of a UUID of version 8 (RFC 9562), which is what one makes it.
    return [
        hash.slice(0, 8),
        hash.slice(8, 12),
        `8${hash.slice(13, 16)}`,
        `8${hash.slice(17, 20)}`,
        hash.slice(20, 32),
    ].join("-");
}

/** What people see above the build's steps. */
export function annotationOf(job: string, label: string, { record, artifacts, logUrl }: Handover): Annotation {
    const succeeded = record.state === "succeeded";
    const title = `${label === "" ? "Build" : code(label)}: **${record.outcome ?? record.state}** (BUILD_TAG ${code(record.buildTag ?? "")})`;
    const lines = [title];
    if (!succeeded && record.message !== undefined) {
        lines.push("", code(record.message));
    }
    if (logUrl !== undefined) {
        lines.push("", `The whole log: <${logUrl}>`);
    }
    if (artifacts.length > 0) {
        lines.push("", "| artifact | bytes | SHA-256 |", "|---|---|---|");
        for (const { name, url, size, sha256 } of artifacts.slice(0, named)) {
            lines.push(`| [${escaped(name)}](${encodeURI(url).replace(/[()]/g, "")}) | ${size} | ${code(sha256)} |`);
        }
        if (artifacts.length > named) {
            lines.push("", `and ${artifacts.length - named} more`);
        }
    }
    return { body: lines.join("\n"), context: `ke1-${job}`, style: succeeded ? "success" : "error" };
}

/** What comes from a build must not become Markdown, or HTML, of the annotation. */
function code(text: string): string {
    return `\`${text.replace(/[`\r\n|<>]+/g, " ")}\``;
}

function escaped(text: string): string {
    return text.replace(/[\\`*_[\]()<>|#~\r\n]/g, (character) => (/\s/.test(character) ? " " : `\\${character}`));
}
