/** What the program gives every build itself (contract/patterns.ts), and what no build is to have from a step. */
const notForBuilds =
    /^(KE1_.*|BUILD_TAG|SOURCE_DATE_EPOCH|PATH|HOME|SHELL|USER|HOSTNAME|PWD|LD_.*|SSH_.*|GIT_.*|DOCKER_.*)$/;

/**
 * Names of variables whose values are secrets: those that the agent redacts (its --redacted-vars), and those that no
 * environment of a stack may have (config/environmentShape.ts).
 */
const secretNames = [
    /_(PASSWORD|SECRET|TOKEN|PRIVATE_KEY|SSH_KEY|ACCESS_KEY|SECRET_KEY|CONNECTION_STRING|API_KEY)$/,
    /(^|_)(PASSWORD|PASSWD|PASSPHRASE|TOKEN|SECRET|PRIVATE_KEY|API_?KEY|ACCESS_KEY|CREDENTIALS?)$/i,
];

/** Of the agent's own variables, those that tell a build what it is part of. The others steer an agent, and there is none. */
const told = new RegExp(
    "^BUILDKITE(_(BRANCH|BUILD_CREATOR|BUILD_ID|BUILD_NUMBER|BUILD_URL|COMMIT|GROUP_KEY|GROUP_LABEL|JOB_ID|LABEL|MESSAGE|" +
        "ORGANIZATION_SLUG|PARALLEL_JOB|PARALLEL_JOB_COUNT|PIPELINE_DEFAULT_BRANCH|PIPELINE_NAME|PIPELINE_SLUG|" +
        "PULL_REQUEST|PULL_REQUEST_BASE_BRANCH|REBUILT_FROM_BUILD_NUMBER|RETRY_COUNT|SOURCE|STEP_ID|STEP_KEY|TAG|" +
        "TRIGGERED_FROM_BUILD_PIPELINE_SLUG|MATRIX_.*))?$",
);

export interface JobVariables {
    readonly env: Readonly<Record<string, string>>;
    /** Left out, as a build has no secret; the person who set them is told. */
    readonly withheld: readonly string[];
}

/** What of a job's environment its build gets. */
export function jobVariables(env: Readonly<Record<string, string>>): JobVariables {
    const passed: Record<string, string> = { CI: "true" };
    const withheld: string[] = [];
    for (const [name, value] of Object.entries(env)) {
        if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name) || notForBuilds.test(name) || value.includes("\0")) {
            continue;
        }
        if (name.startsWith("BUILDKITE")) {
            if (told.test(name)) {
                passed[name] = value;
            }
        } else if (secretNames.some((pattern) => pattern.test(name))) {
            withheld.push(name);
        } else {
            passed[name] = value;
        }
    }
    return { env: passed, withheld: withheld.sort() };
}
