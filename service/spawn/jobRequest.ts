import { UserError } from "../../contract/errors";
import type { BuildRequest } from "../build";
import { checkCallerConfig } from "../callerConfig";
import { jobVariables } from "./jobVariables";
import type { Job } from "./protocol";
import { stepSettings } from "./stepSettings";

/** The label of a build by which the job that it belongs to is found again. */
export const jobLabel = "buildkite_job";
/** The label that says which BUILD_TAG its source is to be given (spawn/source.ts). */
export const tagLabel = "build_tag";
/** The environment that a job's build runs in: the step's, or the stack's, with the job's variables. */
const environmentName = "buildkite-job";

/** What of the base stack's configuration a job's build goes on from. */
export interface JobBase {
    readonly environments: Readonly<Record<string, unknown>>;
    readonly environment: string;
    /** The most that a build may take, in seconds. */
    readonly timeoutSeconds: number;
}

export interface JobBuild {
    readonly request: BuildRequest;
    /** What whoever reads the log should know. */
    readonly notes: readonly string[];
}

/**
 * The build that a job asks for.
 *
 * @throws UserError, one line, for a job that cannot be run here.
 */
export function jobBuild(job: Job, base: JobBase): JobBuild {
    const { env } = job;
    const text = (name: string) => (env[name] === "false" ? "" : (env[name] ?? "").trim());
    if (job.step?.signature) {
        throw new UserError("the step is signed, and there is no key here to verify it with");
    }
    const source = text("BUILDKITE_REPO");
    if (source === "") {
        throw new UserError("the job names no repository (BUILDKITE_REPO), and there is nothing to build without one");
    }
    if (hasCredential(source)) {
        throw new UserError(
            "the repository's address (BUILDKITE_REPO) has a credential in it, which would be kept and shown",
        );
    }
    const settings = stepSettings(env);
    // Before the operator's own environments are with it, which may name Secrets.
    checkCallerConfig(settings);
    const command = text("BUILDKITE_COMMAND");
    if (command !== "" && settings["pipeline"] !== undefined) {
        throw new UserError(
            "a step has a command or a pipeline, not both: the pipeline's steps have commands of their own",
        );
    }
    const artifacts = artifactSettings(settings, text("BUILDKITE_ARTIFACT_PATHS"));
    const { env: variables, withheld } = jobVariables(env);
    const config = {
        ...settings,
        ...artifacts,
        // A pipeline's steps say for themselves what runs.
        ...(command === "" ? {} : { command: ["/bin/sh", "-e", "-c", command] }),
        ...environmentOf(settings, base, variables),
    };
    const commit = text("BUILDKITE_COMMIT");
    const ref = commit === "" || commit === "HEAD" ? text("BUILDKITE_TAG") || text("BUILDKITE_BRANCH") : commit;
    const minutes = Number(text("BUILDKITE_TIMEOUT"));
    return {
        request: {
            kind: "build",
            source,
            ref,
            config,
            labels: labelsOf(job, { repo: source, ref }),
            timeoutSeconds: minutes > 0 ? Math.min(minutes * 60, base.timeoutSeconds) : base.timeoutSeconds,
        },
        notes: withheld.length > 0 ? [`not passed on, as a build has no secret: ${withheld.join(", ")}`] : [],
    };
}

/** `git@host` of an ssh address is no secret; what stands there in an http address is one, or half of one. */
function hasCredential(address: string): boolean {
    const url = URL.canParse(address) ? new URL(address) : undefined;
    return url !== undefined && (url.password !== "" || (/^https?:$/.test(url.protocol) && url.username !== ""));
}

/** The job's variables in an environment that goes on from the one that would have been used. */
function environmentOf(
    settings: Readonly<Record<string, unknown>>,
    base: JobBase,
    env: Readonly<Record<string, string>>,
): Readonly<Record<string, unknown>> {
    if (settings["pipeline"] !== undefined) {
        return {};
    }
    const chosen = settings["environment"] ?? base.environment;
    if (typeof chosen === "string" && chosen !== "" && !Object.hasOwn(base.environments, chosen)) {
        const known = Object.keys(base.environments).join(", ");
        throw new UserError(`there is no environment ${chosen}; there ${known === "" ? "are none" : `are ${known}`}`);
    }
    const own = chosen === "" ? { env } : { extends: chosen, env };
    return { environments: { ...base.environments, [environmentName]: own }, environment: environmentName };
}

/** `artifact_paths` names files by patterns, a build has a directory: `dir/**` and its like are the directory. */
function artifactSettings(
    settings: Readonly<Record<string, unknown>>,
    paths: string,
): Readonly<Record<string, unknown>> {
    if (settings["artifactDirectory"] !== undefined || settings["pipeline"] !== undefined) {
        return {};
    }
    if (paths === "") {
        // As with an agent: what a step does not name is not kept.
        return { artifacts: false };
    }
    const directory = /^(?:\.\/)?([^*?[\]{};,]+?)\/\*(?:\*(?:\/\*)?)?$/.exec(paths)?.[1];
    if (directory === undefined) {
        throw new UserError(
            `artifact_paths must be one directory with all that is in it, such as \`bin/**/*\`; it is ${paths.slice(0, 200)}`,
        );
    }
    return { artifactDirectory: directory };
}

function labelsOf(job: Job, found: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
    const of = (name: string) => job.env[`BUILDKITE_${name}`] ?? "";
    const labels = {
        ...{ app: of("PIPELINE_SLUG"), org: of("ORGANIZATION_SLUG"), branch: of("BRANCH"), sha: of("COMMIT") },
        ...{ build_number: of("BUILD_NUMBER"), build_uuid: of("BUILD_ID"), step: of("STEP_KEY") || of("LABEL") },
        ...{ repo: found["repo"] ?? "", [jobLabel]: job.id, [tagLabel]: buildTagOf(job) },
    };
    return Object.fromEntries(Object.entries(labels).filter(([, value]) => value !== ""));
}

/**
 * Each job is a build of its own, with a BUILD_TAG of its own: several steps of one commit run different commands, and a job
 * that somebody starts again is to run again.
 */
function buildTagOf({ id, env }: Job): string {
    const pipeline = (env["BUILDKITE_PIPELINE_SLUG"] ?? "")
        .replace(/[^A-Za-z0-9_.-]+/g, "-")
        .replace(/^[^A-Za-z0-9]+/, "")
        .slice(0, 24);
    const number = /^\d{1,12}$/.exec(env["BUILDKITE_BUILD_NUMBER"] ?? "")?.[0];
    return [pipeline === "" ? "job" : pipeline, number, id.replace(/[^a-z0-9]/gi, "").slice(0, 12)]
        .filter((part) => part !== undefined)
        .join("-");
}
