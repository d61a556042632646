import * as assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";

import { TestProject } from "./harness";

/** One operation, and what is expected of it; what is left out is not looked at. */
interface Run {
    /** The step of the program that is brought up, or previewed. */
    readonly up?: number;
    readonly preview?: number;
    readonly destroy?: boolean;
    /** What the commands have logged; in this order where it is `ordered`. */
    readonly log?: readonly string[];
    readonly ordered?: boolean;
    /** Part of the error that it is to fail with. */
    readonly fails?: string;
    /** The names of the resources in the state afterwards, sorted. */
    readonly state?: readonly string[];
    readonly urns?: readonly string[];
    readonly outputs?: Readonly<Record<string, unknown>>;
    /** Steps of a preview. */
    readonly steps?: readonly string[];
    /** Outputs of resources, and of the stack, that are encrypted in the state. */
    readonly sealed?: Readonly<Record<string, readonly string[]>>;
    readonly sealedOutputs?: readonly string[];
    /** Texts that are nowhere in the state. */
    readonly absent?: readonly string[];
    /** How often each change was made, as the history has it. */
    readonly changes?: Readonly<Record<string, number>>;
    /** Parts of the resources' provider references. */
    readonly providers?: Readonly<Record<string, string>>;
}

interface Case {
    readonly rule: string;
    readonly runs: readonly Run[];
    /** Why the CLI does otherwise. */
    readonly embeddedOnly?: string;
    readonly secrets?: Readonly<Record<string, string>>;
}

/** How an engine carries out an operation: with what errors. */
export interface Driver {
    readonly isEmbedded: boolean;
    prepare(project: TestProject, secrets: Readonly<Record<string, string>>): Promise<void>;
    perform(
        project: TestProject,
        kind: "up" | "preview" | "destroy",
    ): Promise<{ readonly succeeded: boolean; readonly errors: string; readonly steps?: readonly string[] }>;
}

const directory = path.join(__dirname, "corpus");

/** Declares a mocha test for each program of the corpus. */
export function declareCorpus(driver: Driver): void {
    for (const name of fs.readdirSync(directory).sort()) {
        const read = (file: string): string => fs.readFileSync(path.join(directory, name, file), "utf8");
        const expected = JSON.parse(read("expected.json")) as Case;
        const declare = expected.embeddedOnly !== undefined && !driver.isEmbedded ? it.skip : it;
        declare(`${name}: ${expected.rule}`, async () => {
            const project = new TestProject(read("index.js"));
            try {
                await driver.prepare(project, expected.secrets ?? {});
                for (const [index, run] of expected.runs.entries()) {
                    await check(project, run, driver, `run ${index + 1}`);
                }
            } finally {
                project.remove();
            }
        });
    }
}

async function check(project: TestProject, run: Run, driver: Driver, label: string): Promise<void> {
    const step = run.up ?? run.preview;
    if (step !== undefined) {
        project.configure({ step });
    }
    const kind = run.destroy ? "destroy" : run.preview === undefined ? "up" : "preview";
    const { succeeded, errors, steps } = await driver.perform(project, kind);
    if (run.fails === undefined) {
        assert.ok(succeeded, `${label} failed: ${errors}`);
    } else {
        assert.ok(!succeeded, `${label} was to fail`);
        if (driver.isEmbedded) {
            assert.ok(errors.includes(run.fails), `${label} failed with: ${errors}`);
        }
    }
    const log = project.takeLog();
    if (run.log !== undefined) {
        const [actual, wanted] = run.ordered ? [log, run.log] : [[...log].sort(), [...run.log].sort()];
        assert.deepEqual(actual, wanted, `${label}: what the commands did`);
    }
    if (run.steps !== undefined && steps !== undefined) {
        assert.deepEqual([...steps].sort(), [...run.steps].sort(), `${label}: steps`);
    }
    if (run.changes !== undefined) {
        const { resourceChanges } = project.lastUpdate();
        const counted = Object.entries(resourceChanges).filter(([, count]) => count > 0);
        assert.deepEqual(Object.fromEntries(counted), run.changes, `${label}: changes`);
    }
    checkState(project, run, label);
}

function checkState(project: TestProject, run: Run, label: string): void {
    if (run.state !== undefined) {
        assert.deepEqual([...project.names()].sort(), [...run.state].sort(), `${label}: the state`);
    }
    const urns = fs.existsSync(project.checkpointPath) ? project.resources().map(({ urn }) => urn) : [];
    const missing = (run.urns ?? []).filter((urn) => !urns.includes(urn));
    assert.deepEqual(missing, [], `${label}: URNs missing of ${urns.join(", ")}`);
    if (run.outputs !== undefined) {
        assert.deepEqual(project.resource("test-dev").outputs, run.outputs, `${label}: outputs`);
    }
    const text = fs.existsSync(project.checkpointPath) ? project.checkpointText() : "";
    for (const secret of run.absent ?? []) {
        assert.ok(!text.includes(secret), `${label}: ${secret} is in the state`);
    }
    const sealed = { ...run.sealed, ...(run.sealedOutputs ? { "test-dev": run.sealedOutputs } : {}) };
    for (const [name, keys] of Object.entries(sealed)) {
        for (const key of keys) {
            const value = project.resource(name).outputs?.[key];
            assert.ok(JSON.stringify(value).includes('"ciphertext":"v1:'), `${label}: ${name}.${key} is not encrypted`);
        }
    }
    for (const [name, part] of Object.entries(run.providers ?? {})) {
        const { provider } = project.resource(name);
        assert.ok(String(provider).includes(part), `${label}: the provider of ${name} is ${String(provider)}`);
    }
    checkIntegrity(text === "" ? [] : project.resources(), label);
}

/** As the CLI demands of a snapshot: a resource comes after all that it depends on, its parent and its provider. */
function checkIntegrity(resources: ReturnType<TestProject["resources"]>, label: string): void {
    const seen = new Set<string>();
    for (const resource of resources) {
        const { urn, parent, provider } = resource;
        const dependencies = (resource.dependencies ?? []) as readonly string[];
        const providerUrn = typeof provider === "string" ? provider.slice(0, provider.lastIndexOf("::")) : undefined;
        for (const needed of [...dependencies, parent, providerUrn]) {
            if (typeof needed === "string" && needed !== "") {
                assert.ok(seen.has(needed), `${label}: in the state, ${urn} comes before ${needed}`);
            }
        }
        seen.add(urn);
    }
}
