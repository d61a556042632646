import * as assert from "node:assert/strict";

import { readSettings } from "../../config";
import { UserError } from "../../contract/errors";

const image = `localhost:5000/tools@sha256:${"a".repeat(64)}`;
const own = { kubeContext: "kind-kind", registry: "localhost:5001", blobEndpoint: "http://10.77.0.1:10000/ke1dev" };

/** The settings of a stack, whose lists and objects are JSON as Pulumi gives them. */
function settings(config: Readonly<Record<string, unknown>>) {
    const all: Record<string, unknown> = { ...own, ...config };
    const get = (key: string) => {
        const value = all[key];
        return value === undefined || typeof value === "string" ? value : JSON.stringify(value);
    };
    return readSettings({ get }, { project: "ke-1-build", stack: "dev" }, {});
}

describe("environments that cannot be", () => {
    const tool = { image, command: ["true"] };
    const many = Array.from({ length: 11 }, (_, index) => `t${index}`);
    for (const [config, message] of [
        [{ environments: [] }, "environments must be an object of environments by name (docs/environments.md)"],
        [{ environments: "{" }, "environments must be an object of environments by name (docs/environments.md)"],
        [{ environments: { Tool: {} } }, /^environments\.Tool: the name must be a DNS label/],
        [{ environments: { a: "x" } }, 'environments.a must be an object; it is `"x"`'],
        [{ environments: { a: { imgae: image } } }, /^environments\.a\.imgae is no key; there are extends, image, /],
        [{ environments: { a: { image: "tools:1" } } }, /^environments\.a\.image must be an image by digest/],
        [{ environments: { a: { command: "make" } } }, /^environments\.a\.command must be a list of words/],
        [{ environments: { a: { command: [] } } }, /^environments\.a\.command must be a list of words/],
        [{ environments: { a: { args: [1] } } }, /^environments\.a\.args must be a list of words; it is `\[1\]`$/],
        [
            { environments: { a: { workingDirectory: "src" } } },
            /^environments\.a\.workingDirectory must be an absolute/,
        ],
        [{ environments: { junit: { env: [] } } }, "environments.junit.env must be an object; it is `[]`"],
        [{ environments: { junit: { env: { N: 1 } } } }, /^environments\.junit\.env\.N must be text .*; it is `1`$/],
        [{ environments: { a: { env: { "A B": "" } } } }, /^environments\.a\.env\.A B must be the name of a variable$/],
        [{ environments: { a: { env: { KE1_DIR: "/" } } } }, /^environments\.a\.env\.KE1_DIR cannot be set/],
        [
            { environments: { a: { env: { API_TOKEN: "x" } } } },
            /^environments\.a\.env\.API_TOKEN looks like a credential/,
        ],
        [
            { environments: { a: { env: { password: "x" } } } },
            /^environments\.a\.env\.password looks like a credential/,
        ],
        [{ environments: { a: { resources: { memory: "1Gi" } } } }, /^environments\.a\.resources\.memory is no key/],
        [
            { environments: { a: { resources: { cpuLimit: "much" } } } },
            /^environments\.a\.resources\.cpuLimit must be a/,
        ],
        [
            { environments: { a: { resources: { memoryRequest: "2Gi", memoryLimit: "1Gi" } } } },
            "environments.a.resources.memoryRequest (2Gi) must not be more than memoryLimit (1Gi)",
        ],
        [
            {
                environments: {
                    a: { resources: { cpuLimit: "1" } },
                    b: { extends: "a", resources: { cpuRequest: "1500m" } },
                },
            },
            "environments.b.resources.cpuRequest (1500m) must not be more than cpuLimit (1)",
        ],
        [
            { environments: { a: { volumes: { v: { path: "/v" }, w: { path: "/v" } } } } },
            "environments.a.volumes.w.path is that of the volume v too",
        ],
        [{ environments: { a: { volumes: { v: {} } } } }, /^environments\.a\.volumes\.v\.path is not set/],
        [
            { environments: { a: { volumes: { v: { path: "/proc/x" } } } } },
            /^environments\.a\.volumes\.v\.path must be/,
        ],
        [{ environments: { a: { volumes: { v: { path: "/ke1" } } } } }, /^environments\.a\.volumes\.v\.path must be/],
        [
            { environments: { a: { volumes: { v: { path: "/a/../proc" } } } } },
            /^environments\.a\.volumes\.v\.path must/,
        ],
        [
            { environments: { a: { volumes: { v: { path: "/v", hostPath: "/" } } } } },
            /^environments\.a\.volumes\.v\.host/,
        ],
        [
            { environments: { a: { volumes: { v: { path: "/v", secret: "s", configMap: "c" } } } } },
            /^environments\.a\.volumes\.v must be one of configMap, secret, or an empty directory/,
        ],
        [
            { environments: { a: { volumes: { v: { path: "/v", secret: "ke1-blob-credential" } } } } },
            "environments.a.volumes.v.secret is ke1-blob-credential, which is not for what a build can see",
        ],
        [
            { environments: { a: { security: { privileged: true } } } },
            /^environments\.a\.security\.privileged is no key/,
        ],
        [
            { environments: { a: { security: { runAsUser: 0 } } } },
            /^environments\.a\.security\.runAsUser must be a whole/,
        ],
        [{ environments: { a: { required: "yes" } } }, /^environments\.a\.required must be true or false/],
        [{ environments: { a: { onBuildEnd: "kill" } } }, /^environments\.a\.onBuildEnd must be file or terminate/],
        [
            { environments: { a: { extends: "b" } } },
            "environments.a.extends names the environment `b`, which is not in environments (there are a)",
        ],
        [
            { environments: { a: { extends: "b" }, b: { extends: "c" }, c: { extends: "b" } } },
            "environments.b.extends goes round: a extends b extends c extends b",
        ],
        [{ environments: { a: { extends: "toString" } } }, /^environments\.a\.extends must be the name of another/],
        [
            { environment: "none" },
            "environment names the environment `none`, which is not in environments (there are none)",
        ],
        [{ sidecars: ["none"], environments: { tool } }, /^sidecars names the environment `none`, which is not in /],
        [{ sidecars: "tool", environments: { tool } }, /^sidecars must be a list of strings/],
        [
            { initContainers: ["tool", "tool"], environments: { tool } },
            /^initContainers names `tool`, which is the name of another/,
        ],
        [
            { initContainers: ["tool"], sidecars: ["tool"], environments: { tool } },
            "sidecars names `tool`, which is the name of another container in initContainers",
        ],
        ...["build", "exporter", "source"].map((name): [object, RegExp] => [
            { sidecars: [name], environments: { [name]: tool } },
            new RegExp(`^sidecars names \`${name}\`, which is the name of a container that every build's pod may have`),
        ]),
        [
            { sidecars: many, environments: Object.fromEntries(many.map((name) => [name, tool])) },
            "sidecars has 11 names; there can be 10",
        ],
        [
            { sidecars: ["a"], environments: { a: { image } } },
            /^environments\.a\.command is not set; sidecars cannot run it/,
        ],
        [
            { sidecars: ["a"], environments: { a: { command: ["x"], volumes: { v: { path: "/v", secret: "s" } } } } },
            /^environments\.a\.image is not set, .* the code being built would see that/,
        ],
        [
            { environment: "a", environments: { a: { volumes: { v: { path: "/v", secret: "s" } } } } },
            /^environments\.a\.volumes\.v is a Secret: what is built could read it/,
        ],
        [
            {
                environment: "a",
                sidecars: ["b"],
                environments: {
                    a: { volumes: { v: { path: "/v" } } },
                    b: { ...tool, volumes: { v: { path: "/v", configMap: "c" } } },
                },
            },
            "environments.b.volumes.v is not what environments.a.volumes.v is; one name in a pod is one volume",
        ],
        [{ sidecarLimitSeconds: "0" }, /^sidecarLimitSeconds must be a whole number from 1 to 3600/],
        [
            { environment: "a", image, environments: { a: { image } } },
            "image is set, and the build's environment has one too (environments.a.image): leave one of them out",
        ],
        [
            { environment: "a", command: ["x"], environments: { a: tool } },
            /^command is set, and the build's environment/,
        ],
        [
            { environment: "a", environments: { a: { resources: { memoryRequest: "3Gi" } } } },
            "memoryRequest (3Gi) must not be more than memoryLimit (2Gi)",
        ],
    ] as [Record<string, unknown>, string | RegExp][]) {
        it(`are one clear line: ${typeof message === "string" ? message : message.source}`, () => {
            assert.throws(
                () => settings(config),
                (error: unknown) => {
                    assert.ok(error instanceof UserError, String(error));
                    assert.doesNotMatch(error.message, /\n/);
                    if (typeof message === "string") {
                        assert.equal(error.message, message);
                    } else {
                        assert.match(error.message, message);
                    }
                    return true;
                },
            );
        });
    }
});
