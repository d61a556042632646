import type { KeyObject } from "node:crypto";
import { once } from "node:events";
import * as fs from "node:fs";

import { buildTagLabel, stepLabel } from "../contract/labels";
import { buildName, keyOfName } from "../contract/layout";
import type { Manifest } from "../contract/manifest";
import { messageOf, UserError } from "../contract/errors";
import { downloadArtifacts } from "../launcher/artifacts";
import { listBuilds } from "../launcher/builds";
import { Cluster } from "../launcher/cluster";
import { examine, shown } from "../launcher/evidence";
import { listLogs, showLog } from "../launcher/logs";
import { TerminalView } from "../launcher/logView";
import { parsePublicKey } from "../launcher/signature";
import type { BuildStore } from "../launcher/store";
import { evidenceIn, evidenceOf, verifyDirectory, verifyStore } from "../launcher/verify";
import { resolveSource } from "../source/resolve";
import { columns } from "./columns";
import { openStore, pollIntervalFor } from "./context";
import { stackSettings } from "./settings";

export interface StackOptions {
    readonly stack: string;
    readonly cwd: string;
}

export interface LogsOptions extends StackOptions {
    readonly follow: boolean;
    readonly offset: string;
    readonly container?: string;
    readonly list: boolean;
    readonly file?: string;
}

export interface ArtifactsOptions extends StackOptions {
    readonly to?: string;
    readonly json: boolean;
}

export interface VerifyOptions extends StackOptions {
    readonly key?: string;
    readonly from?: string;
}

export interface BuildsOptions extends StackOptions {
    readonly json: boolean;
}

function open(options: StackOptions, tag?: string) {
    const stack = stackSettings(options.cwd, options.stack);
    const settings = stack.read();
    const containerUrl = `${settings.blobEndpoint}/${settings.blobContainer}`;
    const ofSource = (): string =>
        resolveSource({
            source: settings.source,
            buildTag: settings.buildTags[0] ?? "",
            allowDirty: settings.allowDirty,
            // Whoever goes on editing can still look at what has been built.
            ignoreChanges: true,
            projectDirectory: stack.projectDirectory,
        }).buildTag + (settings.buildTagSuffix ?? "");
    const buildTag = tag ?? ofSource();
    return { settings, containerUrl, store: openStore(containerUrl), buildTag, key: keyOfName(buildTag) };
}

/** Whoever names a pipeline where one build is meant is told its steps. */
async function refusePipeline(store: BuildStore, buildTag: string, command: string): Promise<void> {
    const steps = buildTag.includes("/") ? [] : await store.steps(buildTag);
    if (steps.length > 0 && (await store.attempts(buildTag)).length === 0) {
        const names = steps.map((step) => buildName(buildTag, step));
        throw new UserError(
            `${buildTag} is a pipeline; name one of its steps, as in \`ke1 ${command} ${names[0] ?? ""}\`: ${names.join(", ")}`,
        );
    }
}

/** Writes a log to stdout. */
export async function logs(tag: string | undefined, options: LogsOptions): Promise<void> {
    const offset = Number(options.offset);
    if (!Number.isSafeInteger(offset) || offset < 0) {
        throw new UserError(`--offset must be a number of bytes, not ${options.offset}`);
    }
    const { store, buildTag, key, containerUrl } = open(options, tag);
    await refusePipeline(store, buildTag, "logs");
    if (options.list) {
        for (const { name, size } of await listLogs(store, key)) {
            process.stdout.write(`${String(size).padStart(12)}  ${name}\n`);
        }
        return;
    }
    const interrupted = new AbortController();
    process.once("SIGINT", () => interrupted.abort());
    // Whoever reads may have seen enough.
    const unread = new AbortController();
    process.stdout.once("close", () => unread.abort());
    // A person gets what is safe to look at; a program gets the bytes.
    const view = process.stdout.isTTY ? new TerminalView() : undefined;
    const end = await showLog(
        store,
        key,
        {
            follow: options.follow,
            container: options.container,
            file: options.file,
            offset,
            pollInterval: pollIntervalFor(containerUrl),
            startLimit: 60_000,
        },
        async (bytes) => written(view ? view.show(bytes) : bytes),
        AbortSignal.any([interrupted.signal, unread.signal]),
    );
    if (view) {
        await written(view.end());
    }
    if (interrupted.signal.aborted) {
        const which = options.file === undefined ? "" : `--file ${options.file} `;
        process.stderr.write(`go on with: ke1 logs ${buildTag} ${which}--follow --offset ${end.offset}\n`);
        process.exitCode = 130;
    }
}

/** Waits until the reader has taken it, or is gone. */
async function written(content: Buffer | string): Promise<void> {
    if (!process.stdout.write(content) && !process.stdout.destroyed) {
        await Promise.race([once(process.stdout, "drain"), once(process.stdout, "close")]).catch(() => undefined);
    }
}

