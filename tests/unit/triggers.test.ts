import * as assert from "node:assert/strict";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";

import { repositoriesOfEnvelope, repositoryOfPackage } from "../../service/triggers/notification";
import { TriggerMemory } from "../../service/triggers/memory";
import { readPolicy, tagsToWatch } from "../../service/triggers/policy";
import { readTriggers } from "../../service/triggers/read";
import { requestOf } from "../../service/triggers/request";
import { Pace } from "../../service/triggers/watch";
import { RepositoryClient } from "../../service/registry/client";
import { HttpError } from "../../service/registry/errors";
import { parseChallenges } from "../../service/registry/authorization";
import { parseReference, registryUrl } from "../../service/registry/reference";
import { TemporaryDirectory } from "../helpers/temporary";

const [one, two, three] = ["1", "2", "3"].map((digit) => `sha256:${digit.repeat(64)}`) as [string, string, string];

describe("an image's name", () => {
    it("is read as Docker reads it", () => {
        const cases: readonly (readonly [string, string, string, string?])[] = [
            ["alpine", "https://registry-1.docker.io", "library/alpine"],
            ["team/app:v1", "https://registry-1.docker.io", "team/app", "v1"],
            ["ghcr.io/team/app", "https://ghcr.io", "team/app"],
            ["localhost:5000/app:x", "http://localhost:5000", "app", "x"],
            ["127.0.0.1:5000/a/b/c", "http://127.0.0.1:5000", "a/b/c"],
            ["http://10.0.0.7:5000/app", "http://10.0.0.7:5000", "app"],
        ];
        for (const [text, url, repository, tag] of cases) {
            const reference = parseReference(text);
            assert.deepEqual([registryUrl(reference), reference.repository, reference.tag], [url, repository, tag]);
        }
    });

    it("is refused in one line", () => {
        for (const text of [
            "",
            "a b",
            "Team/App",
            "a:b:c",
            `a@${one}@${two}`,
            "app@sha256:1",
            "http://registry.example.com/a",
        ]) {
            assert.throws(() => parseReference(text), { name: "UserError", message: /^[^\n]+$/ });
        }
    });
});

describe("a trigger's policy", () => {
    const tags = [
        "1.0.0",
        "v1.0.1",
        "1.1.0",
        "1.1",
        "1.2.0-rc.1",
        "2.0.0",
        "2.1.0-beta",
        "latest",
        "main-12",
        "main-9",
    ];
    const watch = (policy: string, current: string) => tagsToWatch(readPolicy(policy), current, tags);

    it("follows versions as far as it may", () => {
        assert.deepEqual(watch("patch", "1.0.0"), ["v1.0.1"]);
        assert.deepEqual(watch("minor", "1.0.0"), ["1.1.0"]);
        assert.deepEqual(watch("major", "1.0.0"), ["2.0.0"]);
        assert.deepEqual(watch("all", "1.0.0"), ["2.1.0-beta"]);
        assert.deepEqual(watch("minor", "1.2.0-rc.0"), ["1.2.0-rc.1"]);
        assert.deepEqual(watch("major", ""), ["2.0.0"]);
        assert.deepEqual(watch("major", "3.0.0"), [], "never back");
    });

    it("takes the one tag, or those of a pattern", () => {
        assert.deepEqual(watch("force", "main"), ["main"]);
        assert.deepEqual(watch("glob:main-*", ""), ["main-12", "main-9"]);
        assert.deepEqual(watch("glob:main-?", ""), ["main-9"]);
        assert.deepEqual(watch("glob:1.0", ""), [], "a dot is a dot");
        assert.deepEqual(watch("regexp:main-[0-9]+|latest", ""), ["latest", "main-12", "main-9"]);
        for (const text of ["", "newest", "glob:", "regexp:("]) {
            assert.throws(() => readPolicy(text), { name: "UserError" });
        }
    });
});

describe("a trigger's memory", () => {
    let database: DatabaseSync;
    let memory: TriggerMemory;

    beforeEach(() => {
        database = new DatabaseSync(":memory:");
        memory = new TriggerMemory(database);
    });

    afterEach(() => database.close());

    const observe = (...digests: readonly string[]) =>
        memory.observe(
            "t",
            "w",
            digests.map((digest, index) => ({ tag: `tag-${index}`, digest })),
            false,
        );

    it("takes what is there at first for known, and each digest after it for new once", () => {
        assert.equal(observe(one), undefined);
        assert.equal(observe(one), undefined);
        const pending = observe(two);
        assert.equal(pending?.digest, two);
        // It is asked for again, and stays the same until it is started.
        assert.equal(observe(two)?.run, pending.run);
        memory.started("t", "w", pending, "build-1");
        assert.equal(observe(two), undefined);
        assert.equal(memory.state("t", "w")?.build, "build-1");
        // A tag that is set back is a change too.
        assert.equal(observe(one)?.digest, one);
    });

    it("keeps the newest of several alone, also of what comes while one is started", () => {
        observe(one);
        const first = observe(two);
        const second = observe(three);
        assert.equal(second?.digest, three);
        memory.started("t", "w", first!, "build-1");
        assert.equal(memory.state("t", "w")?.pending?.digest, three);
    });

    it("outlives the process, and forgets what was watched before", () => {
        observe(one);
        observe(two);
        const later = new TriggerMemory(database);
        assert.equal(later.state("t", "w")?.pending?.digest, two);
        assert.equal(later.state("t", "another repository"), undefined);
        assert.equal(later.observe("t", "another repository", [{ tag: "tag-0", digest: three }], false), undefined);
        assert.deepEqual([...later.digests("t").values()], [three]);
    });

    it("counts what comes after a first look that found nothing, and the first look where that is wanted", () => {
        assert.equal(observe(), undefined);
        assert.equal(observe(one)?.digest, one);
        assert.equal(memory.observe("u", "w", [{ tag: "x", digest: two }], true)?.digest, two);
    });
});

