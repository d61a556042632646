import * as fs from "node:fs";
import * as path from "node:path";

import { messageOf, UserError } from "../../contract/errors";
import { digestReference } from "../../contract/patterns";
import type { Place, Problem } from "../../pipeline/document";
import { PositionedDocument } from "../../pipeline/document";
import { secondsOf } from "../../pipeline/duration";
import { checkStructure } from "../../pipeline/structure";
import { parseReference } from "../registry/reference";
import type { Trigger, TriggerFile } from "./definition";
import { readPolicy } from "./policy";
import { triggerSchema } from "./schema";

/** A file of triggers that cannot be: one line for each thing that is wrong with it. */
export class TriggerFileError extends UserError {}

/** What a trigger's mapping may hold; the schema has been checked. */
interface Written {
    readonly name: string;
    readonly image: string;
    readonly policy?: string;
    readonly interval?: string | number;
    readonly first?: "remember" | "build";
    readonly as?: "image" | "baseImage";
    readonly source?: string;
    readonly ref?: string;
    readonly pipeline?: string;
    readonly command?: readonly string[];
    readonly config?: Readonly<Record<string, unknown>>;
    readonly labels?: Readonly<Record<string, string>>;
    readonly timeout?: string | number;
    readonly release?: {
        readonly repository: string;
        readonly tag?: string;
        readonly images?: readonly string[];
        readonly step?: string;
    };
}

interface WrittenFile {
    readonly credentials?: string;
    readonly webhookSecretFile?: string;
    readonly triggers: readonly Written[];
}

const durationPattern = /^(?=\d)(\d+h)?(\d+m)?(\d+s)?$/;
/** Registries count requests: nobody needs to know sooner who can send a notification. */
const leastInterval = 5;
/** What the trigger says itself, or what each of its builds has of its own. */
const ownKeys = ["image", "baseImage", "pipeline", "command", "buildTagSuffix", "source", "buildTag", "buildTags"];

/** @throws UserError where it cannot be read, TriggerFileError with all that is wrong. */
export function readTriggerFile(file: string, defaultIntervalSeconds: number): TriggerFile {
    let content: string;
    try {
        content = fs.readFileSync(file, "utf8");
    } catch (error) {
        throw new UserError(`the triggers ${file} cannot be read: ${messageOf(error)}`);
    }
    return readTriggers(file, content, defaultIntervalSeconds);
}

/**
 * @param file how messages call it, and what its paths are relative to
 * @throws TriggerFileError with all that is wrong.
 */
export function readTriggers(file: string, content: string, defaultIntervalSeconds: number): TriggerFile {
    const document = new PositionedDocument(file, content);
    const values = (document.problems.length === 0 && document.values()) || {};
    const structural =
        document.problems.length > 0
            ? document.problems
            : checkStructure(document, values, triggerSchema, "a file of triggers");
    if (structural.length > 0) {
        throw problemsIn(structural);
    }
    const written = values as WrittenFile;
    const reader = new Reader(document, path.dirname(path.resolve(file)), defaultIntervalSeconds);
    const triggers = written.triggers.map((trigger, index) => reader.trigger(trigger, ["triggers", index]));
    for (const [index, { name }] of written.triggers.entries()) {
        if (written.triggers.findIndex((other) => other.name === name) !== index) {
            reader.wrong(["triggers", index, "name"], `there are two triggers ${name}`);
        }
    }
    const credentials = reader.path(written.credentials, ["credentials"]);
    const webhookSecretFile = reader.path(written.webhookSecretFile, ["webhookSecretFile"]);
    if (reader.problems.length > 0) {
        throw problemsIn(reader.problems);
    }
    return {
        credentials,
        webhookSecretFile,
        triggers: triggers.filter((trigger) => trigger !== undefined),
    };
}

function problemsIn(problems: readonly Problem[]): TriggerFileError {
    const sorted = [...problems].sort((a, b) => a.offset - b.offset).map(({ text }) => text);
    return new TriggerFileError([...new Set(sorted)].join("\n"));
}

class Reader {
    public readonly problems: Problem[] = [];

    public constructor(
        private readonly document: PositionedDocument,
        private readonly directory: string,
        private readonly defaultIntervalSeconds: number,
    ) {}

