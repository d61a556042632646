import * as assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";

import { Ajv2020, type ValidateFunction } from "ajv/dist/2020";

import { buildTagPattern } from "../../contract/layout";
import { outcomes } from "../../contract/outcome";

const contract = path.join(__dirname, "../../contract");
const documents = ["manifest", "started", "finished", "exporter-result"] as const;

type Json = Record<string, unknown>;

function read(...parts: readonly string[]): Json {
    return JSON.parse(fs.readFileSync(path.join(contract, ...parts), "utf8")) as Json;
}

function validator(document: string): ValidateFunction {
    return new Ajv2020({ strict: true, allErrors: true }).compile(read("schemas", `${document}.schema.json`));
}

/** Every object schema in a schema, with the place where it is. */
function objectSchemas(schema: unknown, at: string): { at: string; schema: Json }[] {
    if (typeof schema !== "object" || schema === null) {
        return [];
    }
    const here = (schema as Json)["type"] === "object" ? [{ at, schema: schema as Json }] : [];
    return [...here, ...Object.entries(schema).flatMap(([key, value]) => objectSchemas(value, `${at}/${key}`))];
}

describe("the contract's schemas", () => {
    for (const document of documents) {
        it(`are closed: ${document}`, () => {
            const found = objectSchemas(read("schemas", `${document}.schema.json`), document);
            assert.notEqual(found.length, 0);
            // What a sidecar says of a build is its own; only its bounds are the contract's.
            for (const { at, schema } of found.filter((each) => !each.at.includes("/summaries"))) {
                assert.equal(schema["additionalProperties"], false, at);
            }
        });
    }

    it("take every sample", () => {
        const samples = fs.readdirSync(path.join(contract, "testdata"));
        for (const document of documents) {
            const own = samples.filter((name) => name.startsWith(document));
            assert.notEqual(own.length, 0, document);
            const validate = validator(document);
            for (const name of own) {
                assert.ok(validate(read("testdata", name)), `${name}: ${JSON.stringify(validate.errors)}`);
            }
        }
    });

    it("know the same outcomes and build tags as the types", () => {
        for (const document of ["finished", "exporter-result"]) {
            const properties = read("schemas", `${document}.schema.json`)["properties"] as Record<string, Json>;
            assert.deepEqual(properties["outcome"]?.["enum"], outcomes, document);
        }
        for (const document of ["manifest", "started", "finished"]) {
            const definitions = read("schemas", `${document}.schema.json`)["$defs"] as Record<string, Json>;
            assert.equal(definitions["buildTag"]?.["pattern"], buildTagPattern.source, document);
        }
    });

    describe("refuse", () => {
        const artifact = (changes: Json) => ({ artifacts: [{ ...samplesArtifact(), ...changes }] });
        const samplesArtifact = () => (read("testdata", "manifest.json")["artifacts"] as Json[])[0]!;
        const cases: readonly (readonly [string, (typeof documents)[number], Json])[] = [
            ["another version", "manifest", { schemaVersion: 2 }],
            ["a property that nobody knows", "manifest", { extra: true }],
            ["a tag that leads elsewhere", "manifest", { buildTag: "../other" }],
            ["an image by tag", "manifest", { image: "localhost:5000/ke-1-build:latest" }],
            ["no artifacts", "manifest", { artifacts: [] }],
            ["a short commit", "manifest", { source: { commit: "0b6f5a1", tree: "0".repeat(40) } }],
            ["an absolute name", "manifest", artifact({ name: "/etc/passwd" })],
            ["a name that goes up", "manifest", artifact({ name: "../x" })],
            ["a name that goes up in between", "manifest", artifact({ name: "a/../../x" })],
            ["a name that is the directory", "manifest", artifact({ name: "." })],
            ["a name with an empty part", "manifest", artifact({ name: "a//b" })],
            ["a name that ends with a slash", "manifest", artifact({ name: "a/" })],
            ["a name with a backslash", "manifest", artifact({ name: "..\\x" })],
            ["a name with a newline", "manifest", artifact({ name: "a\nb" })],
            ["a name that ends with a newline", "manifest", artifact({ name: "a\n" })],
            ["upper-case hex", "manifest", artifact({ sha256: "A".repeat(64) })],
            ["a negative size", "manifest", artifact({ size: -1 })],
            ["a link to an absolute path", "manifest", { links: [{ name: "x", target: "/etc/passwd" }] }],
            ["a time with another zone", "started", { startedAt: "2026-11-21T08:51:01.123+01:00" }],
            ["a log elsewhere", "started", { log: "bin/x.log" }],
            ["attempt 0", "finished", { attempt: 0 }],
            ["an outcome of its own", "finished", { outcome: "Fine" }],
            ["an exit code that cannot be", "exporter-result", { exitCode: 256 }],
        ];
        for (const [what, document, changes] of cases) {
            it(`${what} (${document})`, () => {
                const sample = read("testdata", `${document}.json`);
                assert.ok(validator(document)(sample));
                assert.equal(validator(document)({ ...sample, ...changes }), false);
            });
        }
        it("a document that lacks anything that is required", () => {
            for (const document of documents) {
                const validate = validator(document);
                const sample = read("testdata", `${document}.json`);
                for (const property of read("schemas", `${document}.schema.json`)["required"] as string[]) {
                    const without = Object.fromEntries(Object.entries(sample).filter(([key]) => key !== property));
                    assert.equal(validate(without), false, `${document} without ${property}`);
                }
            }
        });
    });
});
