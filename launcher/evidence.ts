import type { KeyObject } from "node:crypto";
import { createHash } from "node:crypto";
import { isDeepStrictEqual } from "node:util";

import { messageOf } from "../contract/errors";
import type { BuildKey } from "../contract/layout";
import { buildKey, buildName, nameOfKey } from "../contract/layout";
import type { Manifest } from "../contract/manifest";
import type { Envelope } from "./signature";
import { isSignedBy, keyIdOf, parseEnvelope } from "./signature";

/** What is stored beside a build's artifacts and says what they are, byte for byte. */
export interface Evidence {
    readonly manifest?: Buffer;
    readonly provenance?: Buffer;
    readonly envelope?: Buffer;
}

/** What the evidence shows: `manifest` is undefined where there is none that can be read. */
export interface Finding {
    readonly manifest?: Manifest;
    /** One line each; empty when manifest, provenance and signature agree. */
    readonly problems: readonly string[];
    /** The key by which a signature was checked. */
    readonly signedBy?: string;
    /** The keys by which the envelope says that it is signed; unchecked. */
    readonly claimedKeys: readonly string[];
}

/** The parts of a statement (docs/provenance.md) that are compared. */
interface Statement {
    readonly _type?: unknown;
    readonly predicateType?: unknown;
    readonly subject?: readonly Resource[];
    readonly predicate?: {
        readonly buildDefinition?: {
            readonly externalParameters?: Readonly<Record<string, unknown>>;
            readonly internalParameters?: Readonly<Record<string, unknown>>;
        };
        readonly runDetails?: { readonly byproducts?: readonly Resource[] };
    };
}

interface Resource {
    readonly name?: unknown;
    readonly digest?: { readonly sha256?: unknown };
}

/**
 * Checks a build's documents against one another: the signature, if there is a key, the provenance against what was signed,
 * and the manifest against the provenance.
 *
 * @param build which build it must be, if that is known
 */
export function examine(evidence: Evidence, key: KeyObject | undefined, build: BuildKey | undefined): Finding {
    const problems: string[] = [];
    const envelope = readEnvelope(evidence, problems);
    let signedBy: string | undefined;
    if (key && !envelope) {
        problems.push(...(evidence.envelope ? [] : ["missing: provenance.dsse.json: the build is not signed"]));
    } else if (key && envelope) {
        if (isSignedBy(envelope, key)) {
            signedBy = keyIdOf(key);
        } else {
            problems.push("changed: provenance.dsse.json: it has no valid signature by this key");
        }
    }
    const manifest = readManifest(evidence, problems);
    if (manifest && build !== undefined && buildKey(manifest.buildTag, manifest.step) !== build) {
        const name = buildName(manifest.buildTag, manifest.step);
        problems.push(`changed: manifest.json: it is of the build ${JSON.stringify(name)}, not ${nameOfKey(build)}`);
    }
    const statement = readStatement(evidence, problems);
    if (manifest && statement && evidence.manifest) {
        const digest = createHash("sha256").update(evidence.manifest).digest("hex");
        problems.push(...differences(manifest, digest, statement, signedBy !== undefined));
    }
    const claimedKeys = envelope?.signatures.map(({ keyid }) => keyid) ?? [];
    return { manifest, problems, signedBy, claimedKeys };
}

function readEnvelope({ envelope, provenance }: Evidence, problems: string[]): Envelope | undefined {
    if (!envelope) {
        return undefined;
    }
    try {
        const read = parseEnvelope(envelope);
        if (provenance && !read.payload.equals(provenance)) {
            problems.push("changed: provenance.json: it is not what provenance.dsse.json has");
        }
        return read;
    } catch (error) {
        problems.push(`changed: provenance.dsse.json: ${messageOf(error)}`);
        return undefined;
    }
}