/** Lists or downloads a build's artifacts. */
export async function artifacts(tag: string | undefined, options: ArtifactsOptions): Promise<void> {
    const { store, buildTag, key } = open(options, tag);
    const manifest = await store.manifest(key);
    if (!manifest) {
        await refusePipeline(store, buildTag, "artifacts");
        throw new UserError(
            `${buildTag} has no artifacts: it was not built, or failed; \`ke1 builds\` lists what there is`,
        );
    }
    if (options.to !== undefined) {
        await downloadArtifacts(store, manifest, options.to, (artifact, file) => {
            process.stderr.write(`${artifact.name}: ${artifact.size} bytes, sha256 verified\n`);
            process.stdout.write(`${file}\n`);
        });
    } else if (options.json) {
        process.stdout.write(`${JSON.stringify(manifest.artifacts, undefined, 2)}\n`);
    } else {
        for (const artifact of manifest.artifacts) {
            process.stdout.write(`${artifact.sha256}  ${String(artifact.size).padStart(12)}  ${artifact.name}\n`);
        }
    }
}

/** Verifies a build in the store, or in a directory. */
export async function verify(tag: string | undefined, options: VerifyOptions): Promise<void> {
    const key = options.key === undefined ? undefined : publicKey(options.key);
    const opened = options.from === undefined ? open(options, tag) : undefined;
    const evidence = opened ? await evidenceOf(opened.store, opened.key) : evidenceIn(options.from ?? "");
    if (opened && !evidence.manifest) {
        await refusePipeline(opened.store, opened.buildTag, "verify");
        throw new UserError(`${opened.buildTag} was not built; \`ke1 builds\` lists what there is`);
    }
    const { manifest, problems, signedBy, claimedKeys } = examine(
        evidence,
        key,
        opened?.key ?? (tag && keyOfName(tag)),
    );
    const note = (text: string) => process.stderr.write(`${text}\n`);
    const all = [...problems];
    if (manifest) {
        all.push(
            ...(opened
                ? await verifyStore(opened.store, manifest, note)
                : await verifyDirectory(options.from ?? "", manifest)),
        );
    }
    if (all.length > 0 || !manifest) {
        process.stdout.write(all.map((problem) => `${problem}\n`).join(""));
        throw new Error(`${shown(manifest ? nameOf(manifest) : (tag ?? options.from))} does not verify`);
    }
    if (!signedBy) {
        note(
            claimedKeys.length > 0
                ? `it is signed, it says, by ${claimedKeys.map(shown).join(", ")}; give --key to check that`
                : "it is not signed: whoever may write to the store can change it",
        );
    }
    process.stdout.write(
        `${nameOf(manifest)}: ${manifest.artifacts.length} artifacts verified, ` +
            `of ${manifest.source.commit ?? manifest.source.tree}${signedBy ? `, signed by ${signedBy}` : ""}\n`,
    );
}

function nameOf({ buildTag, step }: Manifest): string {
    return buildName(buildTag, step);
}

export function publicKey(file: string): KeyObject {
    try {
        return parsePublicKey(fs.readFileSync(file, "utf8"));
    } catch (error) {
        throw new UserError(`--key ${file}: ${messageOf(error)}`);
    }
}

/** Lists builds. */
export async function builds(options: BuildsOptions): Promise<void> {
    const { store } = open(options, "");
    const found = await listBuilds(store);
    if (options.json) {
        process.stdout.write(`${JSON.stringify(found, undefined, 2)}\n`);
        return;
    }
    const rows = [
        ["BUILD_TAG", "OUTCOME", "STARTED", "SECONDS", "ATTEMPTS", "ARTIFACTS"],
        ...found.map((build) => [
            buildName(build.buildTag, build.step),
            build.outcome,
            build.startedAt?.replace(/\.\d+Z$/, "Z") ?? "-",
            build.buildSeconds?.toFixed(1) ?? "-",
            String(build.attempts),
            String(build.artifacts),
        ]),
    ];
    process.stdout.write(`${columns(rows).join("\n")}\n`);
}

/** Suspends the running Jobs of a tag. */
export async function cancel(tag: string, options: StackOptions): Promise<void> {
    const { settings } = open(options, tag);
    const cluster = Cluster.connect({ kubeconfig: settings.kubeconfig, context: settings.kubeContext });
    const [buildTag = "", step] = tag.split("/", 2);
    const selector = `${buildTagLabel}=${buildTag}${step === undefined ? "" : `,${stepLabel}=${step}`}`;
    const jobs = await cluster.jobsWithLabel(settings.namespace, selector);
    const running = jobs.filter((job) => !job.status?.completionTime && (job.status?.active ?? 0) > 0);
    if (running.length === 0) {
        throw new UserError(
            `no build of ${tag} is running in ${settings.namespace}; \`ke1 builds\` lists what there is`,
        );
    }
    for (const job of running) {
        await cluster.suspendJob(settings.namespace, job.metadata?.name ?? "", true);
        process.stderr.write(`${tag}: cancelled ${job.metadata?.name ?? ""}\n`);
    }
}
