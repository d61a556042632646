import * as assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";

import { parse } from "yaml";

import { TemporaryDirectory } from "../helpers/temporary";

const project = path.join(__dirname, "../..");
const file = path.join(project, "example/github/build.yaml");
const text = fs.readFileSync(file, "utf8");

interface Step {
    readonly name: string;
    readonly uses?: string;
    readonly run?: string;
    readonly with?: Readonly<Record<string, unknown>>;
    readonly env?: Readonly<Record<string, string>>;
}

interface Job {
    readonly if: string;
    readonly permissions: Readonly<Record<string, string>>;
    readonly environment?: string;
    readonly concurrency?: { readonly group: string; readonly "cancel-in-progress": boolean };
    readonly "runs-on": string;
    readonly "timeout-minutes": number;
    readonly env?: Readonly<Record<string, string>>;
    readonly steps: readonly Step[];
}

interface Workflow {
    readonly on: Readonly<Record<string, unknown>>;
    readonly permissions: Readonly<Record<string, string>>;
    readonly env: Readonly<Record<string, string>>;
    readonly jobs: Readonly<Record<string, Job>>;
}

/**
 * The workflow that a user copies to the repository to be built (docs/ci.md). It can run on GitHub only: what is checked
 * here is that it is well formed, and that nothing in it could leak or be moved to something else.
 */