function readManifest({ manifest: content }: Evidence, problems: string[]): Manifest | undefined {
    if (!content) {
        problems.push("missing: manifest.json");
        return undefined;
    }
    try {
        const manifest = JSON.parse(content.toString("utf8")) as Manifest;
        const isComplete =
            typeof manifest.buildTag === "string" &&
            typeof manifest.log.name === "string" &&
            manifest.artifacts.every(
                ({ name, sha256, size }) =>
                    typeof name === "string" && typeof sha256 === "string" && typeof size === "number",
            ) &&
            (manifest.links ?? []).every(({ name, target }) => typeof name === "string" && typeof target === "string");
        if (isComplete) {
            return manifest;
        }
    } catch {
        // Said below.
    }
    problems.push("changed: manifest.json: it is no manifest");
    return undefined;
}

function readStatement({ provenance }: Evidence, problems: string[]): Statement | undefined {
    if (!provenance) {
        problems.push("missing: provenance.json");
        return undefined;
    }
    try {
        const statement = JSON.parse(provenance.toString("utf8")) as Statement | null;
        if (
            statement?._type === "https://in-toto.io/Statement/v1" &&
            statement.predicateType === "https://slsa.dev/provenance/v1" &&
            Array.isArray(statement.subject ?? []) &&
            Array.isArray(statement.predicate?.runDetails?.byproducts ?? [])
        ) {
            return statement;
        }
    } catch {
        // Said below.
    }
    problems.push("changed: provenance.json: it is no in-toto statement with SLSA v1 provenance");
    return undefined;
}

/**
 * @param manifestDigest SHA-256 of the manifest, byte for byte
 * @param isSigned whether the provenance must vouch for every byte of the manifest
 */
function differences(
    manifest: Manifest,
    manifestDigest: string,
    statement: Statement,
    isSigned: boolean,
): readonly string[] {
    const problems: string[] = [];
    const subjects = digestsOf(statement.subject ?? []);
    for (const { name, sha256 } of manifest.artifacts) {
        const subject = subjects.get(`bin/${name}`);
        if (subject !== sha256) {
            const what = subject === undefined ? "does not name it" : `says ${JSON.stringify(subject)}`;
            problems.push(`changed: manifest.json: ${shown(name)} has sha256 ${sha256}, the provenance ${what}`);
        }
        subjects.delete(`bin/${name}`);
    }
    for (const name of subjects.keys()) {
        problems.push(`changed: manifest.json: the provenance names ${shown(name)}, the manifest does not`);
    }
    const { buildTag, step, recipe, inputs, source, command, image, job, attempt } = manifest;
    const definition = statement.predicate?.buildDefinition;
    const parameters = { ...definition?.internalParameters, ...definition?.externalParameters };
    for (const [field, value] of Object.entries({
        buildTag,
        step,
        recipe,
        inputs,
        source,
        command,
        image,
        job,
        attempt,
    })) {
        if (!isDeepStrictEqual(parameters[field], value)) {
            problems.push(`changed: manifest.json: its ${field} is not that of the provenance`);
        }
    }
    const byproducts = digestsOf(statement.predicate?.runDetails?.byproducts ?? []);
    if (byproducts.get(manifest.log.name) !== manifest.log.sha256) {
        problems.push("changed: manifest.json: its log is not that of the provenance");
    }
    const vouched = byproducts.get("manifest.json");
    // Builds from before there were signatures do not have it.
    if (vouched === undefined ? isSigned : vouched !== manifestDigest) {
        problems.push(
            vouched === undefined
                ? "changed: provenance.json: it does not name the manifest"
                : `changed: manifest.json: its sha256 is ${manifestDigest}, the provenance says ${JSON.stringify(vouched)}`,
        );
    }
    return problems;
}

function digestsOf(resources: readonly Resource[]): Map<unknown, unknown> {
    return new Map(resources.map(({ name, digest }) => [name, digest?.sha256]));
}

/** A name on a line of text; quoted if it could be something else there. */
export function shown(name: unknown): string {
    const text = String(name);
    return /^[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}"]*$/u.test(text) ? text : JSON.stringify(text);
}
