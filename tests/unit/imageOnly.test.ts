import { strict as assert } from "node:assert";
import * as fs from "node:fs";
import * as path from "node:path";

import { readSettings } from "../../config";
import { projectDirectory } from "../helpers/ke1";
import { buildableRepository, runProgram } from "../helpers/program";
import { TemporaryRepository } from "../helpers/temporary";

const image = "docker:index/image:Image";

describe("a stack of images alone", () => {
    let repository: TemporaryRepository;
    let tag: string;

    beforeEach(() => {
        repository = new TemporaryRepository();
        tag = buildableRepository(repository);
    });
    afterEach(() => repository.remove());

    const own = { kubeContext: "c", registry: "r.example/team", blobEndpoint: "https://blobs.example" };
    const run = async (config: Record<string, string>, environment: NodeJS.ProcessEnv = {}) =>
        runProgram({
            program: "main",
            environment,
            config: { ...own, imageOnly: "true", source: repository.path, ...config },
            secretKeys: ["registryPassword"],
        });

    it("declares the image under each of its tags, and nothing else", async () => {
        const { declared, outputs } = await run({
            ...{
                imageName: "shop",
                imageTags: '["1.7","latest"]',
                buildArgs: '{"A":"1"}',
                imageLabels: '{"app":"shop"}',
            },
            ...{ noCache: "true", registryUsername: "alice", registryPassword: "open-sesame" },
        });
        const images = declared.filter(({ type }) => type === image);
        assert.deepEqual(
            images.map(({ inputs }) => String(inputs["imageName"])),
            ["r.example/team/shop:1.7", "r.example/team/shop:latest"],
        );
        const others = declared.filter(({ type }) => type !== image).map(({ type }) => type);
        assert.deepEqual([...new Set(others)].sort(), ["ke1:components:BuildImage", "ke1:components:PushedImage"]);
        const [first, second] = images.map(
            ({ inputs }) => inputs["build"] as { args: Record<string, string>; context: string },
        );
        assert.deepEqual(first, second, "one build, two names");
        assert.equal(first?.args["A"], "1");
        assert.match(first.args["KE1_NO_CACHE"] ?? "", /^[0-9a-f-]{36}$/);
        const dockerfile = fs.readFileSync(path.join(projectDirectory, first.context, "Dockerfile"), "utf8");
        assert.match(dockerfile, /^FROM scratch\nARG A\nARG KE1_NO_CACHE\nLABEL .*app="shop"/);
        assert.ok(images.every(({ secrets }) => secrets.some((secret) => secret.startsWith("registry"))));
        assert.equal(outputs["buildTag"], tag);
        assert.deepEqual(outputs["tags"], ["1.7", "latest"]);
    });

    it("is the same for a run that is taken up again by another process", async () => {
        const { one } = await run({ noCache: "true" }, { KE1_RUN_ID: "a-service's-build" });
        assert.equal(
            (one(image) as { build: { args: Record<string, string> } }).build.args["KE1_NO_CACHE"],
            "a-service's-build",
        );
    });

    it("has the BUILD_TAG where no tags are given, and wants no Makefile", async () => {
        fs.rmSync(path.join(repository.path, "Makefile"));
        tag = repository.commit();
        const { declared } = await run({});
        const images = declared.filter(({ type }) => type === image);
        assert.deepEqual(
            images.map(({ inputs }) => String(inputs["imageName"])),
            [`r.example/team/ke-1-build:${tag}`],
        );
    });

    it("builds nothing of an image that is there", async () => {
        const given = `r.example/x@sha256:${"a".repeat(64)}`;
        const { declared, outputs } = await run({ image: given });
        assert.deepEqual(declared, []);
        assert.equal(outputs["image"], given);
    });

    it("says what cannot be in one line", () => {
        const read = (config: Record<string, string>) => () =>
            readSettings({ get: (key) => ({ ...own, ...config })[key] }, { project: "p", stack: "s" }, {});
        const cases: readonly (readonly [Record<string, string>, RegExp])[] = [
            [{ imageTags: '["x"]' }, /imageTags is for imageOnly/],
            [{ imageOnly: "yes" }, /imageOnly must be true or false/],
            [{ imageOnly: "true", imageTags: '["a b"]' }, /each of imageTags must be a tag/],
            [{ imageOnly: "true", imageBuilder: "cluster" }, /imageOnly is not for imageBuilder cluster/],
            [{ buildArgs: '{"A B":"x"}' }, /buildArgs has `A B`/],
            [{ buildArgs: "[]" }, /buildArgs must be an object/],
            [{ imageLabels: '{"x\\n":"y"}' }, /imageLabels has/],
        ];
        for (const [config, message] of cases) {
            assert.throws(read(config), message);
        }
    });
});
