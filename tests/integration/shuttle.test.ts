import { strict as assert } from "node:assert";
import { execFileSync, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { defaultSourceLimits } from "../../service/sources/policy";
import { prepareSource } from "../../service/sources/prepare";
import { tarGzOf, zipOf } from "../helpers/archives";
import { platform } from "../helpers/ke1";
import { account, PrivateRegistry } from "../helpers/registry";
import { RunningService } from "../helpers/service";
import { TemporaryDirectory } from "../helpers/temporary";

const auth = { username: account.username, password: account.password };

describe("images for the build shuttle's clients", () => {
    let service: RunningService;
    let registry: PrivateRegistry;
    let web: http.Server;
    let archive: Buffer;
    let number = 0;

    before(async () => {
        registry = await PrivateRegistry.start();
        const own = platform().registry;
        service = new RunningService("shuttle", [
            "--open-shuttle",
            "--allow-source",
            registry.address,
            "--allow-source",
            own,
            "--allow-source",
            "127.0.0.1",
        ]);
        await service.start({
            EXTRA_BUILD_ARGS: '{"EXTRA":"everywhere","SOME_ARG":"overridden"}',
            MAXIMUM_PARALLEL_BUILDS: "2",
        });
        web = http.createServer((_, response) => response.end(archive));
        await new Promise<void>((resolve) => web.listen(0, "127.0.0.1", resolve));
    });

    after(async () => {
        web.closeAllConnections();
        web.close();
        await service.remove();
        await registry.stop();
    });

    /** As the shuttle's clients do, without a token. */
    async function post(more: object) {
        const payload = {
            ...{
                app: "shop",
                space: "default",
                app_uuid: uuidOf(0),
                build_uuid: uuidOf(++number),
                build_number: number,
            },
            ...{ gm_registry_host: registry.address, gm_registry_repo: "team", gm_registry_auth: auth, ...more },
        };
        const response = await fetch(`${service.url}/`, {
            method: "POST",
            headers: { "content-type": "application/json" },
            body: JSON.stringify(payload),
        });
        assert.equal(await response.text(), '{"status":"ok"}');
        const { body } = await service.ask("GET", `/v1/builds?label=build_uuid=${payload.build_uuid}`);
        return { id: String(body.builds[0].id), uuid: payload.build_uuid, number };
    }

    const uuidOf = (index: number) => `56bce159-87a7-437f-bed3-${String(index).padStart(12, "0")}`;
    const repository = `team/shop-${uuidOf(0)}`;
    const get = async (route: string) => fetch(`${service.url}${route}`);
    const address = () => `http://127.0.0.1:${(web.address() as AddressInfo).port}/sources`;

    it("builds the image of an archive, and pushes it with the credential given", async () => {
        const dockerfile = "FROM scratch\nWORKDIR /src\nCOPY . /src\nLABEL arg=$SOME_ARG extra=$EXTRA\n";
        archive = await tarGzOf(
            { name: "shop-main/Dockerfile", content: dockerfile },
            { name: "shop-main/Makefile", content: "build:\n" },
            { name: "shop-main/bin", type: "symlink", linkname: "Makefile" },
        );
        const build = await post({ sources: address(), build_args: { SOME_ARG: "from the caller" } });
        const record = await service.ended(build.id);
        assert.equal(record.state, "succeeded", JSON.stringify(record));
        const digest = String(record.outputs.image).split("@")[1] ?? "";
        for (const reference of [digest, `1.${build.number}`, "latest"]) {
            assert.ok(await registry.has(repository, reference), reference);
        }
        const labels = await imageLabels(repository, digest);
        assert.equal(labels["arg"], "from the caller");
        assert.equal(labels["extra"], "everywhere");
        assert.deepEqual(
            [labels["app"], labels["space"], labels["app_uuid"], labels["build_uuid"]],
            ["shop", "default", uuidOf(0), build.uuid],
        );
        assert.deepEqual(Buffer.from(await (await get(`/${build.uuid}`)).arrayBuffer()), archive);
        assert.match(
            await (await get(`/shop-${uuidOf(0)}/${build.number}/logs`)).text(),
            /COPY \. \/src[^]*latest: digest: sha256:/,
        );
        const kept = spawnSync("grep", ["-rlF", account.password, service.data.path], { encoding: "utf8" });
        assert.equal(kept.stdout, "", "the password is in no file");
    });

    it("takes an image over as it is, with a login for where it comes from", async () => {
        const image = `docker://${registry.address}/${repository}:latest`;
        const refused = await service.ended((await post({ sources: image })).id);
        assert.match(String(refused.message), /wants a credential/);
        const own = {
            gm_registry_host: platform().registry,
            gm_registry_repo: "tmp-shuttle",
            gm_registry_auth: undefined,
        };
        const login = { docker_login: auth.username, docker_password: auth.password };
        const build = await post({ ...own, ...login, sources: image });
        const record = await service.ended(build.id);
        assert.equal(record.state, "succeeded", JSON.stringify(record));
        const [name = "", digest = ""] = String(record.outputs.image).split("@");
        assert.ok(await registry.has(repository, digest), "it is the same image");
        const [, path_ = ""] = /^[^/]+\/(.*)$/.exec(name) ?? [];
        const tags = (await (await fetch(`http://${platform().registry}/v2/${path_}/tags/list`)).json()) as {
            tags: string[];
        };
        assert.deepEqual(tags.tags.sort(), [`1.${build.number}`, "latest"]);
        assert.equal((await get(`/${build.uuid}`)).status, 404, "there are no sources");
    });

    it("makes a source of what an image holds", async () => {
        const scratch = new TemporaryDirectory();
        try {
            const tools = {
                limits: defaultSourceLimits,
                policy: { allowSources: [registry.address], localSources: false },
                credential: auth,
            };
            const { directory } = await prepareSource(
                `docker://${registry.address}/${repository}:latest`,
                "",
                path.join(scratch.path, "x", "source"),
                tools,
            );
            assert.deepEqual(fs.readdirSync(directory).sort(), ["Dockerfile", "Makefile", "bin"]);
            assert.equal(fs.readlinkSync(path.join(directory, "bin")), "Makefile");
            await assert.rejects(
                prepareSource(
                    `docker://${registry.address}/team/nothing:x`,
                    "",
                    path.join(scratch.path, "y", "source"),
                    tools,
                ),
                /there is no image/,
            );
            const none = { ...tools, policy: { allowSources: [], localSources: false } };
            await assert.rejects(
                prepareSource(
                    `docker://${registry.address}/${repository}:latest`,
                    "",
                    path.join(scratch.path, "z", "source"),
                    none,
                ),
                /not a public address/,
            );
        } finally {
            scratch.remove();
        }
    });

    it("says why an image was not built, or not pushed", async () => {
        archive = zipOf({
            name: "Dockerfile",
            content: "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nRUN echo it was here >&2; exit 7\n",
        });
        const failed = await post({ sources: `data:base64,${archive.toString("base64")}` });
        const record = await service.ended(failed.id);
        assert.deepEqual([record.state, record.outcome], ["failed", "BuildFailed"]);
        assert.match(String(record.message), /exit code: 7/);
        assert.match(await (await get(`/shop-${uuidOf(0)}/${failed.number}/logs`)).text(), /^it was here$/m);
        archive = zipOf({ name: "Dockerfile", content: "FROM scratch\nCOPY . /\n" });
        const wrong = await post({ sources: address(), gm_registry_auth: { ...auth, password: "wrong-password" } });
        const refused = await service.ended(wrong.id);
        assert.equal(refused.state, "failed");
        assert.match(String(refused.message), /could not be pushed/);
        assert.ok(!JSON.stringify(refused).includes("wrong-password"));
        const elsewhere = await service.ended(
            (await post({ sources: address(), gm_registry_host: "127.0.0.2:5000" })).id,
        );
        assert.match(String(elsewhere.message), /127\.0\.0\.2 is not a public address/);
        const inside = await service.ended((await post({ sources: "http://169.254.169.254/latest" })).id);
        assert.match(String(inside.message), /169\.254\.169\.254 is not a public address/);
    });

    it("ends a build that runs", async () => {
        archive = zipOf({
            name: "Dockerfile",
            content: "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nRUN echo begun && sleep 300\n",
        });
        const build = await post({ sources: address() });
        const logs = `/shop-${uuidOf(0)}/${build.number}/logs`;
        const until = Date.now() + 60_000;
        while (!/^begun$/m.test(await (await get(logs)).text())) {
            assert.ok(Date.now() < until, "it has not begun");
            await sleep(200);
        }
        const started = Date.now();
        assert.equal(
            await (await fetch(`${service.url}/shop-${uuidOf(0)}/${build.number}`, { method: "DELETE" })).text(),
            '{"status":"ok"}',
        );
        assert.equal((await service.ended(build.id)).state, "cancelled");
        assert.ok(Date.now() - started < 30_000);
    });

    it("builds an image, and a build, of an upload", async () => {
        execFileSync("git", [
            "archive",
            "--format=tar.gz",
            "-o",
            path.join(service.data.path, "example.tgz"),
            "HEAD:example/ke-1",
        ]);
        const response = await fetch(`${service.url}/v1/uploads`, {
            method: "POST",
            headers: { authorization: `Bearer ${service.token}`, "content-type": "application/gzip" },
            body: fs.readFileSync(path.join(service.data.path, "example.tgz")),
        });
        assert.equal(response.status, 201);
        const { source } = (await response.json()) as { source: string };
        const image = await service.ask("POST", "/v1/builds", { kind: "image", source });
        const build = await service.ask("POST", "/v1/builds", { source });
        assert.deepEqual([image.status, build.status], [202, 202], image.text + build.text);
        const [made, built] = [await service.ended(image.body.id), await service.ended(build.body.id)];
        assert.deepEqual([made.state, built.state], ["succeeded", "succeeded"], JSON.stringify([made, built]));
        assert.match(String(made.outputs.image), /\/ke-1-build@sha256:/);
        assert.ok(built.outputs.artifacts.length > 0);
    });

    /** What the image's configuration says. */
    async function imageLabels(name: string, reference: string): Promise<Record<string, string>> {
        const headers = {
            authorization: `Basic ${Buffer.from(`${auth.username}:${auth.password}`).toString("base64")}`,
            accept: "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json",
        };
        const base = `http://${registry.address}/v2/${name}`;
        const manifest = (await (await fetch(`${base}/manifests/${reference}`, { headers })).json()) as {
            config: { digest: string };
        };
        const config = (await (await fetch(`${base}/blobs/${manifest.config.digest}`, { headers })).json()) as {
            config: { Labels: Record<string, string> };
        };
        return config.config.Labels;
    }
});