    public trigger(written: Written, place: Place): Trigger | undefined {
        const at = (key: string) => [...place, key];
        const image = this.guarded(at("image"), () => parseReference(written.image));
        // A tag alone is that tag; a repository alone is its `latest`, as everywhere.
        const policyText = written.policy ?? "force";
        const policy = this.guarded(at("policy"), () => readPolicy(policyText));
        if (image?.digest !== undefined) {
            this.wrong(at("image"), "an image by digest never changes; give a repository, or a tag of it");
        }
        const config = this.config(written, place);
        const source = written.source === undefined ? undefined : this.source(written.source);
        const as = written.as ?? "image";
        if (as === "baseImage" && source === undefined) {
            this.wrong(place, "with `as: baseImage`, a trigger needs the `source` whose Dockerfile it is given to");
        }
        if (written.ref !== undefined && source === undefined) {
            this.wrong(at("ref"), "`ref` is of a `source`, which the trigger does not have");
        }
        for (const [index, name] of (written.release?.images ?? []).entries()) {
            this.releaseImage(name, [...place, "release", "images", index]);
        }
        if (image === undefined || policy === undefined) {
            return undefined;
        }
        return {
            name: written.name,
            image,
            policy,
            policyText,
            tag: image.tag ?? (policy.kind === "force" ? "latest" : ""),
            intervalSeconds: this.interval(written.interval, at("interval")),
            runsFirst: written.first === "build",
            as,
            source,
            ref: written.ref,
            config,
            labels: written.labels ?? {},
            timeoutSeconds: written.timeout === undefined ? undefined : this.duration(written.timeout, at("timeout")),
            release: written.release && {
                repository: written.release.repository,
                tag: written.release.tag,
                images: written.release.images ?? [],
                step: written.release.step,
            },
        };
    }

    /** A path of the file, which is relative to it; empty where there is none. */
    public path(value: string | undefined, place: Place): string {
        const file = value === undefined ? "" : path.resolve(this.directory, value);
        if (file !== "" && !fs.existsSync(file)) {
            this.wrong(place, `there is no file ${file}`);
        }
        return file;
    }

    public wrong(place: Place, problem: string, key?: string): void {
        this.problems.push(this.document.problem(place, problem, key));
    }

    private config(written: Written, place: Place): Readonly<Record<string, unknown>> {
        const config = written.config ?? {};
        for (const key of Object.keys(config).filter((name) => ownKeys.includes(name.replace(/^ke-1-build:/, "")))) {
            this.wrong([...place, "config"], `\`${key}\` is the trigger's own to say, not its config's`, key);
        }
        return {
            ...config,
            ...(written.pipeline === undefined
                ? {}
                : { pipeline: this.path(written.pipeline, [...place, "pipeline"]) }),
            ...(written.command === undefined ? {} : { command: written.command }),
        };
    }

    private source(source: string): string {
        return /^[a-z][a-z0-9+.-]*:|^[^/]+@[^/]+:/i.test(source) ? source : path.resolve(this.directory, source);
    }

    private interval(value: string | number | undefined, place: Place): number {
        const seconds = value === undefined ? this.defaultIntervalSeconds : this.duration(value, place);
        if (seconds !== 0 && seconds < leastInterval) {
            this.wrong(place, `\`interval\` must be 0, or ${leastInterval}s or more`);
        }
        return seconds;
    }

    private duration(value: string | number, place: Place): number {
        if (typeof value === "string" && !durationPattern.test(value)) {
            this.wrong(place, `\`${value}\` is no duration such as 30s, 5m or 1h`);
            return leastInterval;
        }
        const seconds = secondsOf(value);
        if (seconds < 0 || seconds > 7 * 86_400) {
            this.wrong(place, `\`${value}\` is not from 0 to seven days`);
        }
        return seconds;
    }

    /** `DESTINATION` or `SOURCE=DESTINATION`. */
    private releaseImage(text: string, place: Place): void {
        this.guarded(place, () => {
            const names = text.split("=");
            for (const name of names.slice(-1)) {
                parseReference(name.replaceAll(/\{(tag|digest|trigger)\}/g, "x"));
            }
            if (names.length > 2 || (names.length === 2 && !digestReference.test(names[0] ?? "") && names[0] === "")) {
                throw new UserError(`\`${text}\` is not DESTINATION or SOURCE=DESTINATION`);
            }
        });
    }

    private guarded<T>(place: Place, read: () => T): T | undefined {
        try {
            return read();
        } catch (error) {
            if (!(error instanceof UserError)) {
                throw error;
            }
            this.wrong(place, error.message);
            return undefined;
        }
    }
}