describe("a file of triggers", () => {
    const directory = new TemporaryDirectory();
    after(() => directory.remove());
    const read = (text: string) => readTriggers(`${directory.path}/t.yaml`, text, 60);
    const trigger = (text: string) => read(`triggers: [{name: t, image: localhost:5000/app, ${text}}]`).triggers[0]!;

    it("is read with its defaults", () => {
        const read = trigger("");
        assert.deepEqual(
            [read.policyText, read.tag, read.intervalSeconds, read.as, read.runsFirst],
            ["force", "latest", 60, "image", false],
        );
        assert.equal(trigger("interval: 5m").intervalSeconds, 300);
        assert.equal(trigger("policy: minor").tag, "");
    });

    it("is refused with the place of what is wrong", () => {
        directory.file("p.yaml");
        const cases: readonly (readonly [string, RegExp])[] = [
            ["", /t\.yaml:1:1: a file of triggers needs `triggers`/],
            ["triggers: [", /t\.yaml:1:\d+/],
            ["triggers: [{name: T, image: a}]", /t\.yaml:1:19: `name` cannot be `T`/],
            ["triggers: [{name: t}]", /a trigger needs `image`/],
            ["triggers: [{name: t, image: a}, {name: t, image: b}]", /there are two triggers t/],
            [`triggers: [{name: t, image: "a@${one}"}]`, /an image by digest never changes/],
            ["triggers: [{name: t, image: a, policy: newest}]", /`newest` is no policy/],
            ["triggers: [{name: t, image: a, interval: 1s}]", /`interval` must be 0, or 5s or more/],
            ["triggers: [{name: t, image: a, interval: soon}]", /`soon` is no duration/],
            ["triggers: [{name: t, image: a, as: baseImage}]", /needs the `source`/],
            ["triggers: [{name: t, image: a, ref: main}]", /`ref` is of a `source`/],
            ["triggers: [{name: t, image: a, pipeline: q.yaml}]", /there is no file .*q\.yaml/],
            ["triggers: [{name: t, image: a, config: {image: b}}]", /`image` is the trigger's own/],
            ["triggers: [{name: t, image: a, release: {repository: b}}]", /`repository` cannot be `b`/],
            ["credentials: none.json\ntriggers: [{name: t, image: a}]", /there is no file .*none\.json/],
        ];
        for (const [text, message] of cases) {
            assert.throws(() => read(text), { message }, text);
        }
    });

    it("makes requests that give the image by digest, with what they are known by", () => {
        const pending = { tag: "main", digest: one, run: "r", at: "2026-11-21T00:00:00.000Z" };
        const inImage = requestOf(
            trigger("release: {repository: a/b, tag: 'v{tag}'}, command: [make]"),
            pending,
            "0a1b2c3d",
        );
        assert.equal(inImage.config["image"], `localhost:5000/app@${one}`);
        assert.deepEqual([inImage.config["command"], inImage.config["buildTagSuffix"]], [["make"], undefined]);
        assert.deepEqual([inImage.lane, inImage.keep, inImage.release?.tag], ["trigger-t-0a1b2c3d", true, "vmain"]);
        assert.equal(inImage.labels["trigger-run"], "r");
        // Another image for the same source is another build.
        const withSource = requestOf(
            trigger("as: baseImage, source: 'https://example.com/a.git', ref: '{tag}'"),
            pending,
            "0a1b2c3d",
        );
        assert.deepEqual(
            [withSource.config["baseImage"], withSource.config["buildTagSuffix"], withSource.ref],
            [`localhost:5000/app@${one}`, "-111111111111", "main"],
        );
    });
});

describe("looking at a registry", () => {
    it("leaves one alone that fails, longer and longer, and as long as it asks for", () => {
        const pace = new Pace(60);
        const seconds = () => Math.round(pace.next() / 6600) * 6.6;
        assert.ok(seconds() < 70);
        assert.equal(pace.failed(new Error("down")), true, "said once");
        assert.equal(pace.failed(new Error("down")), false);
        assert.ok(pace.next() >= 4 * 60_000 * 0.9);
        for (let failures = 0; failures < 30; failures++) {
            pace.failed(new Error("down"));
        }
        assert.ok(pace.next() <= 3_600_000 * 1.1);
        pace.failed(new HttpError("busy", 429, 7_200_000));
        assert.equal(pace.next(), 7_200_000);
        assert.equal(pace.succeeded(), true);
        assert.ok(pace.next() < 70_000);
        const told = new Pace(0);
        told.failed(new Error("down"));
        assert.ok(told.next() > 1000, "not at once, for ever");
    });

    it("reads what a registry asks for", () => {
        assert.deepEqual(
            parseChallenges(
                'Bearer realm="https://auth.example.com/token?a=b,c",service="r",scope="x:y:z", Basic realm="q"',
            ),
            [
                {
                    scheme: "bearer",
                    parameters: { realm: "https://auth.example.com/token?a=b,c", service: "r", scope: "x:y:z" },
                },
                { scheme: "basic", parameters: { realm: "q" } },
            ],
        );
    });

    it("reads notifications of Docker's registry and of GitHub's packages", () => {
        const push = (repository: unknown, action = "push") => ({ action, target: { repository, tag: "x" } });
        assert.deepEqual(repositoriesOfEnvelope({ events: [push("a"), push("a"), push("b", "pull"), push(1), null] }), [
            "a",
        ]);
        for (const document of [undefined, null, [], "x", { events: {} }]) {
            assert.deepEqual(repositoriesOfEnvelope(document), []);
        }
        const item = { package_type: "CONTAINER", namespace: "Team", name: "app" };
        assert.deepEqual(repositoryOfPackage("package", { package: item }), ["team/app"]);
        assert.deepEqual(repositoryOfPackage("registry_package", { registry_package: item }), ["team/app"]);
        assert.deepEqual(repositoryOfPackage("package", { package: { ...item, package_type: "npm" } }), []);
        assert.deepEqual(repositoryOfPackage("ping", {}), []);
    });
});

describe("a registry's tokens", () => {
    const directory = new TemporaryDirectory();
    let registry: http.Server;
    let asked: string[];
    let lifetime: number;

    /** A registry and its token server in one: a token is good for the scope it was made for, so long. */
    beforeEach(async () => {
        [asked, lifetime] = [[], 300];
        registry = http.createServer((request, response) => {
            const { port } = registry.address() as AddressInfo;
            const url = new URL(request.url ?? "", `http://127.0.0.1:${port}`);
            const scope = "repository:team/app:pull";
            if (url.pathname === "/token") {
                asked.push(`${request.headers.authorization ?? "nobody"} ${url.searchParams.toString()}`);
                response.end(
                    JSON.stringify({
                        token: `${url.searchParams.get("scope") ?? ""}#${asked.length}`,
                        expires_in: lifetime,
                    }),
                );
            } else if (request.headers.authorization?.startsWith(`Bearer ${scope}#`) !== true) {
                const realm = `http://127.0.0.1:${port}/token`;
                response
                    .writeHead(401, { "www-authenticate": `Bearer realm="${realm}",service="r",scope="${scope}"` })
                    .end();
            } else if (url.pathname.endsWith("/tags/list")) {
                const isFirst = url.searchParams.get("last") === null;
                const next = '</v2/team/app/tags/list?last=b>; rel="next"';
                response.writeHead(200, isFirst ? { link: next } : {});
                response.end(JSON.stringify({ tags: isFirst ? ["a", "../b", "--draft"] : ["c"] }));
            } else if (request.headers["if-none-match"] === `"${one}"`) {
                response.writeHead(304).end();
            } else {
                response.writeHead(200, { "docker-content-digest": one }).end();
            }
        });
        await new Promise<void>((resolve) => registry.listen(0, "127.0.0.1", resolve));
    });

    afterEach(async () => {
        registry.closeAllConnections();
        await new Promise((resolve) => registry.close(resolve));
    });

    after(() => directory.remove());

    const client = () => {
        const { port } = registry.address() as AddressInfo;
        const credential = { username: "alice", password: "open:sesame" };
        return new RepositoryClient(parseReference(`127.0.0.1:${port}/team/app`), (serveraddress) =>
            Promise.resolve({ serveraddress, ...credential }),
        );
    };

    it("are asked for once with the password, and kept while they last", async () => {
        const app = client();
        assert.equal(await app.digestOf("x"), one);
        assert.equal(await app.digestOf("x", one), one, "not sent again");
        const basic = Buffer.from("alice:open:sesame").toString("base64");
        assert.deepEqual(asked, [`Basic ${basic} service=r&scope=repository%3Ateam%2Fapp%3Apull`]);
    });

    it("are for all pages of its tags; what is no tag is none", async () => {
        assert.deepEqual(await client().tags(), ["a", "c"]);
        assert.equal(asked.length, 1);
    });

    it("are asked for again when they end", async () => {
        lifetime = 1;
        const app = client();
        await app.digestOf("x");
        await sleep(600);
        await app.digestOf("x");
        assert.equal(asked.length, 2);
    });
});
