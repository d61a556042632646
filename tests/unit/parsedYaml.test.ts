import * as assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";

import { parse } from "yaml";

import { parsedYaml, parseYaml } from "../../engine/parsedYaml";
import { projectDirectory } from "../helpers/ke1";
import { TemporaryDirectory } from "../helpers/temporary";

describe("YAML that has been parsed beforehand", () => {
    const long = `config:\n  k: a value\n${"  # and a word on it\n".repeat(400)}`;
    let directory: TemporaryDirectory;
    beforeEach(() => (directory = new TemporaryDirectory()));
    afterEach(() => directory.remove());

    const file = (content: string): string => directory.file("parsed.json", content);

    it("is taken while the text is the same", () => {
        const made = { ...parsedYaml(long), document: "as it was parsed" };
        assert.equal(parseYaml(long, file(JSON.stringify(made))), "as it was parsed");
        assert.deepEqual(parseYaml(`${long}  more: 1\n`, file(JSON.stringify(made))), parse(`${long}  more: 1\n`));
    });

    it("is not missed where it is not there, or not whole", () => {
        assert.deepEqual(parseYaml(long, path.join(directory.path, "absent")), parse(long));
        assert.deepEqual(parseYaml(long, file('{"sha256": "ab')), parse(long));
    });

    it("is what `make` has made of Pulumi.yaml", () => {
        const text = fs.readFileSync(path.join(projectDirectory, "Pulumi.yaml"), "utf8");
        const made: unknown = JSON.parse(fs.readFileSync(path.join(projectDirectory, "dist", "Pulumi.json"), "utf8"));
        assert.deepEqual(made, JSON.parse(JSON.stringify(parsedYaml(text))));
    });
});
