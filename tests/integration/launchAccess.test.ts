import * as assert from "node:assert/strict";
import { execFile } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { promisify } from "node:util";

import { parse, stringify } from "yaml";

import { BuildableRepository, smallBuild } from "../helpers/buildable";
import { kubectl, platform, TemporaryStack } from "../helpers/ke1";
import { TemporaryDirectory } from "../helpers/temporary";

/**
 * A person with the rights that `launchers` gives, and no others: here a service account of another namespace, whose group
 * is the one that the stack names.
 */
describe("who may launch builds", () => {
    const home = new TemporaryDirectory();
    const people = `tmp-people-${process.pid}`;
    let repository: BuildableRepository;
    let stack: TemporaryStack;
    let own: NodeJS.ProcessEnv;

    before(async () => {
        repository = new BuildableRepository(smallBuild);
        repository.commit();
        stack = new TemporaryStack("access", {
            source: repository.path,
            kubeContext: platform().kubeContext,
            // Those who launch have no right to see or change the rules, and need none.
            admission: true,
            launchers: [`system:serviceaccounts:${people}`],
        });
        const first = await stack.ke1(["up", "--yes"], { KUBECONFIG: platform().kubeconfig });
        assert.equal(first.code, 0, first.stderr);
        await kubectl("create", "namespace", people);
        await kubectl("create", "serviceaccount", "launcher", "--namespace", people);
        own = { KUBECONFIG: await kubeconfigOf(people) };
    });
    after(async () => {
        process.env["KUBECONFIG"] = platform().kubeconfig;
        await stack.remove();
        delete process.env["KUBECONFIG"];
        await kubectl("delete", "namespace", people, "--ignore-not-found", "--wait=false");
        repository.remove();
        home.remove();
    });

    it("can launch a new BUILD_TAG, await it, and see a failed one explained", async () => {
        repository.recipe([...smallBuild, "echo the second"]);
        const tag = repository.commit();
        const up = await stack.ke1(["up", "--yes"], own);
        assert.equal(up.code, 0, up.stderr);
        assert.match(up.stderr, /the second/);
        const output = await stack.ke1(["stack", "output", "buildTag"]);
        assert.equal(output.stdout.trim(), tag);

        repository.recipe(["echo no good", "exit 3"]);
        repository.commit();
        const failed = await stack.ke1(["up", "--yes"], own);
        assert.equal(failed.code, 1, failed.stderr);
        assert.match(failed.stderr, /BuildFailed: `make build` ended with exit code/);
        assert.doesNotMatch(failed.stderr, /forbidden/i);
    });

    it("cannot read a Secret, enter a pod, or reach another namespace", async () => {
        const can = async (...what: string[]) =>
            promisify(execFile)(platform().kubectl, ["auth", "can-i", ...what], {
                env: { ...process.env, ...own },
            }).then(
                ({ stdout }) => stdout.trim(),
                (error: unknown) => (error as { stdout: string }).stdout.trim(),
            );
        const here = ["--namespace", stack.namespace];
        assert.equal(await can("create", "jobs", ...here), "yes");
        for (const forbidden of [
            ["get", "secrets"],
            ["create", "pods/exec"],
            ["create", "pods"],
            ["create", "serviceaccounts/token"],
            ["update", "networkpolicies"],
            ["create", "rolebindings"],
        ]) {
            assert.equal(await can(...forbidden, ...here), "no", forbidden.join(" "));
        }
        assert.equal(await can("create", "jobs", "--namespace", "default"), "no");
    });

    /** The platform's kubeconfig with somebody else in it, under the same context. */
    async function kubeconfigOf(namespace: string): Promise<string> {
        const token = (await kubectl("create", "token", "launcher", "--namespace", namespace)).trim();
        const config = parse(fs.readFileSync(platform().kubeconfig, "utf8")) as {
            users: { name: string; user: object }[];
        };
        const users = config.users.map(({ name }) => ({ name, user: { token } }));
        const file = path.join(home.path, "kubeconfig");
        fs.writeFileSync(file, stringify({ ...config, users }), { mode: 0o600 });
        return file;
    }
});