describe("the workflow for GitHub Actions", () => {
    const workflow = parse(text) as Workflow;
    const jobs = Object.entries(workflow.jobs);
    const steps = jobs.flatMap(([, job]) => job.steps);
    const using = (action: string) => steps.filter((step) => step.uses?.startsWith(`${action}@`));
    const job = (name: string) => workflow.jobs[name]!;

    it("passes actionlint, which finds what is wrong with one", function () {
        this.timeout(300_000);
        const directory = new TemporaryDirectory();
        try {
            const found = actionlint(file);
            assert.equal(found.status, 0, found.stdout + found.stderr);
            const wrong = directory.file("build.yaml", text.replace("steps.up.conclusion", "steps.upp.conclusion"));
            assert.match(actionlint(wrong).stdout, /property "upp" is not defined/);
        } finally {
            directory.remove();
        }
    });

    it("takes every action at a commit, and says which version that is", () => {
        const uses = text.split("\n").filter((line) => /\buses:/.test(line));
        assert.ok(uses.length >= steps.filter((step) => step.uses).length);
        for (const line of uses) {
            assert.match(line, /uses: [\w.-]+\/[\w.-]+@[0-9a-f]{40} # v\d+(\.\d+)+$/);
        }
        const versions = new Map<string, Set<string>>();
        for (const { uses: used = "" } of steps) {
            const [action = "", commit = ""] = used.split("@");
            versions.set(action, (versions.get(action) ?? new Set()).add(commit));
        }
        for (const [action, commits] of versions) {
            assert.equal(commits.size, 1, action);
        }
    });

    it("takes the program at a commit, and tools at a version", () => {
        assert.match(workflow.env["PROGRAM_COMMIT"] ?? "", /^[0-9a-f]{40}$/);
        const checkouts = using("actions/checkout").filter((step) => step.with?.["repository"] !== undefined);
        assert.equal(checkouts.length, 2);
        for (const step of checkouts) {
            assert.equal(step.with?.["ref"], "${{ env.PROGRAM_COMMIT }}");
        }
        const { dependencies } = JSON.parse(fs.readFileSync(path.join(project, "package.json"), "utf8"));
        for (const step of using("pulumi/actions")) {
            assert.equal(step.with?.["pulumi-version"], dependencies["@pulumi/pulumi"], "as the program's SDK");
        }
        for (const step of using("azure/use-kubelogin")) {
            assert.match(String(step.with?.["kubelogin-version"]), /^v\d+\.\d+\.\d+$/);
        }
        for (const [name, { "runs-on": runner }] of jobs) {
            assert.doesNotMatch(runner, /latest/, name);
        }
    });

    it("knows no stored secret", () => {
        assert.doesNotMatch(text, /\bsecrets\s*[.[]/);
        assert.doesNotMatch(text, /PULUMI_ACCESS_TOKEN|PASSPHRASE|client-secret|creds:/);
        // The run's own token, which ends with the run, and only in the one step that pushes images.
        const given = steps.filter((step) => JSON.stringify(step).includes("github.token"));
        assert.deepEqual(
            given.map((step) => step.env),
            [{ REGISTRY_USERNAME: "${{ github.actor }}", REGISTRY_PASSWORD: "${{ github.token }}" }],
        );
        for (const step of using("actions/checkout")) {
            assert.equal(step.with?.["persist-credentials"], false, step.name);
        }
    });

    it("gives each job what it needs, and no more", () => {
        assert.deepEqual(workflow.permissions, {});
        assert.deepEqual(Object.fromEntries(jobs.map(([name, { permissions }]) => [name, permissions])), {
            preview: { contents: "read", "id-token": "write" },
            "no-preview": {},
            build: { contents: "read", "id-token": "write", packages: "write" },
        });
    });

    it("runs for pull requests with their own rights, never with those of the repository", () => {
        assert.deepEqual(Object.keys(workflow.on).sort(), ["pull_request", "push"]);
        assert.doesNotMatch(text, /pull_request_target|workflow_run/);
        assert.match(job("preview").if, /head\.repo\.full_name == github\.repository/);
        assert.match(job("no-preview").if, /head\.repo\.full_name != github\.repository/);
        assert.equal(job("build").if, "github.event_name == 'push'");
        assert.deepEqual(workflow.on["push"], { tags: ["v*"] });
        // Two identities: that of pull requests cannot be that which builds.
        const identities = using("azure/login").map((step) => step.with?.["client-id"]);
        assert.deepEqual(identities, ["${{ vars.AZURE_PREVIEW_CLIENT_ID }}", "${{ vars.AZURE_CLIENT_ID }}"]);
        assert.equal(job("build").environment, "builds");
        assert.equal(job("preview").environment, undefined);
    });

    it("puts nothing that others may name into a script", () => {
        for (const { name, run } of steps) {
            assert.doesNotMatch(run ?? "", /\$\{\{/, name);
        }
    });

    it("checks the policies before it changes anything, and changes nothing in a pull request", () => {
        const commands = (name: string) =>
            job(name)
                .steps.map(({ run }) => run ?? "")
                .join("\n");
        assert.match(commands("preview"), /pulumi preview .*--policy-pack policy/);
        assert.doesNotMatch(commands("preview"), /pulumi (up|destroy|refresh)/);
        assert.match(commands("build"), /pulumi up .*--policy-pack policy/);
        assert.doesNotMatch(commands("build"), /--skip-preview/);
    });

    it("builds the tag, one at a time, and attaches log and artifacts", () => {
        const { env, concurrency, steps: build } = job("build");
        assert.equal(env?.["BUILD_TAG"], "${{ github.ref_name }}");
        assert.equal(concurrency?.["cancel-in-progress"], false);
        assert.doesNotMatch(concurrency.group, /\$\{\{/);
        const attached = build.filter((step) => step.uses?.startsWith("actions/upload-artifact@"));
        assert.deepEqual(
            attached.map((step) => step.with?.["path"]),
            ["build.log", "artifacts"],
        );
        for (const [name, { "timeout-minutes": minutes }] of jobs) {
            // Longer than that, a login to Azure is not taken any more (docs/ci.md).
            assert.ok(minutes > 0 && minutes <= 60, name);
        }
    });
});

function actionlint(workflow: string) {
    // Only its own rules: what else is installed on a machine is not to decide.
    return spawnSync("go", ["tool", "actionlint", "-no-color", "-shellcheck=", "-pyflakes=", workflow], {
        cwd: path.join(project, "tests/tools"),
        encoding: "utf8",
    });
}
