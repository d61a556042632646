import * as assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { leasesAnnotation } from "../../contract/dependencies";
import { BuildableRepository } from "../helpers/buildable";
import { kubectl, platform, projectDirectory, TemporaryStack } from "../helpers/ke1";

/** A server that builds are tested with: git's own daemon, which is in the toolchain image. */
const server = [
    ...["sh", "-ec"],
    "git init -q --bare /tmp/g/repo.git; exec git daemon --export-all --base-path=/tmp/g --port=9418",
];
const asks = "git ls-remote git://$KE1_DEPENDENCY_GIT_HOST:$KE1_DEPENDENCY_GIT_PORT/repo.git";

describe("test dependencies", () => {
    let repository: BuildableRepository;
    let stack: TemporaryStack;

    before(() => {
        repository = new BuildableRepository([asks, "mkdir -p bin", "echo asked > bin/it"]);
        repository.file(
            "pipeline.yaml",
            [
                "stages:",
                "  - name: test",
                "    needs: [git]",
                "    steps:",
                "      - { name: one, command: 'sleep 2; " + asks + "' }",
                "      - { name: two, command: '" + asks + "; sleep 4; exit 3' }",
                "  - name: after",
                "    steps:",
                "      - { name: alone, when: always, command: 'test -z \"$KE1_DEPENDENCY_GIT_HOST\"' }",
                "",
            ].join("\n"),
        );
        repository.commit();
        const dependencies = { git: { image: platform().baseImage, command: server, ports: [9418] } };
        stack = new TemporaryStack("needs", { source: repository.path, dependencies, admission: false });
    });

    after(async () => {
        await stack.remove();
        repository.remove();
    });

    const state = async () => {
        const args = ["get", "deployment", "ke1-dependency-git", "-n", stack.namespace, "-o", "json"];
        const { metadata, spec } = JSON.parse(await kubectl(...args));
        const leases = JSON.parse(metadata.annotations[leasesAnnotation] ?? "{}");
        return { replicas: spec.replicas as number, leases: Object.keys(leases) };
    };

    it("run while a build does that needs them, and are reached by it", async () => {
        stack.configure({ needs: ["git"] });
        const up = await stack.ke1(["up", "--yes"]);
        assert.equal(up.code, 0, up.stderr);
        assert.match(up.stderr, /git: ready at \d+\.\d+\.\d+\.\d+/);
        assert.deepEqual(await state(), { replicas: 0, leases: [] });
    });

    it("are shared by the steps of a stage, and go when the last has ended, also when it fails", async () => {
        const running = stack.ke1(["pipeline", "up", path.join(repository.path, "pipeline.yaml")], {
            SOURCE: repository.path,
        });
        let most = 0;
        const over = running.then(() => true);
        while (!(await Promise.race([over, sleep(300, false)]))) {
            // Before the first of it is declared, there is nothing to see.
            const now = await state().catch(() => ({ leases: [] }));
            most = Math.max(most, now.leases.length);
        }
        const up = await running;
        assert.equal(up.code, 1, up.stderr);
        assert.equal(most, 2, "both had it at once");
        assert.match(up.stderr, /git: left to 1 more/);
        assert.match(up.stderr, /two +BuildFailed/);
        assert.match(up.stderr, /alone +Succeeded/);
        assert.deepEqual(await state(), { replicas: 0, leases: [] });
    });

    it("are taken up by the next launcher when one was killed", async () => {
        repository.recipe(["sleep 8", asks, "mkdir -p bin", "echo again > bin/it"]);
        repository.commit();
        stack.configure({ needs: ["git"] });
        const child = spawn(path.join(projectDirectory, "bin", "ke1"), ["up", "--yes", "--stack", stack.name], {
            cwd: projectDirectory,
            env: { ...process.env, ...stack.environment },
            detached: true,
            stdio: ["ignore", "ignore", "pipe"],
        });
        let said = "";
        child.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
        const exited = once(child, "exit");
        while (!/git: ready at/.test(said) && child.exitCode === null) {
            await sleep(100);
        }
        assert.match(said, /git: ready at/);
        process.kill(-child.pid!, "SIGKILL");
        await exited;
        assert.equal((await state()).replicas, 1, "nobody has scaled it down");
        await stack.ke1(["stack", "cancel"]);
        const again = await stack.ke1(["up", "--yes"]);
        assert.equal(again.code, 0, again.stderr);
        assert.deepEqual(await state(), { replicas: 0, leases: [] });
    });

    it("are an error before anything is made where there is none of that name", async () => {
        stack.configure({ needs: ["redis"] });
        const up = await stack.ke1(["up", "--yes"]);
        assert.equal(up.code, 2, up.stderr);
        assert.match(up.stderr, /needs names redis, which is none of dependencies; there are: git/);
    });
});
